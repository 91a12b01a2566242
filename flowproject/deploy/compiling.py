"""Compiling every flow of a project for one branch, side by side, before anything is deployed."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flowproject.config import Deploy
from flowproject.deploy.branches import Target
from flowproject.deploy.compiled import Compiled, compiled_from
from flowproject.flowfiles import ask_child, find_flow_files

__all__ = ["Refused", "compile_flows"]

_CHILD: Final = "from flowproject.deploy.compiler import main; main()"
_TIME_LIMIT: Final = 1800.0
"""Seconds: an environment of many packages is resolved and uploaded in that."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A flow file that does not compile."""

    path: Path
    reason: str


def compile_flows(
    root: Path,
    target: Target,
    settings: Deploy,
    tags: Sequence[str] = (),
    done: Callable[[str], None] = lambda _: None,
) -> list[Compiled | Refused]:
    """What each flow file of the root compiles to, sorted by file; files without a flow are not in.

    `done` is told the name of each file that is ready.
    """

    def compile_one(path: Path) -> Compiled | Refused | None:
        options = _options(target, settings, tags)
        answer = ask_child(_CHILD, path, options, seconds=_TIME_LIMIT)
        done(path.name)
        if isinstance(answer, str):
            return Refused(path=path, reason=answer)
        return compiled_from(answer, tuple(tags)) if "objects" in answer else None

    with ThreadPoolExecutor(max_workers=settings.max_parallel) as pool:
        return [one for one in pool.map(compile_one, find_flow_files(root)) if one is not None]


def _options(target: Target, settings: Deploy, tags: Sequence[str]) -> list[str]:
    branch = ["--production"] if target.production else ["--branch", target.branch]
    environment = [f"--environment={settings.environment}"] if settings.environment else []
    with_ = [f"--with={decorator}" for decorator in settings.with_]
    metaflow = ["--quiet", "--no-pylint", *environment, *with_, *branch]
    paused = [] if target.schedules else ["--paused"]
    paused += [] if target.foreign_events else ["--no-foreign-events"]
    return [*paused, "--options", json.dumps(metaflow), "--tags", json.dumps(list(tags))]
