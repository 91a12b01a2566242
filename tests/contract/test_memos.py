"""What a source notes for its next look makes it quicker on every store, and never wrong."""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from flowproject import sensing
from flowproject.changes.canonical import digest_value
from flowproject.changes.difference import Difference
from flowproject.changes.observation import Cost, Memo, Observation, Past
from flowproject.config import FilesData, Project, Schedule, Sensor
from flowproject.errors import JournalError
from flowproject.journal import Journal, Store, open_store
from flowproject.sensing import ProjectContext, Tick
from flowproject.sources.result import keyed, unkeyed
from tests.journals import CountingStore, entry, journal_on

MEMO: Memo = {"v": 1, "tokens": {"t": 7}}
NEWER: Memo = {"v": 1, "tokens": {"t": 8}}


def place(journal: Journal) -> str:
    return f"{journal.location}/source-memo.json"


def test_a_memo_is_recorded_with_its_entry_and_costs_no_object(
    journal: Journal, store: Store
) -> None:
    before = len(store.keys(journal.location))
    recorded = journal.record(replace(entry(1), memo=MEMO), None, Difference())
    assert journal.memos.source(recorded) == MEMO
    assert len(store.keys(journal.location)) == before + 2, "the entry, and the memo of its number"


def test_a_later_memo_takes_the_place_of_the_recorded_one(journal: Journal, store: Store) -> None:
    recorded = journal.record(replace(entry(1), memo=MEMO), None, Difference())
    for memo in (NEWER, {"v": 2, "odd": "\ud800é"}):
        journal.memos.write_source(recorded, memo)
        head = journal.head().entry
        assert head == recorded, "an entry is never overwritten"
        assert journal.memos.source(recorded) == memo
    assert [key for key in store.keys(journal.location) if "source-memo" in key] == [place(journal)]


def test_the_memo_of_another_entry_is_none(journal: Journal) -> None:
    first = journal.record(replace(entry(1), memo=MEMO), None, Difference())
    journal.memos.write_source(first, NEWER)
    second = journal.record(entry(2), None, Difference())
    assert journal.memos.source(second) == {}
    journal.memos.write_source(second, NEWER)
    assert journal.memos.source(first) == MEMO, "a slow tick that still knows the older entry"


def test_the_memo_of_a_journal_that_was_deleted_is_none(journal: Journal, store: Store) -> None:
    journal.memos.write_source(journal.record(entry(1), None, Difference()), NEWER)
    store.delete(journal.entry_key(1))
    store.delete(f"{journal.location}/head.json")
    later = replace(entry(1), recorded_at="2027-01-01T00:00:00+00:00")
    assert journal.memos.source(journal.record(later, None, Difference())) == {}


def damaged(document: Mapping[str, Any]) -> Iterator[bytes]:
    """The memo with each of its fields changed or lost, and in other ways no memo at all."""
    yield from (b"", b"not json", b"[]", b"null", b"{}", b'"x"', b"\xff\xfe", b"1" * 100_000)
    for key in document:
        yield json.dumps({**document, key: "other"}).encode()
        yield json.dumps({name: document[name] for name in document if name != key}).encode()
    yield json.dumps({**document, "memo": {"v": 1, "tokens": {"t": 9}}}).encode()
    future = {**{key: document[key] for key in document if key != "digest"}, "v": 2}
    yield json.dumps({**future, "digest": digest_value(future)}).encode()


def test_a_damaged_foreign_or_newer_memo_is_none(journal: Journal, store: Store) -> None:
    recorded = journal.record(replace(entry(1), memo=MEMO), None, Difference())
    journal.memos.write_source(recorded, NEWER)
    good = store.get(place(journal))
    assert good is not None
    for content in damaged(json.loads(good)):
        store.put(place(journal), content)
        assert journal.memos.source(recorded) == MEMO, content[:200]
    store.delete(place(journal))
    assert journal.memos.source(recorded) == MEMO


def test_a_memo_that_can_not_be_read_or_written_fails_nothing(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(CountingStore):
        def put(self, key: str, content: bytes) -> None:
            if key.endswith("source-memo.json"):
                raise JournalError("disk full")
            self._store.put(key, content)

        def get(self, key: str) -> bytes | None:
            if key.endswith("source-memo.json"):
                raise JournalError("no such disk")
            return self._store.get(key)

    journal = journal_on(Broken(store))
    recorded = journal.record(replace(entry(1), memo=MEMO), None, Difference())
    journal.memos.write_source(recorded, NEWER)
    assert journal.memos.source(recorded) == MEMO
    assert "disk full" in caplog.text
    assert "no such disk" in caplog.text


@dataclass
class Gated:
    """A source of rows that tells by a token whether it was written to, as a table would."""

    rows: dict[str, int] = field(default_factory=lambda: {"a": 1})
    token: int = 1
    is_keyed: bool = False
    looks: int = 0
    meanwhile: Callable[[], None] = lambda: None

    def write(self, **rows: int) -> None:
        self.rows = rows
        self.token += 1

    def observe(self, past: Past | None = None) -> Observation:
        memo: Memo = {"v": 1, "token": self.token}
        if past and past.memo == memo:
            return past.still(cost=Cost(), query="", note="its token is the same")
        self.looks += 1
        self.meanwhile()
        rows: Any = [{"k": key, "n": self.rows[key]} for key in sorted(self.rows)]
        seen = keyed(rows, ("k",), "it") if self.is_keyed else unkeyed(rows, "it")
        return replace(seen, memo=memo)

    def progress(self) -> None:
        return None


SENSOR = Sensor(name="s", data=FilesData(path="data"), event_name="s_changed")


@pytest.fixture(params=[False, True], ids=["value", "items"])
def gated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Gated:
    source = Gated(is_keyed=request.param)
    monkeypatch.setattr("flowproject.sensing.look.open_source", lambda _, __: source)
    return source


@pytest.fixture
def counting(store: Store) -> CountingStore:
    return CountingStore(store)


@pytest.fixture
def context(counting: CountingStore, tmp_path: Path) -> ProjectContext:
    project = Project(project_name="p", sensor=Schedule(), sensors={"s": SENSOR})
    return ProjectContext(project=project, root=tmp_path, store=counting, branch="user.me")


def tick(context: ProjectContext, *, force: bool = False) -> Tick:
    [seen] = sensing.observe(context, force=force)
    return seen


def test_a_source_that_is_told_its_memo_need_not_look(
    context: ProjectContext, gated: Gated
) -> None:
    first = tick(context)
    seen = [tick(context) for _ in range(3)]
    assert [one.outcome for one in seen] == ["unchanged"] * 3
    assert gated.looks == 1
    assert seen[0].reason.endswith("(its token is the same)")
    assert (seen[0].value, seen[0].total) == (first.value, first.total)


def test_a_memo_that_moved_is_kept_and_nothing_else_is_written(
    context: ProjectContext, gated: Gated, counting: CountingStore
) -> None:
    tick(context)
    gated.token += 1
    counting.requests.clear()
    assert tick(context).outcome == "unchanged"
    assert [one for one in counting.requests if one in ("put", "create", "put_file")] == ["put"]
    counting.requests.clear()
    assert tick(context).outcome == "unchanged"
    assert gated.looks == 2, "the first, and the one after the token moved"
    assert "put" not in counting.requests


def test_a_look_that_need_not_be_reads_no_table(
    context: ProjectContext, gated: Gated, counting: CountingStore
) -> None:
    tick(context)
    counting.requests.clear()
    tick(context)
    assert gated.looks == 1
    assert sorted(counting.requests) == ["exists", "get", "get", "get"]


def test_a_source_without_a_memo_costs_no_request_more(
    context: ProjectContext, counting: CountingStore, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("1")
    tick(context)
    counting.requests.clear()
    assert tick(context).outcome == "unchanged"
    assert sorted(counting.requests) == ["exists", "get", "get"]


def test_a_change_is_recorded_with_the_memo_of_its_own_look(
    context: ProjectContext, gated: Gated
) -> None:
    tick(context)
    gated.write(a=2, b=3)
    assert tick(context).outcome == "changed"
    assert tick(context).outcome == "unchanged"
    assert gated.looks == 2


def test_a_forced_tick_asks_anew(context: ProjectContext, gated: Gated) -> None:
    tick(context)
    assert tick(context, force=True).outcome == "forced"
    assert gated.looks == 2
    assert tick(context).outcome == "unchanged"
    assert gated.looks == 2


def test_a_preview_writes_no_memo(context: ProjectContext, gated: Gated, store: Store) -> None:
    tick(context)
    gated.token += 1
    before = {key: store.get(key) for key in store.keys("flowproject")}
    [seen] = sensing.preview(context)
    assert seen.outcome == "unchanged"
    assert {key: store.get(key) for key in store.keys("flowproject")} == before


def test_a_slow_tick_leaves_no_memo_that_hides_what_another_recorded(
    context: ProjectContext, gated: Gated
) -> None:
    """While one tick looks, the data change, another records that, and they change back."""
    tick(context)
    gated.token += 1

    def meanwhile() -> None:
        gated.meanwhile = lambda: None
        gated.write(a=2)
        assert tick(context).outcome == "changed"
        gated.write(a=1)

    gated.meanwhile = meanwhile
    assert tick(context).outcome == "unchanged", "it compares with what was known when it began"
    assert tick(context).outcome == "changed", "a = 1 again"
    assert tick(context).outcome == "unchanged"


def test_whatever_happens_to_memos_no_change_is_missed(
    store: Store, gated: Gated, tmp_path: Path
) -> None:
    chance = random.Random(4)
    project = Project(project_name="p", sensor=Schedule(), sensors={"s": SENSOR})
    context = ProjectContext(project=project, root=tmp_path, store=store, branch="user.me")
    memo = place(context.journal("s"))
    kept: list[bytes] = [b"", b"{}", b'{"v": 1, "memo": {"v": 1, "token": 1}}']
    known: dict[str, int] | None = None
    for _ in range(60):
        if chance.random() < 0.5:
            gated.write(a=chance.randrange(3))
        if chance.random() < 0.3:
            gated.token += 1
        if chance.random() < 0.3 and (content := store.get(memo)) is not None:
            kept.append(content)
        if chance.random() < 0.3:
            store.put(memo, chance.choice(kept))
        outcome = tick(context).outcome
        expected = (
            "baseline" if known is None else "unchanged" if known == gated.rows else "changed"
        )
        assert outcome == expected
        known = gated.rows


def test_after_a_reset_there_is_no_memo(context: ProjectContext, gated: Gated) -> None:
    tick(context)
    gated.token += 1
    tick(context)
    journal = context.journal("s")
    journal.record(replace(entry(2, outcome="reset"), fingerprint=""), None, Difference())
    assert tick(context).outcome == "baseline"
    assert gated.looks == 3


def test_an_entry_of_a_flowproject_without_memos_is_read(tmp_path: Path) -> None:
    journal = journal_on(open_store(str(tmp_path)))
    recorded = journal.record(entry(1), None, Difference())
    body = {
        key: value for key, value in recorded.to_json().items() if key not in ("memo", "digest")
    }
    content = json.dumps({**body, "digest": digest_value(body)}).encode()
    open_store(str(tmp_path)).put(journal.entry_key(1), content)
    assert journal.head().entry == recorded
    assert journal.memos.source(recorded) == {}
