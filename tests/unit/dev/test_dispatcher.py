"""What the loop says of runs that a killed loop left behind."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flowproject.dev import dispatcher as dispatching
from flowproject.dev.dispatcher import Dispatcher
from flowproject.dev.messages import LeftRun, Message
from flowproject.dev.records import PendingEvents, RunRecord
from flowproject.flowfiles import FlowFile

NOW = datetime(2026, 11, 30, tzinfo=UTC)
FLOW = FlowFile(name="F", path=Path("f.py"), inherits_ours=True)


def left(folder: Path, *events: str) -> LeftRun:
    """What is said of a run that failed while there was no loop."""
    record = RunRecord(
        flow=FLOW.name,
        cause="events",
        events=events,
        sensors=None,
        started=NOW.isoformat(),
        loop="gone",
        project=str(folder),
        options=(),
        log=folder / "1.log",
    )
    record.id_file.write_text("7")
    told: list[Message] = []

    async def take_over() -> None:
        with ThreadPoolExecutor(max_workers=1) as reading:
            loop = Dispatcher(
                flows=(FLOW,),
                launcher=None,  # type: ignore[arg-type]  # no run is started
                reading=reading,
                pending=PendingEvents(folder, project=str(folder), options=()),
                emit=told.append,
                now=lambda: NOW,
            )
            await loop.take_over([record])

    asyncio.run(take_over())
    [run] = told
    assert isinstance(run, LeftRun)
    return run


@pytest.mark.parametrize("many", [1, 2])
def test_of_a_run_that_took_changes_of_several_sensors_no_part_is_to_be_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: int
):
    monkeypatch.setattr(dispatching, "read_state", lambda *_: "failed")
    monkeypatch.setattr(dispatching, "read_ticks", lambda *_: [])
    ids = [str(number) * 32 for number in range(many)]
    run = left(tmp_path, *ids)
    assert run.resume.endswith("resume --origin-run-id 7")
    assert run.replays == ([f"flowproject replay {ids[0]}"] if many == 1 else [])
