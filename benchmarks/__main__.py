"""Measure figures, print each as it comes, and write their parts of `RESULTS.md`."""

import argparse
import time
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.figures import Figure, Measure
from benchmarks.probe import PEERS_PYTHON
from benchmarks.results import document, line, part, parts
from benchmarks.scratch import same_environment_everywhere

_FIGURES: Final = (
    "tick",
    "journal",
    "delivery",
    "loop",
    "sensors",
    "waits",
    "rows",
    "files",
    "imports",
    "page",
    "deploy",
    "controllers",
    "snowflake",
    "postgres",
    "versioned",
    "objects",
    "ten_million",
    "listers",
)
_CONTROLLERS: Final = Path(__file__).parent.parent / "build" / "argo"
"""What the figure `controllers` runs; Go builds it."""

_RESULTS: Final = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    """Measure what the command line asks for."""
    options = _options()
    same_environment_everywhere()
    begun = time.monotonic()
    for name in options.figures or _FIGURES:
        print(f"{name} ...", flush=True)
        measured = _measure(name, quick=options.quick)
        if not options.quick:
            _keep(name, measured)
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    print(f"measured in {minutes} min {seconds} s")
    if options.quick:
        print(f"too few pairs to tell anything: {_RESULTS.name} stays as it is")


def _measure(name: str, *, quick: bool) -> str:
    """One group of figures, printed one by one, as a part of the results."""
    # Imported only now: Metaflow, which some import, reads its settings once.
    module = import_module(f"benchmarks.{name}")
    measure: Measure = module.measure
    done: list[Figure] = []
    with TemporaryDirectory(prefix="flowproject-bench-") as folder:
        for figure in measure(Path(folder), quick=quick):
            print(line(figure, judged=not quick), flush=True)
            done.append(figure)
    return part(module.__doc__ or "", done)


def _keep(name: str, measured: str) -> None:
    """Write a part of the results at once: what comes after it may be stopped."""
    known = parts(_RESULTS.read_text(encoding="utf-8")) | {name: measured}
    in_order = {each: known[each] for each in _FIGURES if each in known}
    _RESULTS.write_text(document(in_order), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="figure", help=f"of {', '.join(_FIGURES)}")
    parser.add_argument("--quick", action="store_true", help="one pair of each: does it run?")
    options = parser.parse_args()
    for name in set(options.figures) - set(_FIGURES):
        parser.error(f"there is no figure {name!r}, only {', '.join(_FIGURES)}")
    if not _CONTROLLERS.exists():
        if "controllers" in options.figures:
            parser.error("controllers needs build/argo: `make argo` builds it")
        print("controllers is left out: `make argo` builds what it needs")
        options.figures = options.figures or [one for one in _FIGURES if one != "controllers"]
    needs_peers = not options.quick and {"listers", "rows"} & {*(options.figures or _FIGURES)}
    if needs_peers and not PEERS_PYTHON.exists():
        parser.error("listers and rows need the peers' environment: `make bench` makes it")
    return options


if __name__ == "__main__":
    main()
