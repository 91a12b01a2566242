"""Installing without a network: distributions of one environment are linked into another.

This file is also the `pip` of the pods: it has no imports of this project, and runs as it stands
there. What is not installed where it links from, it can't install, as if no index had it.
"""

import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePath

__all__ = ["NotFoundError", "link"]

_WHOLE = (".dist-info", ".libs", ".data")
SOURCES = "sources.txt"
"""Beside the pods' `pip`: the folders that it links from."""


class NotFoundError(Exception):
    """Nothing of that name, or not in that version."""


def link(names: Iterable[str], sources: Sequence[str], target: Path) -> None:
    """Put distributions, and all that they need, into the folder of modules `target`."""
    for found in _closure(names, sources):
        root = Path(str(found.locate_file("")))
        for unit in {_unit(PurePath(file), root) for file in found.files or ()}:
            if unit is not None and not (target / unit).exists():
                (target / unit).parent.mkdir(parents=True, exist_ok=True)
                (target / unit).symlink_to(root / unit)


def _closure(names: Iterable[str], sources: Sequence[str]) -> Iterator[Distribution]:
    from packaging.requirements import Requirement

    waiting = [(Requirement(name), "") for name in names]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        wanted, by = waiting.pop()
        if wanted.marker and not any(
            wanted.marker.evaluate({"extra": extra}) for extra in by.split(",")
        ):
            continue
        key = (wanted.name.lower(), frozenset(wanted.extras))
        if key in seen:
            continue
        seen.add(key)
        found = next(distributions(name=wanted.name, path=list(sources)), None)
        if found is None or not wanted.specifier.contains(found.version, prereleases=True):
            raise NotFoundError(f"No matching distribution found for {wanted}")
        yield found
        extras = ",".join(wanted.extras)
        waiting += [(Requirement(line), extras) for line in found.requires or ()]


def _unit(file: PurePath, root: Path) -> PurePath | None:
    """What is linked for a file: the package that it is in, or itself; nothing for a script.

    A folder without `__init__.py` is shared between distributions, so that its parts are linked.
    """
    if file.is_absolute() or ".." in file.parts:
        return None
    for depth in range(1, len(file.parts)):
        part = PurePath(*file.parts[:depth])
        if part.name.endswith(_WHOLE) or (root / part / "__init__.py").exists():
            return part
    return file


def main(arguments: Sequence[str]) -> int:
    """`python -m pip install NAME...`, as far as Metaflow writes it."""
    command, *rest = arguments
    names = [one for one in rest if not one.startswith("-")]
    if command != "install" or "-r" in rest or any("/" in one for one in names):
        sys.stderr.write(f"ERROR: this pip can't do {' '.join(arguments)}\n")
        return 2
    sources = (Path(__file__).parent / SOURCES).read_text(encoding="utf-8").splitlines()
    sys.path += sources  # packaging, which every environment of tests has
    try:
        link(names, sources, Path(sysconfig.get_path("purelib")))
    except NotFoundError as error:
        sys.stderr.write(f"ERROR: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
