"""A tick that finds nothing new, beside the emptiest flows that Metaflow can run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.pairs import Comparison, in_turn
from benchmarks.scratch import add_files, bare_flow, copy_project, run, tick

__all__ = ["measure"]

_ROUNDS: Final = 11


def measure(folder: Path, *, quick: bool) -> Iterator[Comparison]:
    """A whole run of `SensorFlow` over two bare flows: with one blank card, and without."""
    sensor = add_files(copy_project(folder / "sensor"), "sensorflow.py")
    carded = bare_flow(folder / "carded", card=True)
    plain = bare_flow(folder / "plain", card=False)
    run(sensor)  # the baseline: from here on nothing changes
    ours, with_card, without = in_turn(
        lambda: tick(sensor),
        lambda: run(carded)[0],
        lambda: run(plain)[0],
        rounds=_ROUNDS,
        quick=quick,
    )
    ours_is = "a tick of SensorFlow on this repository's data (1,096 rows), nothing changed"
    yield Comparison(
        ours_is=ours_is,
        peer_is="a bare flow of two steps, the first with a blank card",
        fair_because="both are whole runs of two steps with one card; beyond the bare one, a tick "
        "reads the configuration, runs the query, fingerprints every row, reads the journal and "
        "draws what it saw",
        ours=ours,
        peer=with_card,
        goal=1.3,
    )
    yield Comparison(
        ours_is=ours_is,
        peer_is="the same bare flow without a card",
        fair_because="shown so that nobody takes the card for free: Metaflow renders it in another "
        "process",
        ours=ours,
        peer=without,
    )
