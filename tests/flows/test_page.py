"""The page of a real loop, asked over HTTP: a story of two sensors, in the order of the file."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from flowproject.dev.messages import Acted, EventReceived, RunFinished, RunStarted, TickFinished
from tests.conftest import ROOT
from tests.flows.served_page import JSON, Asker, Jumping, paged, server_sent_events
from tests.running_loop import wait_for

pytestmark = pytest.mark.usefixtures("warm_children")

CONFIG = """
project_name = "demo"

[data]
type = "files"
path = "days"

[sensors.days]

[sensors.months]
data = { path = "months" }
"""

TAKER = """
import os
from metaflow import Parameter, step
from flowproject import BaseFlow, on_change

@on_change("days")
class TakerFlow(BaseFlow):
    town = Parameter("town", default="Bern")

    @step
    def start(self):
        print("attempt", self.change.attempt if self.change else None)
        if os.path.exists("broken"):
            raise ValueError("no bread\\nin Bern")
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    TakerFlow()
"""

ASKER = """
import os, time
from metaflow import FlowSpec, Parameter, step

class AskFlow(FlowSpec):
    town = Parameter("town", required=True)
    limit = Parameter("limit", type=int, default=3)

    @step
    def start(self):
        print("town", self.town, self.limit, flush=True)
        while not os.path.exists("go"):
            time.sleep(0.05)
        print("<b>\\x1b[31mlast</b> words", flush=True)
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    AskFlow()
"""
SAY = '        print(f\'SENSORS [{__import__("os").environ.get("FLOWPROJECT_SENSORS")}]\')\n'
LOOK = "        self.ticks = self.observe("


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two folders to look at, one flow that looks, one that listens, one that asks."""
    root = tmp_path_factory.mktemp("paged")
    for name in ("days", "months"):
        (root / name).mkdir()
        (root / name / "1.csv").write_text("1")
    (root / "flowproject.toml").write_text(CONFIG)
    shutil.copy(ROOT / "baseflow.py", root)
    flow = (ROOT / "sensorflow.py").read_text()
    assert LOOK in flow
    (root / "sensorflow.py").write_text(flow.replace(LOOK, SAY + LOOK))
    (root / "takerflow.py").write_text(TAKER)
    (root / "askflow.py").write_text(ASKER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METAFLOW_DATASTORE_SYSROOT_LOCAL", str(root))
        patch.setenv("PYTHONPATH", str(ROOT))
        yield root


@pytest.fixture(scope="module")
def clock() -> Jumping:
    return Jumping()


@pytest.fixture(scope="module")
def page(
    root: Path,
    clock: Jumping,
    warm_children: None,  # noqa: ARG001  # before the loop starts
) -> Iterator[Asker]:
    """The loop whose story this is. Its first run has set the baselines."""
    with paged(root, clock=clock, every=60.0) as asker:
        assert [tick.outcome for tick in asker.loop.wait(TickFinished, many=2)] == ["baseline"] * 2
        yield asker


def looks(page: Asker, start: Callable[[], object], many: int) -> list[TickFinished]:
    """The ticks, so many of them, of the next run of SensorFlow, which `start` starts."""
    runs, ticks = len(runs_of(page, "SensorFlow")), len(page.loop.all(TickFinished))
    start()
    wait_for(lambda: len(runs_of(page, "SensorFlow")) > runs)
    page.loop.wait(TickFinished, many=ticks + many)
    settled(page)
    return page.loop.all(TickFinished)[ticks:]


def settled(page: Asker) -> None:
    """Wait until no run is under way, and the page knows it."""
    wait_for(lambda: len(page.loop.all(RunStarted)) == len(page.loop.all(RunFinished)))
    wait_for(lambda: all(row["state"] != "running" for row in page.view("/runs")))


def runs_of(page: Asker, flow: str) -> list[RunFinished]:
    return [run for run in page.loop.all(RunFinished) if run.flow == flow]


def sensors_named(run: RunFinished) -> str:
    """The variable that the run was started with, as its flow said."""
    found = re.search(r"SENSORS \[(.*)\]", run.log.read_text())
    assert found
    return found[1]


# -------------------------------------------------------------------------------------------- views

VIEWS = {
    "/": ["sensors", "timeline", "flows", "news"],
    "/sensors/days": ["state", "chart", "changes", "ticks"],
    "/sensors/days/changes/1": ["chain", "items", "cards"],
    "/runs": ["runs"],
    "/runs/{run}": ["state", "cards", "log"],
    "/graph": ["graph"],
    "/actions/tick?sensor=days": ["plan"],
}


def newest(page: Asker, address: str) -> str:
    run = runs_of(page, "SensorFlow")[0]
    return address.format(run=f"SensorFlow/{run.run_id}")


@pytest.mark.parametrize("address", VIEWS)
def test_each_view_is_a_page_and_a_document_for_machines(page: Asker, address: str):
    address = newest(page, address)
    answer = page.html(address)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.text.startswith("<!doctype html>")
    assert "demo" in answer.text
    assert page.view(address)


@pytest.mark.parametrize(
    "address, part", [(address, part) for address, parts in VIEWS.items() for part in parts]
)
def test_each_piece_is_what_stands_in_the_whole_page(page: Asker, address: str, part: str):
    address = newest(page, address)
    piece = page.html(f"{address}{'&' if '?' in address else '?'}part={part}")
    assert piece.status_code == 200
    assert "<!doctype" not in piece.text
    found = re.search(r'id="([^"]+)"', piece.text)
    assert found
    assert f'id="{found[1]}"' in page.html(address).text


def test_the_overview_tells_of_every_sensor_flow_and_message(page: Asker):
    view = page.view("/")
    assert [row["name"] for row in view["sensors"]] == ["days", "months"]
    assert [row["outcome"] for row in view["sensors"]] == ["baseline", "baseline"]
    assert view["sensors"][0]["holds"] == "1 item"
    assert {row["name"] for row in view["flows"]} == {"SensorFlow", "TakerFlow", "AskFlow"}
    assert {one["kind"] for one in view["news"]} >= {"listening", "run", "tick"}
    [lane] = [lane for lane in view["timeline"]["lanes"] if lane["name"] == "days"]
    assert [mark["outcome"] for mark in lane["marks"]] == ["baseline"]


@pytest.mark.parametrize(
    "address, words",
    [
        ("/nothing", "There is no such page"),
        ("/sensors/dyas", "Did you mean &#39;days&#39;?"),
        ("/sensors/days/changes/99", "was never recorded"),
        ("/sensors/days/changes/x", "is no number"),
        ("/sensors/days/changes/" + "9" * 5000, "is no number"),
        ("/sensors/days/changes/1?kind=odd", "There are no &#39;odd&#39; items"),
        ("/sensors/days/changes/1?start=-1", "is no number"),
        ("/sensors/days?before=" + "9" * 5000, "is no number"),
        ("/sensors/days?part=nothing", "There is no piece &#39;nothing&#39;"),
        ("/runs/SensorFlow/1", "no run &#39;SensorFlow/1&#39;"),
        ("/runs/NoFlow/1", "no run &#39;NoFlow/1&#39;"),
        ("/runs/NoFlow/1/log", "There is no such page"),
        ("/actions/explode?sensor=days", "There is no action"),
        ("/actions/tick?sensor=nobody", "There is no sensor &#39;nobody&#39;"),
        ("/actions/run?flow=TakrFlow", "Did you mean &#39;TakerFlow&#39;?"),
        ("/static/nothing.css", "There is no such page"),
        ("/static/../application.py", "There is no such page"),
        ("/cards/SensorFlow/1/start/1/0", "There is no such page"),
        ("/cards/NoFlow/1/start/1/0", "There is no such page"),
        ("/live?since=x", "is no number"),
    ],
)
def test_what_is_not_there_is_said_in_words(page: Asker, address: str, words: str):
    answer = page.html(address)
    assert answer.status_code == 404
    assert words in answer.text
    told = page.client.get(address, headers=JSON)
    assert told.status_code == 404
    assert told.json()["view"]["ok"] is False


def test_cards_are_shown_in_a_sandbox_that_they_cannot_leave(page: Asker):
    [frame, *_] = page.view(newest(page, "/runs/{run}"))["cards"]
    card = page.html(frame["src"])
    assert card.status_code == 200
    policy = card.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'")
    assert "allow-same-origin" not in policy
    shown = page.html(newest(page, "/runs/{run}")).text
    for tag in re.findall(r"<iframe[^>]*>", shown):
        assert 'sandbox="allow-scripts"' in tag
    assert page.html(frame["src"].rpartition("/")[0] + "/99").status_code == 404


def test_a_card_that_is_damaged_says_so_in_its_place(page: Asker, root: Path):
    run = newest(page, "SensorFlow/{run}").rpartition("/")[2]
    [frame, *_] = page.view(f"/runs/SensorFlow/{run}")["cards"]
    cards = list(root.glob(f".metaflow/mf.cards/SensorFlow/runs/{run}/**/*.html"))
    whole = {card: card.read_bytes() for card in cards}
    try:
        for card in cards:
            card.write_bytes(b"\xff")
        answer = page.html(frame["src"], **{"sec-fetch-dest": "iframe"})
        for card in cards:
            card.unlink()
        gone = page.html(frame["src"], **{"sec-fetch-dest": "iframe"})
    finally:
        for card, content in whole.items():
            card.write_bytes(content)
    assert answer.status_code == 500
    assert f"of SensorFlow/{run}/" in answer.text
    assert "can&#39;t be read" in answer.text
    assert "bug" not in answer.text
    assert gone.status_code == 404
    for shown in (answer, gone):  # in the frame, not as a page within the page
        assert "<nav" not in shown.text
        assert "frame-ancestors 'self'" in shown.headers["content-security-policy"]


def test_a_page_never_asks_a_source(page: Asker, root: Path):
    asked: list[str] = []
    folders = tuple(str(root / name) for name in ("days", "months"))
    watching = True

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if not watching or not event.startswith(("open", "os.listdir", "os.scandir", "subprocess")):
            return
        if event.startswith("subprocess") or any(one in str(arguments[0]) for one in folders):
            asked.append(event)

    sys.addaudithook(hear)
    list(Path(folders[0]).iterdir())
    assert len(asked) == 1  # it would be heard
    before = len(page.loop.told)
    for _ in range(3):
        for address in VIEWS:
            page.html(newest(page, address))
    watching = False
    assert len(asked) == 1
    assert len(page.loop.told) == before


# ------------------------------------------------------------------------------------------ actions


@pytest.mark.parametrize("token", ["", "wrong", "é"])
def test_a_form_without_the_pages_own_token_does_nothing(page: Asker, token: str):
    answer = page.client.post("/actions/pause", data={"sensor": "days", "token": token})
    assert answer.status_code == 403
    assert "load it anew" in answer.text
    assert page.view("/")["sensors"][0]["paused"] is False
    assert page.loop.all(Acted) == []


def test_a_paused_sensor_is_passed_by_until_it_is_resumed(page: Asker, clock: Jumping):
    assert page.act("pause", sensor="months").status_code == 200
    view = page.view("/")
    assert [row["paused"] for row in view["sensors"]] == [False, True]
    assert view["sensors"][1]["next_at"] == ""
    assert "resume" in [action["name"] for action in view["sensors"][1]["actions"]]
    assert [tick.sensor for tick in looks(page, clock.jump, 1)] == ["days"]
    assert sensors_named(runs_of(page, "SensorFlow")[-1]) == "days"
    resume = partial(page.act, "resume", sensor="months")
    assert "passed by at" in page.html("/actions/resume?sensor=months").text
    assert [tick.sensor for tick in looks(page, resume, 1)] == ["months"]
    assert [tick.sensor for tick in looks(page, clock.jump, 2)] == ["days", "months"]
    assert sensors_named(runs_of(page, "SensorFlow")[-1]) == "None"
    assert [(acted.action, acted.target) for acted in page.loop.all(Acted)] == [
        ("pause", "months"),
        ("resume", "months"),
    ]


def test_a_loop_of_which_every_sensor_is_paused_looks_at_nothing(page: Asker, clock: Jumping):
    for name in ("days", "months"):
        page.act("pause", sensor=name)
    assert looks(page, clock.jump, 0) == []
    run = runs_of(page, "SensorFlow")[-1]
    assert run.ok, run.tail
    assert sensors_named(run) == ""
    for name in ("days", "months"):
        assert len(looks(page, partial(page.act, "resume", sensor=name), 1)) == 1


def test_a_sensor_that_no_run_has_passed_by_is_not_looked_at_when_it_is_resumed(page: Asker):
    page.act("pause", sensor="days")
    result = page.result("resume", sensor="days")
    assert result["lines"] == ["The next scheduled run looks at it."]


def test_a_preview_looks_and_writes_nothing(page: Asker, root: Path):
    (root / "days" / "2.csv").write_text("2")
    before = journal(root)
    result = page.result("preview", sensor="days")
    assert result["title"] == "days: ● changed"
    assert result["ok"], result
    assert any("1 added" in line for line in result["lines"])
    assert "Nothing was written, and nothing was sent." in result["lines"]
    assert journal(root) == before


def test_a_tick_by_hand_looks_at_one_sensor_even_a_paused_one(page: Asker):
    page.act("pause", sensor="days")
    [tick] = looks(page, lambda: page.act("tick", sensor="days"), 1)
    assert (tick.sensor, tick.outcome, tick.seq) == ("days", "changed", 2)
    page.act("resume", sensor="days")
    [run] = page.loop.wait(RunFinished, many=1 + len(runs_of(page, "SensorFlow")))[-1:]
    assert (run.flow, run.ok) == ("TakerFlow", True)
    row = page.view("/runs")[0]
    assert row["name"] == f"TakerFlow/{run.run_id}"
    assert [link["text"] for link in row["changes"]] == ["days/2"]
    causes = [told.cause for told in page.loop.all(RunStarted) if told.flow == "SensorFlow"]
    assert causes[-1] == "page"


def test_a_change_is_told_from_its_tick_to_its_receipt_with_its_items(page: Asker):
    view = page.view("/sensors/days/changes/2")
    assert [step["kind"] for step in view["steps"]] == ["recorded", "sent", "taken"]
    assert view["row"]["state"] == "delivered"
    assert [kind["count"] for kind in view["items"]["kinds"]] == [1, 0, 0]
    assert "2.csv" in str(view["items"]["rows"])
    assert [action["name"] for action in view["actions"]] == ["replay"]


def test_a_forced_tick_tells_of_what_has_not_changed(page: Asker):
    [tick] = looks(page, lambda: page.act("force", sensor="days"), 1)
    assert (tick.outcome, tick.seq) == ("forced", 3)
    wait_for(lambda: len(runs_of(page, "TakerFlow")) == 2)


def test_a_replayed_change_is_taken_once_more_as_attempt_two(page: Asker):
    result = page.result("replay", change="days/2")
    assert result["ok"], result
    wait_for(lambda: len(runs_of(page, "TakerFlow")) == 3)
    settled(page)
    steps = page.view("/sensors/days/changes/2")["steps"]
    assert [(step["kind"], step["attempt"]) for step in steps][-1] == ("taken", 2)
    assert "attempt 2" in runs_of(page, "TakerFlow")[-1].log.read_text()


@pytest.mark.parametrize("change", ["days/99", "", "--help", "days/1; touch x"])
def test_what_cannot_be_replayed_is_said(page: Asker, change: str):
    answer = page.act("replay", change=change)
    assert answer.status_code == 400
    assert "It was not replayed" in answer.text


def test_a_required_parameter_that_is_missing_is_said_and_nothing_starts(page: Asker):
    before = len(page.loop.all(RunStarted))
    for values in ({}, {"p-town": ""}):
        answer = page.act("run", flow="AskFlow", **values)
        assert answer.status_code == 400
        assert "The parameter &#39;town&#39; of AskFlow is required" in answer.text
    answer = page.act("run", flow="AskFlow", **{"p-twon": "Bern"})
    assert "has no parameter &#39;twon&#39;" in answer.text
    assert len(page.loop.all(RunStarted)) == before


def test_a_run_gets_its_parameters_and_its_log_is_followed_to_its_end(page: Asker, root: Path):
    odd = "Zürich; $(touch x) --help"
    assert page.act("run", flow="AskFlow", **{"p-town": odd, "p-limit": ""}).status_code == 200
    run = wait_for(lambda: [one for one in page.loop.all(RunStarted) if one.flow == "AskFlow"])[0]
    wait_for(lambda: "town" in run.log.read_text())
    view = page.view(f"/runs/AskFlow/{run.run_id}")
    assert view["row"]["state"] == "running"
    assert f"town {odd} 3" in view["log"]
    with page.client.stream("GET", view["follow"]) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        coming = server_sent_events(answer)
        (root / "go").touch()
        told = list(coming)
    assert told[-1].event == "end"
    assert {message.event for message in told[:-1]} == {"line"}
    assert any(message.data.endswith("<b>last</b> words") for message in told)
    assert view["log"] + "".join(f"{one.data}\n" for one in told[:-1]) == plain(run.log)
    wait_for(lambda: page.view(f"/runs/AskFlow/{run.run_id}")["follow"] == "")


def plain(log: Path) -> str:
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", log.read_text())


def test_a_run_that_this_loop_has_not_started_is_shown_from_what_metaflow_keeps(
    page: Asker, root: Path
):
    line = [sys.executable, "takerflow.py", "run", "--run-id-file", "id", "--town", "Chur"]
    subprocess.run(line, cwd=root, check=True, capture_output=True)
    view = page.view(f"/runs/TakerFlow/{(root / 'id').read_text()}")
    assert view["row"]["state"] == "succeeded"
    assert "attempt None" in view["log"]
    assert view["follow"] == ""


def test_what_others_write_is_text_on_the_page(page: Asker, root: Path):
    (root / "days" / "<script>alert(1)<").write_text("x")
    looks(page, lambda: page.act("tick", sensor="days"), 1)
    shown = page.html("/sensors/days/changes/4").text
    assert "&lt;script&gt;alert(1)&lt;" in shown
    assert "<script>alert" not in shown


def run_for(page: Asker, change: str) -> RunFinished | None:
    """The run that this change has started, once it is over."""
    ids = [run.run_id for run in page.loop.all(RunStarted) if change in run.events]
    return next((run for run in runs_of(page, "TakerFlow") if run.run_id in ids), None)


def command(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in another terminal, which knows nothing of the loop's bus."""
    line = [sys.executable, "-m", "flowproject", *words]
    return subprocess.run(line, cwd=root, check=False, capture_output=True, text=True)


def delivery(root: Path, seq: int) -> dict[str, Any]:
    """What `history` says became of a change of the days."""
    told = json.loads(command(root, "history", "days", "--json").stdout)
    [found] = [entry["delivery"] for entry in told if entry["seq"] == seq]
    return found


def test_a_run_that_took_a_change_and_failed_is_shown_so_until_it_is_resumed(
    page: Asker, root: Path
):
    """On the sensor's, the change's and the run's page, and by `history`, which says what helps."""
    before = page.loop.all(EventReceived)[-1].id
    wait_for(lambda: run_for(page, before))
    (root / "broken").touch()
    [tick] = looks(page, lambda: page.act("force", sensor="days"), 1)
    failed = wait_for(lambda: run_for(page, tick.id))
    assert not failed.ok
    name = f"TakerFlow/{failed.run_id}"
    settled(page)
    runs = len(runs_of(page, "TakerFlow"))
    words = "taken, run failed in step 'start': ValueError: no bread"
    row = page.view("/sensors/days")["changes"][0]
    assert (row["seq"], row["state"], row["delivery"]) == (5, "failed", words)
    change = page.view("/sensors/days/changes/5")
    assert (change["row"]["state"], change["in_words"]) == ("failed", words)
    assert [step["kind"] for step in change["steps"]][-2:] == ["taken", "failed"]
    assert [one["name"] for one in change["actions"]] == ["resume-run", "replay"]
    run = page.view(f"/runs/{name}")
    assert [one["label"] for one in run["actions"]] == ["Resume", "Replay days/5"]
    found = delivery(root, 5)
    assert (found["in_words"], found["state"]) == (words, "run failed")
    resume = f"python takerflow.py resume --origin-run-id {failed.run_id}"
    said = command(root, "history", "days").stderr
    assert f"days/5, to go on with {name}: {resume}" in said
    assert "days/5, to begin anew: flowproject replay days/5" in said
    assert words in command(root, "why", "days/5").stdout

    (root / "broken").unlink()
    assert page.act("resume-run", run=name).status_code == 200
    resumed = wait_for(lambda: runs_of(page, "TakerFlow")[runs:])[0]
    assert resumed.ok, resumed.tail
    settled(page)
    assert page.view("/sensors/days/changes/5")["row"]["state"] == "delivered"
    [told] = delivery(root, 5)["runs"]
    assert (told["state"], told["resumed_by"]) == ("succeeded", f"TakerFlow/{resumed.run_id}")


def test_replay_finds_the_bus_of_the_loop_that_runs_here(page: Asker, root: Path):
    runs = len(runs_of(page, "TakerFlow"))
    done = command(root, "replay", "days/5")
    assert done.returncode == 0, done.stderr
    assert wait_for(lambda: runs_of(page, "TakerFlow")[runs:])[0].ok
    other = command(root, "replay", "days/5", "--branch", "nobodys")
    assert other.returncode != 0


def journal(root: Path) -> dict[str, tuple[int, bytes]]:
    folder = root / ".metaflow" / "flowproject"
    files = [path for path in folder.rglob("*") if path.is_file() and "dev/" not in str(path)]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}
