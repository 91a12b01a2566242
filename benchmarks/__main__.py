"""Measure every figure, print each as it comes, and write `RESULTS.md`."""

import argparse
import time
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.figures import Figure, Measure
from benchmarks.probe import PEERS_PYTHON
from benchmarks.results import document, line
from benchmarks.scratch import same_environment_everywhere

_FIGURES: Final = (
    "tick",
    "journal",
    "delivery",
    "sensors",
    "imports",
    "objects",
    "ten_million",
    "listers",
)
_RESULTS: Final = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    """Measure what the command line asks for."""
    options = _options()
    same_environment_everywhere()
    begun = time.monotonic()
    done: list[Figure] = []
    for name in options.figures or _FIGURES:
        print(f"{name} ...", flush=True)
        with TemporaryDirectory(prefix="flowproject-bench-") as folder:
            for figure in _measure(name)(Path(folder), quick=options.quick):
                print(line(figure, judged=not options.quick), flush=True)
                done.append(figure)
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    print(f"measured in {minutes} min {seconds} s")
    if options.quick or options.figures:
        print(f"a part of it, or too few pairs: {_RESULTS.name} stays as it is")
    else:
        _RESULTS.write_text(document(done), encoding="utf-8")


def _measure(name: str) -> Measure:
    # Imported only now: Metaflow, which some import, reads its settings once.
    measure: Measure = import_module(f"benchmarks.{name}").measure
    return measure


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="figure", help=f"of {', '.join(_FIGURES)}")
    parser.add_argument("--quick", action="store_true", help="one pair of each: does it run?")
    options = parser.parse_args()
    for name in set(options.figures) - set(_FIGURES):
        parser.error(f"there is no figure {name!r}, only {', '.join(_FIGURES)}")
    needs_peers = not options.quick and "listers" in (options.figures or _FIGURES)
    if needs_peers and not PEERS_PYTHON.exists():
        parser.error("listers needs the peers' environment: `make bench` makes it")
    return options


if __name__ == "__main__":
    main()
