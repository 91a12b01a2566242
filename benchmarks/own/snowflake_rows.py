"""One look at a query on Snowflake: connect, run it, fetch every row, fingerprint them all.

Takes the project's folder, and a file in which a look is kept: with one the next look has a past,
and without it is written.
"""

import json
import sys
from pathlib import Path

import pyarrow.compute  # noqa: F401
import snowflake.connector  # noqa: F401

import flowproject.sources.snowflake  # noqa: F401
from benchmarks.probe import report
from flowproject.changes.observation import Items, Observation, Past
from flowproject.config.parse import load
from flowproject.sources import open_source

ROOT = Path(sys.argv[1])
KEPT = Path(sys.argv[2]) if sys.argv[2:] else None
[SENSOR] = load(ROOT).sensors.values()


def look() -> dict[str, object]:
    """How many rows there are, and how many of them were fetched."""
    seen = _observed(_past())
    return {"objects": seen.value, "fetched": seen.cost.rows}


def _observed(past: Past | None) -> Observation:
    return open_source(SENSOR.data, ROOT).observe(past)


def _past() -> Past | None:
    if KEPT is None or not KEPT.exists():
        return None
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    return Past(
        kept["value"],
        _unread,
        fingerprint=kept["fingerprint"],
        total=kept["value"],
        load_memo=lambda: kept["memo"],
    )


def _unread() -> Items | None:
    raise RuntimeError("nothing changed, and the rows of the past were asked for")


def _keep(path: Path) -> None:
    # Two looks: how many rows there are is not known to the first, and few are not digested.
    first = _observed(None)
    past = Past(first.value, _unread, fingerprint=first.fingerprint, total=len(first.items or ()))
    seen = _observed(past)
    kept = {"value": seen.value, "fingerprint": seen.fingerprint, "memo": seen.memo}
    path.write_text(json.dumps(kept), encoding="utf-8")


if KEPT is not None and not KEPT.exists():
    _keep(KEPT)
report(look)
