"""Compares what this version of flowproject writes with what a project has, and merges the two.

Three texts decide about a file: what `init` wrote (the base), what stands there now, and what this
version would write. What both changed is a conflict, and shown as git shows it. No file is deleted,
and none that somebody removed comes back.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff
from importlib import metadata
from pathlib import Path
from typing import Final, Literal

from flowproject.deploy.git import merge_texts
from flowproject.errors import UsageError
from flowproject.scaffold.init import Package, WrittenState, keep_wheel, write_over
from flowproject.scaffold.rendering import is_data, render

__all__ = ["FileUpgrade", "apply_upgrade", "plan_upgrade"]

Kind = Literal["added", "updated", "merged", "conflict", "left"]

_NOTES: Final = {
    "added": "new in this version",
    "updated": "you have not edited it",
    "merged": "your edits stay",
    "conflict": "you and this version changed the same lines",
}


@dataclass(frozen=True, kw_only=True)
class FileUpgrade:
    """What an upgrade does with one file."""

    path: str
    kind: Kind
    note: str
    before: str = ""
    after: str = ""

    @property
    def writes(self) -> bool:
        """Whether the file is another one afterwards."""
        return self.kind != "left"

    @property
    def diff(self) -> list[str]:
        """What changes in it, as a unified diff."""
        before, after = self.before.splitlines(), self.after.splitlines()
        names = (f"a/{self.path}", f"b/{self.path}")
        return list(unified_diff(before, after, *names, lineterm=""))


def plan_upgrade(folder: Path, state: WrittenState, package: Package) -> list[FileUpgrade]:
    """What this version changes in the project; what stays the same is left out.

    Raises:
        UsageError: if a newer version wrote the project, a file is no text, or git is missing.
    """
    _refuse_older(state, folder)
    new = {
        path: content.decode()
        for path, content in render(state.answers, package.line).items()
        if not is_data(path)
    }
    paths = sorted(new.keys() | state.files.keys())
    return [one for path in paths for one in _plan(folder, path, state, new.get(path))]


def apply_upgrade(
    folder: Path, state: WrittenState, package: Package, plan: Sequence[FileUpgrade]
) -> None:
    """Write what was planned, and remember it as the base of the next upgrade.

    Raises:
        UsageError: if a file can't be written.
    """
    new = render(state.answers, package.line)
    try:
        # Before the file that names it.
        keep_wheel(package, folder)
        for one in plan:
            if one.writes:
                write_over(folder / one.path, one.after.encode())
            # After each file: who is interrupted here begins again with the rest.
            base = {one.path: new[one.path].decode()} if one.path in new else {}
            state = replace(state, files={**state.files, **base})
            state.save(folder)
        version = metadata.version("flowproject")
        texts = {path: text.decode() for path, text in new.items() if not is_data(path)}
        replace(state, version=version, files={**state.files, **texts}).save(folder)
    except OSError as error:
        raise UsageError(
            f"The project can't be written: {error.strerror}",
            where=str(error.filename or folder),
            fix="Let the file be written to, then again: `flowproject upgrade --apply`",
        ) from error


def _plan(folder: Path, path: str, state: WrittenState, new: str | None) -> Iterator[FileUpgrade]:
    base, mine = state.files.get(path), _text(folder / path)
    if path in state.left or new in (base, mine):
        return
    if new is None:
        if mine is not None:
            yield _left(path, "this version does not write it any more: yours to keep or delete")
    elif base is None:
        if mine is None:
            yield FileUpgrade(path=path, kind="added", note=_NOTES["added"], after=new)
        else:
            yield _left(path, "this version writes one as well, and yours stays")
    elif mine is None:
        yield _left(path, "you removed it")
    elif mine == base:
        yield FileUpgrade(path=path, kind="updated", note=_NOTES["updated"], before=mine, after=new)
    else:
        yield _merged(path, mine, base, new, state.version)


def _merged(path: str, mine: str, base: str, new: str, version: str) -> FileUpgrade:
    here = metadata.version("flowproject")
    labels = ("yours", f"flowproject {version}", f"flowproject {here}")
    merged, conflicts = merge_texts((mine, base, new), labels, path)
    kind: Kind = "conflict" if conflicts else "merged"
    return FileUpgrade(path=path, kind=kind, note=_NOTES[kind], before=mine, after=merged)


def _left(path: str, why: str) -> FileUpgrade:
    return FileUpgrade(path=path, kind="left", note=why)


def _text(path: Path) -> str | None:
    try:
        # With the line ends that it has: what is written back must differ in nothing else.
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = "no UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UsageError(
            f"{path.name} can't be compared: {reason}",
            where=str(path.parent),
            fix="Move it away, upgrade, and move it back",
        ) from error


def _refuse_older(state: WrittenState, folder: Path) -> None:
    here = metadata.version("flowproject")
    if _numbers(here) < _numbers(state.version):
        raise UsageError(
            f"This flowproject is {here}, and {state.version} wrote the project",
            where=str(folder),
            fix="Install what requirements.txt names: `python -m pip install -r requirements.txt`",
        )


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]
