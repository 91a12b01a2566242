"""`make demo`: a month of real weather arrives; a change, an event, a run and two cards follow."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from story import ARRIVES, KNOWN, ROOT, Stage, tell


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of the demo whose data are files."""
    stage = Stage(
        folder=ROOT / "build" / "demo",
        before="Three years of daily weather in Seattle",
        prepare=_copy_weather,
        arrival="January 2015 arrives: data/weather/2015-01.csv is new",
        arrive=_copy_january,
    )
    return tell(stage, __doc__ or "", arguments)


def _copy_weather(folder: Path) -> None:
    weather = folder / "data" / "weather"
    weather.mkdir(parents=True)
    for name in KNOWN:
        shutil.copy(ROOT / "data" / "weather" / name, weather)


def _copy_january(folder: Path) -> None:
    shutil.copy(ROOT / "data" / "incoming" / ARRIVES, folder / "data" / "weather")


if __name__ == "__main__":
    sys.exit(main())
