"""What a tick over ten million objects needs: memory must not grow with them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.costs import Cost, Limit
from benchmarks.figures import Figure
from benchmarks.watched import watched

__all__ = ["measure"]

_OBJECTS: Final = 10_000_000
_OBJECTS_IF_QUICK: Final = 30_000
_AT_ONCE: Final = 32
_MOST: Final = {"unchanged": 200, "scattered": 500}


def measure(folder: Path, *, quick: bool) -> Iterator[Figure]:
    """The first tick, one that finds nothing and one that compares everything, once each."""
    objects = _OBJECTS_IF_QUICK if quick else _OBJECTS
    with watched(folder, objects) as bucket:
        what = f"of {objects:,} objects"
        costs = {
            "first": (f"the first tick {what}", bucket.tick(_AT_ONCE, "baseline")),
            "unchanged": (f"a tick {what}, nothing changed", bucket.tick(_AT_ONCE)),
            "scattered": (
                f"a tick {what}, one in 1,000 changed, everywhere",
                bucket.changed("scattered", _AT_ONCE),
            ),
        }
    for name, (method, taken) in costs.items():
        yield Cost(method=method, setting=f"0 ms, {_AT_ONCE} at once", taken=[taken])
        if name in _MOST:
            yield Limit(
                what=f"peak memory of {method}", amount=taken.peak_mb, most=_MOST[name], unit="MB"
            )
