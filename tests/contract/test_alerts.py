"""People are told of incidents: once, and when they are over, on real servers that may be down."""

import json
import socketserver
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flowproject import sensing
from flowproject.config import FilesData, Project, Schedule, Sensor
from flowproject.config.model import Alerts
from flowproject.contract import check_contract
from flowproject.journal import Store, open_store
from flowproject.sensing import ProjectContext, Tick
from tests.journals import CountingStore
from tests.watched_folder import MINUTE, START, Bus

pytestmark = pytest.mark.usefixtures("bus")
PASSWORD = "s3cret-of-mail"  # noqa: S105  # of the server below
DAY = 86_400.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A folder: what is asked of a store here, other tests ask of all of them."""
    return open_store(str(tmp_path / "store"))


@dataclass
class Hook:
    """A server that incidents are posted to; `status` is its answer."""

    status: int = 200
    told: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""


@pytest.fixture(scope="module")
def hook_server() -> Iterator[Hook]:
    hook = Hook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if hook.status == 200:
                hook.told.append(told)
            self.send_response(hook.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Tests read what was told."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    hook.url = f"http://127.0.0.1:{server.server_port}/T0/x7Kq9"
    yield hook
    server.shutdown()
    server.server_close()


@pytest.fixture
def hook(hook_server: Hook, monkeypatch: pytest.MonkeyPatch) -> Hook:
    hook_server.status = 200
    hook_server.told.clear()
    monkeypatch.setenv("HOOK", hook_server.url)
    return hook_server


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A mail server on this machine, and what it was given."""
    given: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 here")
            while line := self.rfile.readline().decode().strip():
                word = line.split()[0].upper()
                if word == "DATA":
                    self.say("354 go on")
                    lines = iter(lambda: self.rfile.readline().decode(), ".\r\n")
                    given.append("".join(lines))
                    self.say("250 taken")
                elif word == "EHLO":
                    self.say("250-here\r\n250 AUTH PLAIN")
                else:
                    self.say({"AUTH": "235 in", "QUIT": "221 bye"}.get(word, "250 ok"))

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        address = f"smtp://ann:{PASSWORD}@127.0.0.1:{server.server_address[1]}"
        monkeypatch.setenv("MAIL", address)
        yield given
        server.shutdown()


@dataclass
class Watched:
    """A sensor on a folder, with alerts, and a clock that stands still."""

    context: ProjectContext
    now: Any = START

    @property
    def folder(self) -> Path:
        return self.context.root / "in"

    def tick(self, minutes: float = 1) -> Tick:
        self.now += minutes * MINUTE
        context = replace(self.context, clock=lambda: self.now)
        [seen] = sensing.publish(context, sensing.observe(context))
        return seen

    def needs_tick(self) -> bool:
        context = replace(self.context, clock=lambda: self.now)
        [seen] = sensing.survey(context)
        return seen.needs_tick

    def break_it(self) -> None:
        self.folder.rename(self.folder.with_name("away"))

    def mend(self) -> None:
        self.folder.with_name("away").rename(self.folder)


def watch(folder: Path, store: Store, alerts: Alerts, **sensor: Any) -> Watched:
    (folder / "in").mkdir()
    one = Sensor(name="s", data=FilesData(path="in"), event_name="s_changed", **sensor)
    project = Project(project_name="demo", sensor=Schedule(), sensors={"s": one}, alerts=alerts)
    return Watched(
        ProjectContext(project=project, root=folder, store=store, branch="prod", run="SensorFlow/7")
    )


@pytest.fixture
def watched(tmp_path: Path, store: Store) -> Watched:
    found = watch(tmp_path, store, Alerts(webhook="HOOK"), expect_every=DAY)
    assert found.tick().outcome == "baseline"
    return found


def test_a_sensor_that_failed_three_times_is_told_once_and_when_it_works_again(
    watched: Watched, hook: Hook
):
    watched.break_it()
    for many in (1, 2):
        assert watched.tick().outcome == "failed"
        assert hook.told == [], many
    watched.tick()
    [begun] = hook.told
    assert (begun["incident"], begun["is_over"], begun["sensor"]) == ("failing", False, "s")
    assert begun["since"].startswith("2026-06-01T12:02")
    assert begun["text"] == (
        "Sensor 's' of demo (prod) has failed 3 times in a row, since 2026-06-01 12:02 UTC."
    )
    assert "in'" not in json.dumps(begun), "what failed may have data in its words"
    watched.tick()
    watched.tick()
    watched.mend()
    assert watched.tick().outcome == "unchanged"
    watched.tick()
    assert [(one["incident"], one["is_over"]) for one in hook.told] == [
        ("failing", False),
        ("failing", True),
    ]
    watched.break_it()
    for _ in range(4):
        watched.tick()
    assert len(hook.told) == 3, "another incident"
    assert not any(
        "/7" in key for key in watched.context.store.keys("flowproject/demo/prod/s/alerts")
    )


def test_two_failures_with_a_success_between_them_are_no_incident(watched: Watched, hook: Hook):
    for _ in range(3):
        watched.break_it()
        watched.tick()
        watched.tick()
        watched.mend()
        watched.tick()
    assert hook.told == []


def test_silence_is_told_and_ends_with_the_next_change(watched: Watched, hook: Hook):
    watched.tick(24 * 60 - 5)
    assert hook.told == []
    assert not watched.needs_tick()
    watched.now += timedelta(hours=1)
    assert watched.needs_tick(), "the loop starts a run for it"
    assert hook.told == [], "a look ahead tells nobody"
    watched.tick()
    [begun] = hook.told
    assert begun["text"] == (
        "Sensor 's' of demo (prod) has seen no change for longer than 1 day, "
        "since 2026-06-01 12:01 UTC."
    )
    assert not watched.needs_tick()
    (watched.folder / "a").write_text("1")
    watched.tick()
    assert [one["is_over"] for one in hook.told] == [False, True]


def test_a_change_that_was_given_up_is_told_with_its_number(
    tmp_path: Path, store: Store, hook: Hook, bus: Bus
):
    watched = watch(tmp_path, store, Alerts(slack="HOOK"), max_attempts=1)
    watched.tick()
    journal = watched.context.journal("s")
    journal.outbox.record_listeners(["StarterFlow"], by="test")
    (watched.folder / "a").write_text("1")
    watched.tick()
    watched.tick(16)
    [begun] = hook.told
    assert begun.keys() == {"text"}
    assert "has change 2 that no flow has started for" in begun["text"]
    assert len(bus.payloads) == 1


def test_who_could_not_be_told_is_told_by_the_next_tick_and_the_tick_does_not_fail(
    watched: Watched, hook: Hook, monkeypatch: pytest.MonkeyPatch
):
    watched.break_it()
    watched.tick()
    watched.tick()
    for status in (503, 302):
        hook.status = status
        seen = watched.tick()
        assert f"Nobody was told by webhook: the server answered {status}" in seen.alert
        assert hook.url not in seen.alert
        assert watched.needs_tick()
    monkeypatch.setenv("HOOK", "http://127.0.0.1:9/none")
    assert "Nobody was told by webhook: it could not be reached" in watched.tick().alert
    monkeypatch.delenv("HOOK")
    assert "the variable HOOK is not set where the tick runs" in watched.tick().alert
    monkeypatch.setenv("HOOK", hook.url)
    hook.status = 200
    assert watched.tick().alert == ""
    assert [one["is_over"] for one in hook.told] == [False]
    watched.mend()
    assert watched.tick().outcome == "unchanged"
    assert [one["is_over"] for one in hook.told] == [False, True]


def test_what_was_over_before_anybody_could_be_told_is_told_to_nobody(watched: Watched, hook: Hook):
    hook.status = 500
    watched.break_it()
    for _ in range(4):
        watched.tick()
    watched.mend()
    watched.tick()
    hook.status = 200
    watched.tick()
    assert hook.told == []


def test_two_ticks_at_once_tell_one_time(watched: Watched, hook: Hook):
    watched.break_it()
    watched.tick()
    watched.tick()
    ticks = [threading.Thread(target=watched.tick) for _ in range(4)]
    for one in ticks:
        one.start()
    for one in ticks:
        one.join()
    assert len(hook.told) == 1


def test_a_tick_that_died_while_it_told_is_followed_by_another(watched: Watched, hook: Hook):
    journal = watched.context.journal("s")
    assert journal.alerts.claim("1-begun-webhook", watched.now)
    watched.break_it()
    for _ in range(3):
        watched.tick()
    assert hook.told == [], "somebody may be telling it"
    watched.tick(11)
    assert len(hook.told) == 1


def test_a_mail_has_a_subject_and_no_password(tmp_path: Path, store: Store, mails: list[str]):
    alerts = Alerts(
        email_to=("a@example.com", "b@example.com"), email_from="c@example.com", smtp="MAIL"
    )
    watched = watch(tmp_path, store, replace(alerts, after_failures=1))
    watched.tick()
    watched.break_it()
    assert watched.tick().alert == ""
    [mail] = mails
    assert "Subject: demo (prod): sensor s failing" in mail
    assert "To: a@example.com, b@example.com" in mail
    assert "demo (prod) has failed, since" in mail
    assert PASSWORD not in mail


@pytest.mark.parametrize(
    "address, why",
    [
        ("smtp://127.0.0.1:9", "it could not be reached"),
        ("ftp://127.0.0.1", "is not written smtp://HOST"),
    ],
)
def test_a_mail_server_that_is_away_is_named_without_its_address(  # a story's
    tmp_path: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
    why: str,
):
    monkeypatch.setenv("MAIL", address)
    alerts = Alerts(
        after_failures=1, email_to=("a@example.com",), email_from="c@example.com", smtp="MAIL"
    )
    watched = watch(tmp_path, store, alerts)
    watched.break_it()
    seen = watched.tick()
    assert why in seen.alert
    assert "127.0.0.1" not in seen.alert


def test_a_command_gets_the_incident_on_its_input(tmp_path: Path, store: Store):
    code = "import sys; open('told.json', 'a').write(sys.stdin.read())"
    alerts = Alerts(after_failures=1, command=(sys.executable, "-c", code))
    watched = watch(tmp_path, store, alerts)
    watched.break_it()
    watched.tick()
    told = json.loads((tmp_path / "told.json").read_text())
    assert (told["incident"], told["run"]) == ("failing", "SensorFlow/7")
    broken = replace(alerts, command=(sys.executable, "-c", "raise SystemExit(3)"))
    watched.context = replace(
        watched.context, project=replace(watched.context.project, alerts=broken)
    )
    watched.mend()
    assert "Nobody was told by command: it ended with exit code 3" in watched.tick().alert


def test_without_alerts_a_tick_asks_for_nothing_more(tmp_path: Path, store: Store):
    counting: Any = CountingStore(store)
    watched = watch(tmp_path, counting, Alerts())
    watched.tick()
    counting.requests.clear()
    watched.tick()
    without = len(counting.requests)
    watched.context = replace(
        watched.context, project=replace(watched.context.project, alerts=Alerts(webhook="HOOK"))
    )
    counting.requests.clear()
    watched.tick()
    assert len(counting.requests) == without + 1


def test_check_says_that_nobody_is_told_of_silence(tmp_path: Path, store: Store):
    project = watch(tmp_path, store, Alerts(), expect_every=DAY).context.project
    words = "nobody is told if s stays silent"
    assert any(words in one.message for one in check_contract(project, []))
    told = replace(project, alerts=Alerts(command=("./tell",)))
    assert not any(words in one.message for one in check_contract(told, []))
