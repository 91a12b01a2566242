"""Prints, in a child process, what Metaflow deploys of one flow file, instead of deploying it.

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
from pathlib import Path
from typing import Any, Final

from flowproject import contract
from flowproject.deploy.build_inputs import ReadRecorder
from flowproject.deploy.compiled_flow import PACKAGE
from flowproject.flowfiles.child import (
    ProblemError,
    answer,
    description,
    problem,
    run_command,
    start,
)
from flowproject.metaflow_internals.argo import (
    CompilerHooks,
    Deployed,
    FlowOnArgo,
    deployed_annotations,
    hook_compiler,
)
from flowproject.metaflow_internals.concurrency import own_tokens, resolve_in_turn
from flowproject.metaflow_internals.flows import flow_decorators
from flowproject.metaflow_internals.packaging import (
    CODE_FOLDER,
    METAFLOW_FOLDER,
    NOTES_FOLDER,
    packaged_files,
    project_files,
)
from flowproject.metaflow_internals.settings import name_user, user_name

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
# Hexadecimal digits of a file's digest: told apart are versions of one file, not all files.
_DIGITS: Final = 8

# So many files of a project are listed by name, more by their folders: annotations are small.
_MANY_FILES: Final = 100


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
    # Before the flow file is imported, whose reading is what it is to see; after it was asked who
    # runs it, which every flow asks, and which is no part of what is compiled.
    name_user()
    recorder = ReadRecorder(path.parent)

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
    if not flow_decorators(flow, "project"):
        raise ProblemError(_NO_PROJECT)
    written = _keep_writes()
    compiled = _watch_compiler(
        path, paused=options.paused, foreign_events=not options.no_foreign_events
    )
    how = [word for tag in options.tags for word in ("--tag", tag)] + options.notify
    # Here for the first time in a list of arguments, and that of a call within this process.
    how += [f"{option}={os.environ[name].strip()}" for option, name in options.secrets.items()]
    # Flows of a branch share tokens, Metaflow's folder and its environments, and Metaflow guards
    # none of them against another process.
    resolve_in_turn()
    with own_tokens():
        run_command(flow, [*options.options, "argo-workflows", "create", *how])
    return {**compiled, "objects": written}


def _keep_writes() -> list[dict[str, Any]]:
    """What would be written to the cluster from here on, in a list that grows."""
    from kubernetes import client

    written: list[dict[str, Any]] = []

    # What Metaflow would write goes through this class, whatever it is that it creates: nothing
    # here has to know.
    class Keeping(client.CustomObjectsApi):  # type: ignore[misc]  # it has no types
        def create_namespaced_custom_object(
            self, group: str, version: str, namespace: str, plural: str, body: dict[str, Any]
        ) -> object:
            del group, version
            # Metaflow read it from what is on the cluster now; a write of ours says its own.
            body["metadata"].pop("resourceVersion", None)
            written.append({"plural": plural, "namespace": namespace, "body": body})
            return body

        def replace_namespaced_custom_object(self, *, name: str, **written: Any) -> object:
            del name
            return self.create_namespaced_custom_object(**written)

        def delete_namespaced_custom_object(self, *_: object, **__: object) -> object:
            # Metaflow deletes the sensor of a flow without triggers: the plan decides what goes.
            raise client.rest.ApiException(status=404)

    client.CustomObjectsApi = Keeping
    return written


def _watch_compiler(path: Path, *, paused: bool, foreign_events: bool) -> dict[str, Any]:
    """What is told of the flow while it is compiled from here on, in a dict that is filled then."""
    told: dict[str, Any] = {}

    def keep_triggers(flow: Any, on_argo: FlowOnArgo) -> bool:
        described = description(flow, path, on_argo)
        told["flow"] = described.to_json()
        # The whole trigger, also what of it is ours: on half of what it waits for, a flow
        # must not start, and without the other half it never would.
        return foreign_events or not contract.foreign_events(described)

    def note_template(name: str, url: str, digest: str) -> None:
        told["name"] = name
        told["package"] = [url, digest]
        told["files"] = _digests()
        # Metaflow draws a name for a file in each step: the same flow must compile to the same.
        random.seed(name)

    hook_compiler(
        CompilerHooks(
            existing=_taken_over,
            has_schedule=not paused,
            triggers=keep_triggers,
            template=note_template,
        )
    )
    return told


def _taken_over(deployed: Deployed | None, name: str) -> Deployed | None:
    """Owner and token of what is deployed, as ours if flowproject deployed it, whoever ran that."""
    # Raises `ProblemError` for somebody else's. Metaflow knows its own by the user only, and a
    # laptop and the CI are two; the plan refuses a name that another project, branch or flow has.
    if deployed is None or deployed[0] == (user := user_name()):
        return deployed
    if "flowproject/fingerprint" in deployed_annotations(name):
        return user, deployed[1]
    raise ProblemError(_SOMEBODY_ELSES.format(name=name, owner=deployed[0]))


def _reads(flow: Any, recorder: ReadRecorder) -> dict[str, Any] | None:
    own = {path for _, path in project_files()}
    others = {path for _, path in packaged_files()} - own
    reads = recorder.reads(flow, own, {path for path in others if not _is_known(path)})
    return reads.to_json() if reads else None


def _is_known(path: str) -> bool:
    """Whether the file is one of Metaflow's, or of another package that has a version."""
    return Path(path).is_relative_to(METAFLOW_FOLDER) or "site-packages" in Path(path).parts


def _digests() -> dict[str, str]:
    """The files of the project and the packages that go with it → digests of their content."""
    contents: dict[str, list[tuple[str, str]]] = {}
    own = [name for name, _ in project_files()]
    for name, path in packaged_files():
        if name.startswith(NOTES_FOLDER):
            continue  # of commit and user, which make no other flow
        group = name.removeprefix(CODE_FOLDER)
        top = group.partition("/")[0]
        # A package of many files is one line of the annotation.
        if name.startswith(CODE_FOLDER) and top in sys.modules:
            group = f"{PACKAGE}{top}"
        elif len(own) > _MANY_FILES and "/" in group:
            group = f"{top}/"
        contents.setdefault(group, []).append((name, _digest(path)))
    return {group: _summary(digests) for group, digests in sorted(contents.items())}


def _digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _summary(digests: list[tuple[str, str]]) -> str:
    if len(digests) == 1:
        return digests[0][1][:_DIGITS]
    return hashlib.sha256(repr(sorted(digests)).encode()).hexdigest()[:_DIGITS]
