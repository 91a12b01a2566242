"""The story that every demo tells: data arrive; a change, an event, a run and two cards follow.

It works as a user would, on a copy of the project in a folder of its own, and takes nothing on
trust: what it tells at the end was read back from the journal, from Metaflow and from the disk.
Where the data lie, and how more of them arrive, is the demo's own.
"""
# ruff: noqa: T201  # it is told on standard output

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
_FLOWS: Final = ("baseflow.py", "sensorflow.py", "starterflow.py", "forecast.py")
COPIED: Final = ("flowproject.toml", *_FLOWS, "sql")
KNOWN: Final = ("2012.csv", "2013.csv", "2014.csv")
ARRIVES: Final = "2015-01.csv"
EXPECTED: Final = {"added": 31, "modified": 0, "removed": 0}
SENSOR: Final = "weather"
LISTENER: Final = "StarterFlow"

__all__ = ["ARRIVES", "KNOWN", "ROOT", "DemoError", "Stage", "tell"]


class DemoError(Exception):
    """Something that the demo shows did not happen."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where a demo plays: in which folder, how its data get there, and what is said of it."""

    folder: Path
    before: str
    """What is there at first, for the line above the first look."""
    prepare: Callable[[Path], None]
    """Puts three years of weather where the project in that folder looks for them."""
    arrival: str
    """What arrives, for the line above the second look."""
    arrive: Callable[[Path], None]
    """Adds January 2015."""


def tell(stage: Stage, description: str, arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 only if the change, the event, the run and both cards are there."""
    folder = _folder(stage, description, arguments)
    try:
        _play(stage, folder)
    except DemoError as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    return 0


def _folder(stage: Stage, description: str, arguments: Sequence[str] | None) -> Path:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--folder", type=Path, default=stage.folder, help="where to work: a new one"
    )
    folder: Path = parser.parse_args(arguments).folder.resolve()
    if folder == stage.folder:
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists():
        parser.error(f"{folder} exists already; the demo does not touch what it has not made")
    return folder


def _play(stage: Stage, folder: Path) -> None:
    _say(f"{stage.before}, in {_short(folder)}: the sensor's first look")
    _copy_project(folder)
    _leave_settings_behind(folder)
    stage.prepare(folder)
    _dev(folder)
    _say(stage.arrival)
    stage.arrive(folder)
    _dev(folder)
    change = _read_change(folder)
    run = _read_run(change)
    told = run["end"].task.stdout
    _require("Forecast off by" in told, f"{run.pathspec} did not say how good its forecast was")
    cards = [_write_card(change["run"], folder), _write_card(run.pathspec, folder)]
    _say("What happened, read back from the journal and from Metaflow")
    _show(change, run, told, cards)


def _copy_project(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)


def _leave_settings_behind(folder: Path) -> None:
    """Give Metaflow, here and in child processes, a datastore and a configuration of its own."""
    for name in [name for name in os.environ if name.startswith("METAFLOW_")]:
        del os.environ[name]
    os.environ["METAFLOW_HOME"] = str(folder / ".metaflow" / "no-configuration")
    os.environ["METAFLOW_DATASTORE_SYSROOT_LOCAL"] = str(folder)


def _dev(folder: Path) -> None:
    """Run the local loop until nothing is left to do, with its lines on standard output."""
    print("Running flowproject dev --until-idle", flush=True)
    done = subprocess.run([_flowproject(), "dev", "--until-idle"], cwd=folder, check=False)  # noqa: S603  # our own command
    _require(done.returncode == 0, f"flowproject dev ended with exit code {done.returncode}")


def _flowproject() -> str:
    """The command of the environment that this script runs in."""
    return str(Path(sys.executable).with_name("flowproject"))


def _read_change(folder: Path) -> dict[str, Any]:
    """The one change that the journal must hold, on top of the baseline."""
    command = [_flowproject(), "history", SENSOR, "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603  # our own command
    _require(done.returncode == 0, f"flowproject history failed: {done.stderr.strip()}")
    entries: list[dict[str, Any]] = json.loads(done.stdout)
    outcomes = [entry["outcome"] for entry in reversed(entries)]
    _require(
        outcomes == ["baseline", "changed"],
        f"the journal should hold a baseline and one change, and holds: {outcomes}",
    )
    change = entries[0]
    _require(change["counts"] == EXPECTED, f"31 days arrived, recorded is: {change['reason']}")
    _require(change["published"], f"the event bus has not taken change {change['id']}")
    return change


def _read_run(change: dict[str, Any]) -> Any:
    """The one run that the event of the change must have started, as Metaflow's client has it."""
    from metaflow import Flow, namespace
    from metaflow.exception import MetaflowNotFound

    namespace(None)
    try:
        runs = list(Flow(LISTENER))
    except MetaflowNotFound:
        raise DemoError(f"{LISTENER} was never started") from None
    _require(len(runs) == 1, f"{LISTENER} should have run once, and ran {len(runs)} times")
    [run] = runs
    _require(run.successful, f"{run.pathspec} did not succeed")
    event: Any = run.trigger.event if run.trigger else None
    _require(event, f"no event started {run.pathspec}")
    _require(event.id == change["id"], f"{run.pathspec} was started by another event: {event.id}")
    carried = run["start"].task["change_events"].data
    _require(
        [told["id"] for told in carried] == [change["id"]] and carried[0]["counts"] == EXPECTED,
        f"{run.pathspec} does not carry the change: {carried}",
    )
    return run


def _write_card(pathspec: str, folder: Path) -> Path:
    """The HTML file of the one card of a run's start step."""
    from metaflow import Run
    from metaflow.cards import get_cards

    cards = list(get_cards(Run(pathspec)["start"].task))
    _require(len(cards) == 1, f"{pathspec} should have one card, and has {len(cards)}")
    html = cards[0].get()
    _require("</html>" in html, f"the card of {pathspec} is no page")
    file = folder / "cards" / f"{pathspec.partition('/')[0]}.html"
    file.parent.mkdir(exist_ok=True)
    file.write_text(html, encoding="utf-8")
    return file


def _show(change: dict[str, Any], run: Any, told: str, cards: Sequence[Path]) -> None:
    rows = [
        ("change", f"number {change['seq']} of sensor {change['sensor']!r}: {change['reason']}"),
        ("", f"id {change['id']}"),
        ("event", f"{run.trigger.event.name}, with the same id"),
        ("run", f"{run.pathspec}, which says:"),
        *(("", f"  {line}") for line in told.strip().splitlines()),
        *zip(("cards", ""), map(_short, cards), strict=True),
    ]
    for name, text in rows:
        print(f"{name:<8}{text}")


def _require(fact: object, otherwise: str) -> None:
    if not fact:
        raise DemoError(otherwise)


def _say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _short(path: Path) -> str:
    """The path as one would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
