"""Writes a project into a folder, and nothing over what is there.

What it wrote is kept beside, for upgrades.
"""

import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from flowproject.config import FILE
from flowproject.errors import ConfigError, UsageError
from flowproject.scaffold.rendering import INSTALL, Answers, is_data, render

__all__ = [
    "STATE_FILE",
    "Package",
    "Written",
    "WrittenState",
    "holds_python",
    "init",
    "keep_wheel",
    "package_here",
    "project_name_of",
    "write_over",
]

STATE_FILE: Final = ".flowproject.json"
"""What was answered and written: the base from which an upgrade tells edits from news."""

_VERSION: Final = 1
_WHEELS: Final = "wheels"
_EXECUTABLE: Final = frozenset({"deploy"})

# What a project needs of a file that it has already, by the file.
_NEEDED_IN: Final[Mapping[str, Callable[[Mapping[str, bytes]], str]]] = {
    "requirements.txt": lambda new: f"add the line {_package_line(new)!r}",
    ".gitignore": lambda _: "let it have the line '/.metaflow/': the local datastore",
    "pyproject.toml": lambda _: 'let pytest find the flows: pythonpath = ["."]',
}


@dataclass(frozen=True, kw_only=True)
class Package:
    """How this flowproject gets into another environment."""

    line: str
    """What `requirements.txt` says."""
    wheel: Path | None = None
    """The file that the line means, to be copied into the project; None if it needs none."""
    to_do: str = ""
    """The command that makes that file, where there is none to copy."""


@dataclass(frozen=True, kw_only=True)
class WrittenState:
    """What `.flowproject.json` says."""

    version: str
    answers: Answers
    files: Mapping[str, str]
    """Path → text as it was written; without the example's data."""
    left: Sequence[str] = ()
    """Files that stood there already: an upgrade does not write them either."""

    def save(self, folder: Path) -> None:
        """Write it into the project's folder."""
        document = {
            "v": _VERSION,
            "about": "Written by `flowproject init`; `flowproject upgrade` needs it. Commit it.",
            "flowproject": self.version,
            "answers": self.answers.to_json(),
            "files": {path: text.split("\n") for path, text in sorted(self.files.items())},
            "left": sorted(self.left),
        }
        text = json.dumps(document, indent=1, ensure_ascii=False)
        write_over(folder / STATE_FILE, (text + "\n").encode())

    @classmethod
    def load(cls, folder: Path) -> "WrittenState":
        """Read it.

        Raises:
            ConfigError: if it is not there, or is not what `save` writes.
        """
        path = folder / STATE_FILE
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["v"] > _VERSION:
                raise ConfigError(
                    f"{STATE_FILE} has version {document['v']} of its form",
                    where=str(folder),
                    allowed=f"This flowproject reads {_VERSION}: a newer one wrote the file",
                    fix="Install the version of flowproject that requirements.txt names",
                )
            return cls(
                version=document["flowproject"],
                answers=Answers.from_json(document["answers"]),
                files={path: "\n".join(lines) for path, lines in document["files"].items()},
                left=document["left"],
            )
        except FileNotFoundError:
            raise ConfigError(
                f"There is no {STATE_FILE}, so nobody knows what `flowproject init` wrote",
                where=str(folder),
                fix="Take the file back from git; a project without one is edited by hand, "
                "with CHANGELOG.md of flowproject beside it",
            ) from None
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise ConfigError(
                f"{STATE_FILE} can't be read: {type(error).__name__}: {error}",
                where=str(folder),
                fix=f"Take the file back from git: `git checkout -- {STATE_FILE}`",
            ) from error


@dataclass(frozen=True, kw_only=True)
class Written:
    """What became of each file, and what is to do next."""

    folder: Path
    written: Sequence[str]
    left: Mapping[str, str]
    """Path → what the project needs of the file that stood there."""
    to_do: Sequence[str] = field(default_factory=tuple)
    """Commands and edits, in order."""


def init(
    folder: Path, answers: Answers, package: Package, own: Mapping[str, bytes] | None = None
) -> Written:
    """Write the files of a project that are not in the folder.

    `own` are files that the project brings itself, which no upgrade touches.

    Raises:
        UsageError: if `init` wrote this folder before, or the folder can't be written to.
    """
    if (folder / STATE_FILE).exists():
        raise UsageError(
            f"flowproject {WrittenState.load(folder).version} wrote a project here already",
            where=str(folder.resolve()),
            fix="`flowproject upgrade` says what this version changes in it",
        )
    files = render(answers, package.line)
    left, written = {}, []
    try:
        for path, content in {**(own or {}), **files}.items():
            if _write_new(folder / path, content):
                written.append(path)
            else:
                need = _NEEDED_IN.get(path)
                left[path] = need(files) if need else ""
        written += keep_wheel(package, folder)
        texts = {path: files[path].decode() for path in written if _is_kept(path, files)}
        state = WrittenState(
            version=metadata.version("flowproject"), answers=answers, files=texts, left=list(left)
        )
        state.save(folder)
    except OSError as error:
        raise UsageError(
            f"The project can't be written: {error.strerror}",
            where=str(Path(error.filename or folder).resolve()),
            fix="Name a folder that you may write to: `flowproject init FOLDER`",
        ) from error
    return Written(
        folder=folder,
        written=[*written, STATE_FILE],
        left=left,
        to_do=_next_steps(folder, package),
    )


def package_here(extras: Sequence[str]) -> Package:
    """How the flowproject that runs here is installed elsewhere, with these extras.

    It is on no package index: from git, or from a wheel that the project keeps. An installer has
    noted where it took the package from (PEP 610).
    """
    here = metadata.distribution("flowproject")
    origin = json.loads(here.read_text("direct_url.json") or "{}")
    names = f"[{','.join(extras)}]" if extras else ""
    address = urlsplit(str(origin.get("url", "")))
    if "vcs_info" in origin:
        commit = origin["vcs_info"]["commit_id"]
        # A password in the address is nothing for a file that is committed.
        plain = address._replace(netloc=address.netloc.rpartition("@")[2]).geturl()
        return Package(line=f"flowproject{names} @ git+{plain}@{commit}")
    if "archive_info" in origin and address.scheme != "file":
        return Package(line=f"flowproject{names} @ {origin['url']}")
    if not origin:
        return Package(line=f"flowproject{names}=={here.version}")
    path = Path(unquote(address.path))
    if path.suffix == ".whl" and path.is_file():
        return Package(line=f"./{_WHEELS}/{path.name}{names}", wheel=path)
    wheel = f"{_WHEELS}/flowproject-{here.version}-py3-none-any.whl"
    # From a clone: whoever develops flowproject itself can make the file.
    words = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", _WHEELS, str(path))
    make = shlex.join(words)
    return Package(line=f"./{wheel}{names}", to_do=make)


def project_name_of(folder: Path) -> str:
    """A name for the project in this folder, as Metaflow allows it."""
    return re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_") or "my_project"


def holds_python(folder: Path) -> bool:
    """Whether somebody works in this folder already, so that an example would be in the way."""
    return any(folder.glob("*.py")) or (folder / FILE).exists()


def _next_steps(folder: Path, package: Package) -> list[str]:
    here = folder.resolve() == Path.cwd()
    return [
        *([] if here else [f"cd {shlex.quote(str(folder))}"]),
        *([package.to_do] if package.to_do else []),
        f"{INSTALL} && . .venv/bin/activate",
        "flowproject dev --until-idle",
        "python -m pytest",
    ]


def _is_kept(path: str, files: Mapping[str, bytes]) -> bool:
    return path in files and not is_data(path)


def _package_line(files: Mapping[str, bytes]) -> str:
    lines = files["requirements.txt"].decode().splitlines()
    return next(line for line in lines if "flowproject" in line and not line.startswith("#"))


def _write_new(path: Path, content: bytes) -> bool:
    """Write a file that is not there; False if something is, be it a link to nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o777 if path.name in _EXECUTABLE else 0o666
    try:
        # Created and not overwritten, whoever writes at the same moment.
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return False
    with os.fdopen(number, "wb") as file:
        file.write(content)
    return True


def keep_wheel(package: Package, folder: Path) -> list[str]:
    """Copy the wheel that `requirements.txt` names into the project; the path, if it was not there.

    Raises:
        OSError: if it can't be written.
    """
    if package.wheel is None:
        return []
    target = folder / _WHEELS / package.wheel.name
    if target.exists():
        return []
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(package.wheel, target)
    return [f"{_WHEELS}/{package.wheel.name}"]


def write_over(path: Path, content: bytes) -> None:
    """Write a file, or what a link leads to, so that a crash leaves the old one or the new one."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.new")
    staged.write_bytes(content)
    if path.exists():
        shutil.copymode(path, staged)
    staged.replace(path)
