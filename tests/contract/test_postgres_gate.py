"""When PostgreSQL's gate is shut, and that no commit slips past it: on a real server."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowproject.changes.observation import Observation
from flowproject.errors import SourceError
from flowproject.sources.postgres import source as source_module
from tests.observations import remembered, table
from tests.postgres import Postgres, Project

SHUT = "nothing was committed in the server, the query did not run"


@pytest.fixture
def project(tmp_path: Path, postgres_settings: Postgres) -> Project:
    return Project(tmp_path, postgres_settings)


@pytest.fixture
def watched(project: Project) -> Project:
    """A table of two rows, and a query that reads it."""
    project.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')"
    )
    project.write("SELECT * FROM t")
    return project


def again(project: Project, before: Observation, **data: Any) -> Observation:
    return project.source(**({"key": ("id",)} | data)).observe(remembered(before))


def values(seen: Observation) -> dict[str, Any]:
    return {key: item.data.get("v") for key, item in table(seen).items()}


def test_while_nothing_is_committed_no_table_is_read(watched: Project):
    before = watched.look(key=("id",))
    after = again(watched, before)
    assert after.note == SHUT
    assert (after.fingerprint, after.memo, after.value) == (before.fingerprint, before.memo, 2)
    # The connection's own BEGIN and ROLLBACK, and one question between them.
    assert after.cost.requests == 3


def test_the_gate_can_be_left_out(watched: Project):
    before = watched.look(key=("id",), gate="")
    assert (again(watched, before, gate="").note, before.note) == ("", "")


def test_a_second_write_of_a_session_is_seen_before_the_counters_of_the_table_tell_of_it(
    watched: Project,
):
    with watched.connect() as writer:
        writer.execute("INSERT INTO t VALUES (3, 'c')")
        first = watched.look(key=("id",))
        counted = "SELECT n_tup_ins FROM pg_stat_user_tables WHERE relid = 't'::regclass"
        [(told,)] = watched.run(counted)
        writer.execute("INSERT INTO t VALUES (4, 'd')")
        second = again(watched, first)
        [(still,)] = watched.run(counted)
    assert values(second) == {"1": "a", "2": "b", "3": "c", "4": "d"}
    assert told == still  # a gate of these counters would have been shut


def test_a_truncated_table_is_seen_although_its_counters_do_not_move(watched: Project):
    before = watched.look(key=("id",))
    watched.run("TRUNCATE t")
    assert values(again(watched, before)) == {}


def test_a_commit_that_did_not_wait_for_the_disk_is_seen(watched: Project):
    before = watched.look(key=("id",))
    watched.run("SET synchronous_commit = off", "INSERT INTO t VALUES (3, 'c')")
    assert "3" in values(again(watched, before))


def test_a_late_commit_is_seen_behind_a_later_id(watched: Project):
    with watched.connect(autocommit=False) as late:
        late.execute("INSERT INTO t VALUES (3, 'late')")
        watched.run("INSERT INTO t VALUES (4, 'early')")
        before = watched.look(key=("id",))
        assert [*values(before)] == ["1", "2", "4"]
        between = again(watched, before)
        assert between.note == SHUT
        late.commit()
    assert [*values(again(watched, between))] == ["1", "2", "4", "3"] or "3" in values(
        again(watched, between)
    )


def test_what_a_prepared_transaction_commits_later_is_seen(watched: Project):
    with watched.connect(autocommit=False) as writer:
        writer.execute("INSERT INTO t VALUES (3, 'c')")
        writer.execute(f"PREPARE TRANSACTION '{watched.schema}'")
    before = watched.look(key=("id",))
    watched.run(f"COMMIT PREPARED '{watched.schema}'")
    assert "3" in values(again(watched, before))


def test_a_column_with_a_default_is_seen_although_no_row_was_written(watched: Project):
    before = watched.look(key=("id",))
    [xmin] = watched.run("SELECT max(xmin::text) FROM t")
    watched.run("ALTER TABLE t ADD COLUMN w int DEFAULT 7")
    assert [xmin] == watched.run("SELECT max(xmin::text) FROM t")  # by which nothing had happened
    after = again(watched, before)
    assert after.columns == {"id": "integer", "v": "text", "w": "integer"}
    assert table(after)["1"].data["w"] == 7


def test_a_label_that_is_renamed_is_seen_although_no_row_was_written(project: Project):
    project.run(
        "CREATE TYPE mood AS ENUM ('good', 'bad')",
        "CREATE TABLE t (id int, v mood)",
        "INSERT INTO t SELECT n, 'bad' FROM generate_series(1, 1200) AS n",
    )
    before = project.look("SELECT * FROM t", key=("id",))
    project.run("ALTER TYPE mood RENAME VALUE 'bad' TO 'sad'")
    assert {*values(again(project, before)).values()} == {"sad"}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE t SET v = v",
        "BEGIN; UPDATE t SET v = 'x'; ROLLBACK",
        "SELECT * FROM t FOR UPDATE",
        "VACUUM FULL t",
        "ANALYZE t",
        "CREATE TABLE other ()",
    ],
)
def test_what_changes_no_row_is_no_change(watched: Project, statement: str):
    before = watched.look(key=("id",))
    watched.run(*statement.split("; "))
    after = again(watched, before)
    assert (after.fingerprint, values(after)) == (before.fingerprint, values(before))


def test_every_value_of_a_sequence_is_seen_although_its_second_moves_no_snapshot(project: Project):
    project.run("CREATE SEQUENCE numbers")
    project.run("SELECT nextval('numbers')")
    before = project.look("SELECT last_value FROM numbers")
    project.run("SELECT nextval('numbers')")
    after = again(project, before, key=())
    assert (before.value, after.value) == (1, 2)
    assert "runs every time: it reads" in after.note


STEADY = """
CREATE TABLE t (id int PRIMARY KEY, v text, at timestamptz);
CREATE VIEW recent AS SELECT * FROM t WHERE at > now() - interval '1 day';
CREATE FUNCTION told() RETURNS int LANGUAGE plpgsql VOLATILE AS $$ BEGIN RETURN 1; END $$;
CREATE FUNCTION fixed(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN $1; END $$;
CREATE TABLE parts (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE parts_old PARTITION OF parts FOR VALUES FROM ('2000-01-01') TO ('2001-01-01');
CREATE TABLE parts_new PARTITION OF parts FOR VALUES FROM ('2001-01-01') TO ('9001-01-01')
"""


@pytest.fixture
def varied(project: Project) -> Project:
    project.run(*STEADY.split(";\n"))
    return project


@pytest.mark.parametrize(
    "text, doubt",
    [
        ("SELECT now() AS id", "it calls now"),
        ("SELECT id FROM t WHERE at > CURRENT_TIMESTAMP", "it has CURRENT_TIMESTAMP"),
        ("SELECT id FROM t WHERE at::date = CURRENT_DATE", "it has CURRENT_DATE"),
        ("SELECT id FROM t WHERE at > 'yesterday'", "it has yesterday"),
        ("SELECT id FROM recent", "it calls now"),
        ("SELECT id FROM t WHERE random() < 2", "it calls random"),
        ("SELECT told() AS id", "it calls told"),
        ("SELECT age(at) AS id FROM t", "it has CURRENT_DATE"),
        ("SELECT id FROM parts WHERE at < now() - interval '1000 years'", "leaves out partitions"),
        ("SELECT oid AS id FROM pg_class WHERE reltuples > 1e30", "it reads pg_catalog.pg_class"),
        ("SELECT pid AS id FROM pg_stat_activity", "pg_stat_get_activity"),
        ("SELECT id FROM t TABLESAMPLE BERNOULLI (50)", "it reads a sample"),
        ("SELECT current_setting('TimeZone') AS id", "it calls current_setting"),
    ],
)
def test_what_changes_without_a_commit_runs_every_time(varied: Project, text: str, doubt: str):
    before = varied.look(text)
    assert before.note.startswith("runs every time: ")
    assert doubt in before.note
    assert again(varied, before, key=()).note == before.note


@pytest.mark.parametrize(
    "text",
    [
        "SELECT id, upper(v) AS v, date_trunc('day', at) AS day FROM t ORDER BY id LIMIT 3",
        "SELECT count(*), max(at), string_agg(v, ',' ORDER BY id) FROM t",
        "SELECT fixed(id), to_char(at, 'YYYY'), at AT TIME ZONE 'CET', at - interval '1 d' FROM t",
        "WITH x AS (TABLE t) SELECT x.id, coalesce(y.v, 'now(') FROM x LEFT JOIN t y USING (id)",
        "SELECT id, row_number() OVER (PARTITION BY v ORDER BY id) FROM t WHERE id = ANY ('{1,2}')",
        "SELECT count(*) FROM parts",
        "SELECT v::varchar(3), id::numeric(5, 1), jsonb_build_object('a', id) FROM t",
        "VALUES (1), (2)",
        "TABLE t;",
    ],
)
def test_what_rests_on_tables_alone_is_gated(varied: Project, text: str):
    before = varied.look(text)
    assert before.note == ""
    assert again(varied, before, key=()).note == SHUT


def test_another_query_schema_or_role_is_not_taken_for_the_same(watched: Project):
    before = watched.look(key=("id",))
    watched.run("GRANT SELECT ON t TO reader")
    before = again(watched, before)
    assert again(watched, before).note == SHUT
    assert again(watched, before, key=("id", "v")).note == ""
    watched.write("SELECT id, v FROM t")
    assert again(watched, before).note == ""


@pytest.fixture
def within(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Let something happen once, after the snapshot of a look was taken and before it reads."""
    begin = source_module.begin

    def arrange(happen: Callable[[], object]) -> None:
        waiting = [happen]

        def begin_and_wait(*given: Any) -> Any:
            moment = begin(*given)
            while waiting:
                waiting.pop()()
            return moment

        monkeypatch.setattr(source_module, "begin", begin_and_wait)

    return arrange


REWRITES = {
    "truncated": "BEGIN; TRUNCATE t; INSERT INTO t VALUES (1, 'new'), (3, 'new'); COMMIT",
    "rewritten": "ALTER TABLE t ALTER COLUMN id TYPE bigint",
    "swapped": (
        "CREATE TABLE next (id int PRIMARY KEY, v text); INSERT INTO next VALUES (1, 'new'); "
        "BEGIN; ALTER TABLE t RENAME TO old; ALTER TABLE next RENAME TO t; COMMIT"
    ),
    "made again": "BEGIN; DROP TABLE t; CREATE TABLE t AS SELECT 1 AS id, 'new' AS v; COMMIT",
}


@pytest.mark.parametrize("how", REWRITES)
@pytest.mark.parametrize(
    "text", ["SELECT * FROM t", "SELECT count(*) FROM t", "SELECT * FROM seen"]
)
def test_a_table_that_is_rewritten_within_a_look_never_reads_as_empty(
    watched: Project, within: Callable[[Callable[[], object]], None], how: str, text: str
):
    if "seen" in text and how != "truncated":
        pytest.skip("a view goes with the very table that it was made of")
    watched.run("CREATE VIEW seen AS SELECT a.* FROM t AS a JOIN t AS b USING (id)")
    if how in {"rewritten", "made again"}:
        watched.run("DROP VIEW seen")
    key = () if "count" in text else ("id",)
    before = watched.look(text, key=key)
    watched.run("INSERT INTO t VALUES (9, 'z')")
    within(lambda: watched.run(*REWRITES[how].split("; ")))
    after = again(watched, before, key=key)
    expected = watched.run(text)
    assert len(expected) >= 1
    if key:
        assert values(after) == {str(row[0]): row[1] for row in expected}
    else:
        assert after.value == expected[0][0] > 0


def test_that_all_is_gone_is_believed_in_a_second_transaction_only(
    watched: Project, monkeypatch: pytest.MonkeyPatch
):
    before = watched.look(key=("id",))
    watched.run("DELETE FROM t")
    moments = []
    begin = source_module.begin
    monkeypatch.setattr(
        source_module, "begin", lambda *given: moments.append(begin(*given)) or moments[-1]
    )
    assert values(again(watched, before)) == {}
    assert len(moments) == 2


def test_a_table_that_is_rewritten_again_and_again_is_an_error_that_says_so(
    watched: Project, monkeypatch: pytest.MonkeyPatch
):
    begin = source_module.begin

    def begin_and_rewrite(*given: Any) -> Any:
        moment = begin(*given)
        watched.run("TRUNCATE t")
        return moment

    monkeypatch.setattr(source_module, "begin", begin_and_rewrite)
    with pytest.raises(SourceError, match=r"emptied or rewritten during each of 5 looks"):
        watched.look(key=("id",))
