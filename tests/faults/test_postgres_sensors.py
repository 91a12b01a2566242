"""Stories of writers, crashes and looks: the changes that a sensor reports, added up, are the table.

Writers overlap, commit late or not at all; tables are truncated, rewritten, swapped, altered, dropped
and made again; the server dies. A look may have any of it happen between its snapshot and its rows.
"""  # noqa: E501

import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from flowproject.changes.columns import columns_change
from flowproject.changes.decision import compare
from flowproject.changes.difference import Item
from flowproject.changes.observation import Observation
from flowproject.config.data import PostgresData
from flowproject.errors import SourceError
from flowproject.sources import open_source
from flowproject.sources.postgres import rows as rows_module
from flowproject.sources.postgres import source as source_module
from tests.conftest import ROOT
from tests.observations import remembered, table
from tests.postgres import Cluster, programs, settings_of
from tests.sharing import shared_folder

STORIES = int(os.environ.get("STORIES", "200"))
FIRST_STORY = int(os.environ.get("FIRST_STORY", "100"))
STEPS = 14
ROWS = 30


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A server that nobody else uses, so that it may be killed."""
    programs()
    folder = shared_folder() / f"cluster-{os.getpid()}"
    folder.mkdir()
    running = Cluster(folder)
    with settings_of(running):
        yield running
    running.stop()


class Story:
    """A table and its writers, and what a sensor has reported of it so far."""

    def __init__(self, cluster: Cluster, root: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.cluster = cluster
        self.schema = cluster.schema()
        self.told: list[str] = [f"seed {seed}"]
        (root / "sql").mkdir(parents=True)
        (root / "sql" / "it.sql").write_text("SELECT * FROM t")
        self.data = PostgresData(query="it", key=("id",), schema=self.schema, timeout=30)
        self.root = root
        self.run("CREATE TABLE t (id int PRIMARY KEY, v text, n numeric)")
        filler = self.chance.choice([0, 3, 1100])
        self.run(f"INSERT INTO t SELECT -n, 'x', n FROM generate_series(1, {filler}) AS n")  # noqa: S608  # the tests' own
        self.writers: list[psycopg.Connection[Any]] = []
        self.seen: Observation | None = None
        self.reported: dict[str, Item] = {}

    def run(self, *statements: str) -> list[Any]:
        return self.cluster.run(*statements, schema=self.schema)

    def alone(self, *statements: str) -> None:
        """Statements that wait for nobody: who is in the way ends first."""
        self.end_writers()
        self.run(*statements)

    def end_writers(self) -> None:
        for writer in self.writers:
            with suppress(psycopg.Error):
                writer.commit() if self.chance.random() < 0.6 else writer.rollback()
            writer.close()
        self.writers = []

    def actions(self) -> list[tuple[str, Callable[[], object]]]:
        n = self.chance.randint(1, 9)
        return [
            ("writes", self.write),
            ("writes", self.write),
            ("writes", self.write),
            ("ends one", self.end_one),
            ("ends one", self.end_one),
            ("exchanges", self.exchange),
            ("rewrites", lambda: self.alone("ALTER TABLE t ALTER COLUMN v TYPE varchar(40)")),
            ("truncates", lambda: self.alone("TRUNCATE t")),
            (
                "replaces",
                lambda: self.alone(
                    "BEGIN",
                    "TRUNCATE t",
                    f"INSERT INTO t (id, v) VALUES ({n}, 'r')",  # noqa: S608  # the tests' own
                    "COMMIT",
                ),
            ),
            ("swaps", self.swap),
            (
                "makes again",
                lambda: self.alone(
                    "BEGIN",
                    "DROP TABLE t",
                    "CREATE TABLE t (id int PRIMARY KEY, v text, n numeric)",
                    f"INSERT INTO t VALUES ({n}, 'm', {n})",  # noqa: S608  # the tests' own
                    "COMMIT",
                ),
            ),
            (
                "adds a column",
                lambda: self.alone(f"ALTER TABLE t ADD c{self.fresh()} int DEFAULT {n}"),
            ),
            ("touches", lambda: self.run("UPDATE t SET v = v WHERE id < 0")),
            ("vacuums", lambda: self.alone("VACUUM FULL t")),
            ("writes elsewhere", lambda: self.run("CREATE TABLE IF NOT EXISTS other ()")),
        ]

    def fresh(self) -> int:
        return self.chance.randint(1000, 10**9)

    def step(self, actions: list[tuple[str, Callable[[], object]]] | None = None) -> None:
        name, act = self.chance.choice(actions or self.actions())
        self.told.append(name)
        with suppress(psycopg.errors.LockNotAvailable, psycopg.errors.IntegrityError):
            act()

    def write(self) -> None:
        """One statement in a transaction that may stay open."""
        if not self.writers or self.chance.random() < 0.4:
            writer = self.cluster.connect(self.schema, autocommit=False)
            self.writers.append(writer)
        writer = self.chance.choice(self.writers)
        number, text = self.chance.randint(1, ROWS), self.chance.choice("abc")
        statement = self.chance.choice(
            [
                f"INSERT INTO t (id, v, n) VALUES ({number}, '{text}', {number}) "  # noqa: ISC004, S608
                "ON CONFLICT (id) DO NOTHING",
                f"UPDATE t SET v = '{text}', n = -n WHERE id = {number}",  # noqa: S608  # the tests' own
                f"DELETE FROM t WHERE id = {number}",  # noqa: S608  # the tests' own
                f"UPDATE t SET v = '{text}' WHERE id % 3 = {number % 3} AND id > 0",  # noqa: S608  # the tests' own
            ]
        )
        try:
            writer.execute("SET LOCAL lock_timeout = '50ms'")
            writer.execute(statement)
        except psycopg.Error:  # somebody else holds the row, or the table is another by now
            with suppress(psycopg.Error):
                writer.rollback()

    def end_one(self) -> None:
        if self.writers:
            writer = self.writers.pop(self.chance.randrange(len(self.writers)))
            with suppress(psycopg.Error):
                writer.commit() if self.chance.random() < 0.7 else writer.rollback()
            writer.close()

    def exchange(self) -> None:
        self.run(
            "SET lock_timeout = '50ms'",
            "UPDATE t SET v = o.v, n = o.n FROM t AS o "
            "WHERE t.id BETWEEN 1 AND 6 AND o.id = 7 - t.id",
        )

    def swap(self) -> None:
        self.alone(
            "DROP TABLE IF EXISTS old, next",
            "CREATE TABLE next (LIKE t INCLUDING ALL)",
            "INSERT INTO next SELECT * FROM t WHERE id % 2 = 0",
            "BEGIN",
            "ALTER TABLE t RENAME TO old",
            "ALTER TABLE next RENAME TO t",
            "COMMIT",
        )

    def rows(self) -> dict[str, dict[str, Any]]:
        """What the table holds for a reader now."""
        with self.cluster.connect(self.schema) as connection:
            connection.execute("SET extra_float_digits = 1")
            cursor = connection.execute("SELECT * FROM t")
            names = [column.name for column in cursor.description or ()]
            return {
                str(row[0]): {
                    name: (int(value) if name == "n" and value is not None else value)
                    for name, value in zip(names, row, strict=True)
                }
                for row in cursor
            }

    def look(self) -> None:
        """Look once, and hold what is reported to the table."""
        allowed = [self.rows()]
        past = remembered(self.seen) if self.seen else None
        try:
            seen = open_source(self.data, self.root).observe(past)
        except SourceError as error:
            assert "does not exist" in str(error), (error, self.told)  # noqa: PT017
            return
        allowed.append(self.rows())
        found = {key: dict(item.data) for key, item in table(seen).items()}
        # A column that comes during a look is seen with the rows that there were when it began.
        # And of a table that was made again meanwhile there are fewer columns.
        before = {
            key: {name: row.get(name) for name in allowed[0].get(key, row)}
            for key, row in found.items()
        }
        assert found in allowed or before == allowed[0], (self.told, seen.note)
        known = self.seen.columns if self.seen else {}
        columns = columns_change(known, seen.columns)
        difference = seen.difference or compare(self.reported, seen, columns, ("id",))
        # What is reported twice, or of a row that is not so, would not fit.
        for item in difference.removed:
            assert self.reported.pop(item.key).data == item.data, self.told
        for old, new in difference.modified:
            assert self.reported[old.key].data == old.data != new.data, self.told
            self.reported[new.key] = new
        for item in difference.added:
            assert item.key not in self.reported, self.told
            self.reported[item.key] = item
        if columns:  # rows that differ only in columns that came or went are told of by these
            assert self.reported.keys() == found.keys(), self.told
            self.reported = {**table(seen)}
        assert {key: dict(item.data) for key, item in self.reported.items()} == found, self.told
        self.seen = seen

    def crash(self) -> None:
        self.told.append("crashes")
        self.cluster.kill()
        for writer in self.writers:
            writer.close()
        self.writers = []
        with pytest.raises(SourceError, match="PostgreSQL can't be connected to"):
            open_source(self.data, self.root).observe()
        self.cluster.start()


def play(
    cluster: Cluster, root: Path, seed: int, patch: pytest.MonkeyPatch, *, crashes: bool
) -> None:
    story = Story(cluster, root, seed)
    begin = source_module.begin
    waiting: list[int] = []

    def begin_and_more(*given: Any) -> Any:
        moment = begin(*given)
        while waiting:
            waiting.pop()
            story.told.append("meanwhile:")
            # A writer that ends here ends after the snapshot: the look must not know.
            story.step()
        return moment

    patch.setattr(source_module, "begin", begin_and_more)
    if seed % 2:  # more than these count as many
        patch.setattr(source_module, "FEW_ROWS", 1050)
        patch.setattr(rows_module, "FEW_ROWS", 1050)
    crash = story.chance.randrange(STEPS) if crashes else -1
    for number in range(STEPS):
        if number == crash:
            story.crash()
        for _ in range(story.chance.randint(0, 3)):
            story.step()
        waiting[:] = [1] if story.chance.random() < 0.5 else []
        story.told.append("looks")
        story.look()
    story.end_writers()
    waiting.clear()
    story.look()
    assert story.reported.keys() == story.rows().keys()
    cluster.run(f"DROP SCHEMA {story.schema} CASCADE")


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.thorough)])
def test_the_changes_of_a_short_story_added_up_are_the_table(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
):
    play(cluster, tmp_path, seed, monkeypatch, crashes=seed == 1)


@pytest.mark.thorough
@pytest.mark.timeout(3000)
def test_the_changes_of_many_stories_added_up_are_the_table(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for seed in range(FIRST_STORY, FIRST_STORY + STORIES):
        with monkeypatch.context() as patch:
            play(cluster, tmp_path / str(seed), seed, patch, crashes=seed % 10 == 0)


def test_a_crash_that_empties_an_unlogged_table_is_seen(cluster: Cluster, tmp_path: Path):
    story = Story(cluster, tmp_path, 0)
    story.run("DROP TABLE t", "CREATE UNLOGGED TABLE t AS SELECT 1 AS id", "CHECKPOINT")
    source = open_source(story.data, tmp_path)
    before = source.observe()
    snapshot = story.run("SELECT pg_current_snapshot()::text")
    story.crash()
    assert [*table(source.observe(remembered(before)))] == []
    assert snapshot  # by which alone it could have been missed


def test_a_server_that_restarts_during_a_look_is_one_clear_error(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    story = Story(cluster, tmp_path, 0)
    begin = source_module.begin

    def begin_and_restart(*given: Any) -> Any:
        moment = begin(*given)
        cluster.stop()
        cluster.start()
        return moment

    with monkeypatch.context() as patch:
        patch.setattr(source_module, "begin", begin_and_restart)
        with pytest.raises(SourceError, match=r"connection to PostgreSQL was lost.*next tick"):
            open_source(story.data, tmp_path).observe()
    assert open_source(story.data, tmp_path).observe().items is not None


def test_a_server_that_was_started_again_ends_with_the_process_that_started_it(tmp_path: Path):
    programs()
    (tmp_path / "made").mkdir()
    script = (
        "import os, pathlib, sys\n"
        "from tests.sharing import begin\n"
        "begin(os.environ)\n"
        "from tests.postgres import Cluster\n"
        "server = Cluster(pathlib.Path(sys.argv[1]))\n"
        "server.stop()\n"
        "server.start()\n"
        "print(server.port)\n"
        "raise SystemExit('as if somebody had interrupted it')\n"
    )
    environment = {n: text for n, text in os.environ.items() if n != "FLOWPROJECT_TESTS_FOLDER"}
    told = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "made")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "as if somebody" in told.stderr
    deadline = time.monotonic() + 30
    while True:
        with socket.socket() as asking:
            if asking.connect_ex(("127.0.0.1", int(told.stdout))):
                break
        assert time.monotonic() < deadline, "it runs on"
        time.sleep(0.05)
