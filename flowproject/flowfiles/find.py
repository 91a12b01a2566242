"""Finds the flow files in a project's root, and has child processes describe them in parallel."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from flowproject.errors import FlowError
from flowproject.flowfiles.model import FlowFile

__all__ = [
    "ask_child",
    "describe_flow",
    "describe_flows",
    "file_of",
    "find_flow_files",
    "who_looks",
]

BASE_FILE: Final = "baseflow.py"
"""Where a project keeps what all its flows share."""

_PATTERN: Final = "*flow.py"
# Seconds: importing even heavy libraries takes less; a file that waits for a network does not.
_TIME_LIMIT: Final = 120.0

# Not `-m`: our own file would be the main script then, and where it lies is not the project.
_CHILD: Final = "from flowproject.flowfiles.child import main; main()"

# Files in the root that a flow would import for what every flow imports first.
_SHADOWS: Final = ("metaflow.py", "metaflow/__init__.py", "flowproject.py")

_Stamp = tuple[tuple[str, int, int], ...]
_cache: Final[dict[tuple[Path, str, bool], tuple[_Stamp, FlowFile | None]]] = {}


def find_flow_files(root: Path) -> list[Path]:
    """The paths of the flow files in the root itself, sorted by name.

    Not among them: the project's own base flow, which the others inherit and nobody starts.
    """
    files = (path for path in root.resolve().glob(_PATTERN) if path.is_file())
    return sorted(path for path in files if not _is_base(path))


def _is_base(path: Path) -> bool:
    # A child process would find out, too, for half a second of each command. A file of that name
    # may still be somebody's flow, which starts itself as every flow does.
    return path.name == BASE_FILE and "__main__" not in path.read_text(errors="replace")


def file_of(root: Path, flow: str) -> str:
    """The name of the file that a flow is most likely in, without running it."""
    declared = re.compile(rf"^class {re.escape(flow)}\b", re.MULTILINE)
    for path in find_flow_files(root):
        if declared.search(path.read_text(errors="replace")):
            return path.name
    return f"{flow.lower()}.py"


def who_looks(root: Path) -> str:
    """Say, if no flow of the project looks at its sensors, that nobody does; else nothing."""
    # By its text, without running it: whoever looks calls `self.observe()`, or inherits from a file
    # beside it that does.
    if any("observe(" in path.read_text(errors="replace") for path in root.glob("*.py")):
        return ""
    return (
        "no flow of this project looks at its sensors, so no change is recorded and none starts a "
        "flow: a step that calls `self.observe()` and one that calls `self.publish()` do. "
        "`flowproject init` writes such a flow, sensorflow.py"
    )


def describe_flows(
    root: Path, *, branch: str = "", production: bool = False
) -> tuple[FlowFile, ...]:
    """Describe every flow of the project as Metaflow resolves it for that branch, sorted by file.

    Raises `FlowError` with all problems of all files at once.
    """
    # Answers are kept for as long as no file in the root changes, not only the flow's own: a flow
    # is also made of the modules and settings beside it. The stamp is taken before, so that what
    # is edited meanwhile is described again.
    _refuse_shadows(root)
    paths = find_flow_files(root)
    stamp = _stamp(root)
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        answers = pool.map(lambda path: _describe(path, stamp, branch, production), paths)
    flows: list[FlowFile] = []
    problems: list[str] = []
    for answer in answers:
        if isinstance(answer, str):
            problems.append(answer)
        elif answer is not None:
            flows.append(answer)
    if problems:
        raise FlowError("\n".join([*problems, *_hiding(root)]))
    return tuple(flows)


def describe_flow(path: Path) -> FlowFile:
    """Describe the flow of one file as Metaflow resolves it for the user's own branch.

    Raises:
        FlowError: if it can't be described, or the file starts no flow.
    """
    path = path.resolve()
    answer = _describe(path, _stamp(path.parent), "", False)  # noqa: FBT003
    if answer is None:
        raise FlowError(
            f"{path.name} starts no flow",
            where=str(path.parent),
            fix='It ends with `if __name__ == "__main__":` and a call of the class of its flow',
        )
    if isinstance(answer, str):
        raise FlowError(answer)
    return answer


def _refuse_shadows(root: Path) -> None:
    """Raise `FlowError` if every flow would import a file of the project's for Metaflow."""
    # Python looks beside the flow first, and the error that comes of it names any file but that.
    for name in _SHADOWS:
        path = root / name
        if path.is_file():
            first = Path(name).parts[0]
            package = first.removesuffix(".py")
            raise FlowError(
                f"{name!r} has the name of the package {package!r}, so every flow of this project "
                "imports it in the package's place",
                where=str(root),
                allowed="Flows are files *flow.py in the project's root, of any other name",
                fix=f"`mv {first} my{first}`",
            )


def _hiding(root: Path) -> Iterator[str]:
    """What to do about files that hide a module which every flow imports before its own steps."""
    # Asked only where flows fail: a file may have such a name and do no harm.
    hidden = {
        name
        for name, module in sys.modules.items()
        if "." not in name and getattr(module, "__file__", None) and not _is_inside(module, root)
    }
    for name in sorted(hidden | sys.stdlib_module_names):
        for path in (root / f"{name}.py", root / name / "__init__.py"):
            if path.is_file():
                first = path.relative_to(root).parts[0]
                yield (
                    f"{first}: it has the name of the module {name!r}, which Python or Metaflow "
                    f"imports, and is imported in its place. `mv {first} my{first}`, and import it "
                    "by that name"
                )


def _is_inside(module: ModuleType, root: Path) -> bool:
    return Path(str(module.__file__)).resolve().is_relative_to(root.resolve())


def _stamp(root: Path) -> _Stamp:
    files = [entry for entry in os.scandir(root) if entry.is_file()]
    return tuple(sorted((e.name, e.stat().st_mtime_ns, e.stat().st_size) for e in files))


def _describe(path: Path, stamp: _Stamp, branch: str, production: bool) -> FlowFile | str | None:  # noqa: FBT001
    """The flow of a file, a sentence that says what is wrong with it, or nothing to describe."""
    key = (path, branch, production)
    kept = _cache.get(key)
    if kept and kept[0] == stamp:
        return kept[1]
    options = [*(["--branch", branch] if branch else []), *(["--production"] * production)]
    answer = ask_child(_CHILD, path, options)
    if isinstance(answer, str):
        return answer
    flow = FlowFile.from_json(answer["flow"]) if "flow" in answer else None
    _cache[key] = (stamp, flow)
    return flow


def ask_child(
    code: str, path: Path, options: Sequence[str], *, seconds: float = _TIME_LIMIT
) -> dict[str, Any] | str:
    """Run `code` on a flow file in a child process: its answer, or what is wrong, in words."""
    try:
        child = subprocess.run(  # noqa: S603  # our own module, on a file of the user's project
            [sys.executable, "-c", code, str(path), *options],
            cwd=path.parent,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _sentence(_failure(path, f"importing it took more than {seconds:.0f} s"))
    if child.returncode != 0 or not child.stdout:
        said = _last_line(child.stderr) or f"it ended Python with exit code {child.returncode}"
        return _sentence(_failure(path, said))
    answer: dict[str, Any] = json.loads(child.stdout)
    return _sentence(answer["problem"]) if "problem" in answer else answer


def _failure(path: Path, what: str) -> dict[str, Any]:
    return {"what": what, "file": str(path), "line": None}


def _sentence(problem: Mapping[str, Any]) -> str:
    line = f":{problem['line']}" if problem["line"] else ""
    what = " ".join(str(problem["what"]).split())
    return f"{Path(problem['file']).name}{line}: {what}"


def _last_line(text: str) -> str:
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
