"""Compiles every flow of a project for one branch, side by side, before anything is deployed."""

import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from flowproject.config import FILE, Deploy
from flowproject.deploy.branches import Target
from flowproject.deploy.build_inputs import BuildInputs
from flowproject.deploy.compiled_flow import CompiledFlow, compiled_from
from flowproject.errors import ConfigError, closest
from flowproject.flowfiles import ask_child, find_flow_files
from flowproject.metaflow_internals.flows import known_step_decorators

__all__ = ["CompilationFailure", "child_options", "compile_flows"]

# A process of its own for each flow file: Metaflow has one flow per process, and a flow file is
# anybody's code, which must not end this one.
_CHILD: Final = "from flowproject.deploy.compiler import main; main()"
# Keys of `[deploy]` that name a variable → the options of Metaflow that get its value.
_SECRETS: Final = {
    "notify_slack": "--notify-slack-webhook-url",
    "notify_pager_duty": "--notify-pager-duty-integration-key",
    "notify_incident_io": "--notify-incident-io-api-key",
}

# What Metaflow says of a name that it does not know.
_UNKNOWN_DECORATOR: Final = "Unknown step decorator"

# Seconds: an environment of many packages is resolved and uploaded in that.
_TIME_LIMIT: Final = 1800.0


@dataclass(frozen=True, kw_only=True)
class CompilationFailure:
    """A flow file that does not compile."""

    path: Path
    reason: str


def compile_flows(
    root: Path,
    target: Target,
    settings: Deploy,
    tags: Sequence[str] = (),
    done: Callable[[str], None] = lambda _: None,
    *,
    inputs: BuildInputs | None = None,
    kept: Mapping[Path, CompiledFlow] = MappingProxyType({}),
) -> list[CompiledFlow | CompilationFailure]:
    """Compile each flow file of the root, sorted by file; files without a flow are left out.

    `done` is told the name of each file that is ready. What `kept` has is not compiled; all else
    gets the fingerprint of its `inputs`.

    Raises:
        ConfigError: if a variable is not set that has an address or a key for notifications, or
            `with` has a decorator that nobody knows.
    """
    options = child_options(target, settings, tags)

    # Before the first flow compiles: what is edited while they do must count as changed next time.
    if inputs:
        inputs.look()

    def compile_one(path: Path) -> CompiledFlow | CompilationFailure | None:
        if path in kept:
            return kept[path]
        # Files are compared by the clock of the file system, which `time.monotonic` does not know.
        begun = time.time()
        answer = ask_child(_CHILD, path, options, seconds=_TIME_LIMIT)
        done(path.name)
        if isinstance(answer, str):
            _refuse_unknown(settings.with_, answer)
            return CompilationFailure(path=path, reason=answer)
        # A file that is called like one and has no flow in it.
        if "objects" not in answer:
            return None
        compiled = compiled_from(answer, tuple(tags))
        return inputs.noted(compiled, since=begun) if inputs else compiled

    with ThreadPoolExecutor(max_workers=settings.max_parallel) as pool:
        return [one for one in pool.map(compile_one, find_flow_files(root)) if one is not None]


def child_options(target: Target, settings: Deploy, tags: Sequence[str] = ()) -> list[str]:
    """What the compiler's child process is told beside the file.

    Raises:
        ConfigError: if a variable is not set that has an address or a key for notifications.
    """
    branch = ["--production"] if target.production else ["--branch", target.branch]
    environment = [f"--environment={settings.environment}"] if settings.environment else []
    with_ = [f"--with={decorator}" for decorator in settings.with_]
    # --no-pylint: the project's own checks do that, and it takes seconds for each flow.
    metaflow = ["--quiet", "--no-pylint", *environment, *with_, *branch]
    paused = [] if target.schedules else ["--paused"]
    paused += [] if target.foreign_events else ["--no-foreign-events"]
    # As JSON, because words of Metaflow begin with dashes too, and argparse would take them.
    words = {"--options": metaflow, "--tags": list(tags), **_notifications(target, settings)}
    return [*paused, *(word for name, value in words.items() for word in (name, json.dumps(value)))]


def _refuse_unknown(decorators: Sequence[str], reason: str) -> None:
    """Raise `ConfigError` if a flow does not compile because of a name in `[deploy] with`."""
    if _UNKNOWN_DECORATOR not in reason:
        return
    known = known_step_decorators()
    for decorator in decorators:
        name = decorator.partition(":")[0]
        # Metaflow names the decorator; one of the flow's own may be meant, which is right.
        if name in reason and name not in known:
            raise ConfigError(
                f"[deploy] with has {decorator!r}, and Metaflow knows no decorator {name!r}",
                where=f"{FILE}, or --with",
                allowed=f"Decorators of steps: {', '.join(known)}, and those of your own flows",
                fix=closest(name, known) or "Correct the name, or take it out",
            )


def _notifications(target: Target, settings: Deploy) -> dict[str, Any]:
    """Metaflow's options for notifications, and which variables have their values."""
    # Values are secrets, which the arguments of a process are not: the child reads the variables.
    variables = {
        option: (key, getattr(settings, key))
        for key, option in _SECRETS.items()
        if getattr(settings, key)
    }
    if not target.schedules or not settings.notify_on or not variables:
        return {}
    for key, name in variables.values():
        _refuse_unset(key, name)
    plain = [f"--notify-on-{end}" for end in settings.notify_on]
    if settings.notify_incident_io_source:
        plain += ["--incident-io-alert-source-config-id", settings.notify_incident_io_source]
    secret = {option: name for option, (_, name) in variables.items()}
    return {"--notify": plain, "--secrets": secret}


def _refuse_unset(key: str, name: str) -> None:
    value = os.environ.get(name, "").strip()
    if not value:
        raise ConfigError(
            f"[deploy] {key} names the environment variable {name!r}, which is not set",
            where=f"{FILE}, and the environment of this command",
            allowed="Its value is what Metaflow writes into the templates of your flows",
            fix=f"Set it where you deploy (in a CI: as a secret), or take {key} out",
        )
    if key == "notify_slack" and not re.fullmatch(r"https?://[^\s{}]+", value):
        raise ConfigError(
            f"[deploy] {key} names the environment variable {name!r}, whose value is no address",
            where="The environment of this command",
            allowed="A webhook of Slack begins with https://",
            fix="Copy the address anew from Slack's page of the webhook",
        )
