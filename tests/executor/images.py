"""Container images as far as Python goes: an interpreter, and the distributions that it has."""

import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from tests.executor import installing

__all__ = ["Images"]

_PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
_REDIRECT: Final = """
import builtins, io, os
real = io.open
def opened(file, *rest, **more):
    if isinstance(file, str) and file.startswith("/mnt/out/"):
        file = {out!r} + file.removeprefix("/mnt/out")
    return real(file, *rest, **more)
builtins.open = io.open = opened
"""


class Images:
    """Images by name; every one has `pip`, which installs from this environment."""

    def __init__(self, folder: Path, contents: Mapping[str, Iterable[str]]) -> None:
        """Take what each image has installed: names of distributions of this environment."""
        self._folder = folder
        self._contents = contents
        self._sources = [entry for entry in sys.path if entry.endswith("-packages")]
        self._made: dict[str, Path] = {}

    @property
    def needed(self) -> list[Path]:
        """What a pod reads outside its own folder."""
        return [*(Path(entry) for entry in self._sources), Path(sys.base_prefix)]

    def __contains__(self, image: str) -> bool:
        return image in self._contents

    def start(self, image: str, environment: Path) -> None:
        """Make a virtual environment with what the image has, for one pod that may add to it."""
        base = self._made.get(image)
        if base is None:
            base = self._made[image] = self._make(image)
        (environment / "bin").mkdir(parents=True)
        for name in ("python", "python3", _PYTHON):
            (environment / "bin" / name).symlink_to(_base_interpreter())
        home = _base_interpreter().parent
        settings = f"home = {home}\ninclude-system-site-packages = false\n"
        (environment / "pyvenv.cfg").write_text(settings)
        shutil.copytree(base, _modules(environment), symlinks=True)

    def replace_python(self, environment: Path, program: str) -> None:
        """Let a program stand for the interpreter, which it finds beside it by its longest name."""
        for name in ("python", "python3"):
            path = environment / "bin" / name
            path.unlink()
            path.write_text(program)
            path.chmod(0o755)

    def redirect(self, environment: Path, out: Path) -> None:
        """Where a pod can't have an /mnt/out of its own, let its Python write to `out` instead."""
        # Not as `sitecustomize`: Debian's Python has one of its own, which is found first.
        (_modules(environment) / "redirect.py").write_text(_REDIRECT.format(out=str(out)))
        (_modules(environment) / "redirect.pth").write_text("import redirect\n")

    def _make(self, image: str) -> Path:
        base = self._folder / str(len(self._made))
        (base / "pip").mkdir(parents=True)
        (base / "pip" / "__init__.py").touch()
        shutil.copy(installing.__file__, base / "pip" / "__main__.py")
        (base / "pip" / installing.SOURCES).write_text("\n".join(self._sources))
        installing.link(self._contents[image], self._sources, base)
        return base


def _base_interpreter() -> Path:
    return Path(sys.base_exec_prefix, "bin", _PYTHON)


def _modules(environment: Path) -> Path:
    return environment / "lib" / _PYTHON / "site-packages"
