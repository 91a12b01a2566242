"""Child process that prints what Metaflow deploys of one flow file, instead of deploying it.

Metaflow's own `argo-workflows create` runs to its end: code package, token, template, schedule,
sensor. Only its writes to the cluster are kept instead of sent, so nothing here knows what it
creates, and nothing of a flow is live before every flow is known to compile.
"""

import argparse
import hashlib
import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import metaflow

from flowproject import contract
from flowproject.deploy.compiled import PACKAGE
from flowproject.deploy.reads import Recorder
from flowproject.flowfiles.child import ProblemError, answer, problem, run_command, start
from flowproject.flowfiles.describe import description
from flowproject.flowfiles.sharing import own_tokens, resolve_in_turn

__all__ = ["main"]

_NO_PROJECT: Final = (
    "the flow has no @project, so every git branch would overwrite what another deployed. "
    "Inherit BaseFlow"
)
_SOMEBODY_ELSES: Final = (
    "{name!r} on Argo Workflows was deployed by user {owner!r}, without flowproject. If it may go: "
    "`flowproject teardown` removes the branch's deployment, or deploy once as that user "
    "(METAFLOW_USER={owner})"
)
_DIGITS: Final = 8
"""Hexadecimal digits of a file's digest: told apart are versions of one file, not all files."""

_MANY_FILES: Final = 100
"""So many files of a project are listed by name, more by their folders: annotations are small."""

_METAFLOW: Final = Path(metaflow.__file__).resolve().parent

_CODE: Final = ".mf_code/"
"""Where Metaflow puts packages, itself among them, in what it takes to the cluster."""


def main() -> None:
    """Print one JSON object: what was compiled, `problem`, or neither if the file has no flow."""
    options = _parse_arguments()
    answer(lambda: _compile(options))


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("--paused", action="store_true")
    parser.add_argument("--no-foreign-events", action="store_true")
    parser.add_argument("--options", type=json.loads)
    parser.add_argument("--tags", type=json.loads)
    parser.add_argument("--notify", type=json.loads, default=[])
    parser.add_argument("--secrets", type=json.loads, default={})
    return parser.parse_args()


def _compile(options: argparse.Namespace) -> dict[str, Any]:
    path: Path = options.file.resolve()
    recorder = Recorder(path.parent)

    def create(flow: Any) -> dict[str, Any]:
        try:
            return {**_create(flow, path, options), "reads": _reads(flow, recorder)}
        except Exception as error:  # noqa: BLE001  # a user's flow may raise whatever it likes
            return {"problem": problem(error, path)}

    try:
        return start(path, create) or {}
    except Exception as error:  # noqa: BLE001  # the same, while the file is imported
        return {"problem": problem(error, path)}


def _create(flow: Any, path: Path, options: argparse.Namespace) -> dict[str, Any]:
    if "project" not in flow._flow_decorators:  # noqa: SLF001  # Metaflow has no public way
        raise ProblemError(_NO_PROJECT)
    written = _keep_writes()
    compiled = _watch_compiler(
        path, paused=options.paused, foreign_events=not options.no_foreign_events
    )
    how = [word for tag in options.tags for word in ("--tag", tag)] + options.notify
    how += [f"{option}={os.environ[name].strip()}" for option, name in options.secrets.items()]
    resolve_in_turn()
    with own_tokens():
        run_command(flow, [*options.options, "argo-workflows", "create", *how])
    return {**compiled, "objects": written}


def _keep_writes() -> list[dict[str, Any]]:
    """What would be written to the cluster from here on, in a list that grows."""
    from kubernetes import client

    written: list[dict[str, Any]] = []

    class Keeping(client.CustomObjectsApi):  # type: ignore[misc]  # it has no types
        def create_namespaced_custom_object(
            self, group: str, version: str, namespace: str, plural: str, body: dict[str, Any]
        ) -> object:
            del group, version
            body["metadata"].pop("resourceVersion", None)
            written.append({"plural": plural, "namespace": namespace, "body": body})
            return body

        def replace_namespaced_custom_object(self, *, name: str, **written: Any) -> object:
            del name
            return self.create_namespaced_custom_object(**written)

        def delete_namespaced_custom_object(self, *_: object, **__: object) -> object:
            raise client.rest.ApiException(status=404)

    client.CustomObjectsApi = Keeping
    return written


def _watch_compiler(path: Path, *, paused: bool, foreign_events: bool) -> dict[str, Any]:
    """What is told of the flow while it is compiled from here on, in a dict that is filled then."""
    from metaflow.plugins.argo import argo_workflows_cli
    from metaflow.plugins.argo.argo_workflows import ArgoWorkflows

    told: dict[str, Any] = {}

    class Watched(ArgoWorkflows):  # type: ignore[misc]  # Metaflow ships no types
        @classmethod
        def get_existing_deployment(cls, name: str) -> tuple[str, str] | None:
            deployed: tuple[str, str] | None = super().get_existing_deployment(name)
            return _taken_over(deployed, name)

        def _get_schedule(self) -> tuple[str | None, str | None]:
            # Compiled without its schedule, a flow never has one: suspended afterwards, it could
            # already have run.
            return (None, None) if paused else super()._get_schedule()

        def _process_triggers(self) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
            self.triggers, self.trigger_options = super()._process_triggers()
            for trigger in self.triggers:
                # Of one event without a mapping Metaflow maps a set, in the order of its hashes.
                trigger["parameters"] = dict(sorted(trigger.get("parameters", {}).items()))
            flow = description(self.flow, path, self)
            told["flow"] = flow.to_json()
            # The whole trigger, also what of it is ours: on half of what it waits for, a flow
            # must not start, and without the other half it never would.
            if foreign_events or not contract.foreign_events(flow):
                return self.triggers, self.trigger_options
            return [], None

        def _compile_workflow_template(self) -> Any:
            told["name"] = self.name
            told["package"] = [self.code_package_url, self.code_package_sha]
            told["files"] = _digests()
            # Metaflow draws a name for a file in each step: the same flow must compile to the same.
            random.seed(self.name)
            return super()._compile_workflow_template()

    argo_workflows_cli.ArgoWorkflows = Watched
    return told


def _taken_over(deployed: tuple[str, str] | None, name: str) -> tuple[str, str] | None:
    """Owner and token of what is deployed, as ours if flowproject deployed it, whoever ran that.

    Raises `ProblemError` for somebody else's. Metaflow knows its own by the user only, and a laptop
    and the CI are two; the plan refuses a name that another project, branch or flow has.
    """
    from metaflow.metaflow_config import KUBERNETES_NAMESPACE
    from metaflow.plugins.argo.argo_client import ArgoClient
    from metaflow.util import get_username

    if deployed is None or deployed[0] == get_username():
        return deployed
    template = ArgoClient(namespace=KUBERNETES_NAMESPACE).get_workflow_template(name)
    annotations = ((template or {}).get("metadata") or {}).get("annotations") or {}
    if "flowproject/fingerprint" in annotations:
        return get_username(), deployed[1]
    raise ProblemError(_SOMEBODY_ELSES.format(name=name, owner=deployed[0]))


def _reads(flow: Any, recorder: Recorder) -> dict[str, Any] | None:
    from metaflow.system_context import system_context

    package = system_context.package
    own = {path for path, _ in package.user_tuples()}
    others = {path for path, _ in package.path_tuples() if Path(path).is_file()} - own
    reads = recorder.reads(flow, own, {path for path in others if not _is_known(path)})
    return reads.to_json() if reads else None


def _is_known(path: str) -> bool:
    """Whether the file is one of Metaflow's, or of another package that has a version."""
    return Path(path).is_relative_to(_METAFLOW) or "site-packages" in Path(path).parts


def _digests() -> dict[str, str]:
    """The files of the project and the packages that go with it → digests of their content."""
    from metaflow.system_context import system_context

    package = system_context.package
    contents: dict[str, list[tuple[str, str]]] = {}
    own = [name for _, name in package.user_tuples()]
    for name, path in _packaged(package):
        group = name.removeprefix(_CODE)
        top = group.partition("/")[0]
        if name.startswith(_CODE) and top in sys.modules:
            group = f"{PACKAGE}{top}"
        elif len(own) > _MANY_FILES and "/" in group:
            group = f"{top}/"
        contents.setdefault(group, []).append((name, _digest(path)))
    return {group: _summary(digests) for group, digests in sorted(contents.items())}


def _packaged(package: Any) -> Iterator[tuple[str, str]]:
    """Name in the package and path of each file; what Metaflow notes of commit and user is none."""
    for path, name in package.path_tuples():
        if not name.startswith(".mf_meta/") and Path(path).is_file():
            yield name, path


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _summary(digests: list[tuple[str, str]]) -> str:
    if len(digests) == 1:
        return digests[0][1][:_DIGITS]
    return hashlib.sha256(repr(sorted(digests)).encode()).hexdigest()[:_DIGITS]
