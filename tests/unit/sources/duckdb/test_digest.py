# ruff: noqa: S608  # all SQL here is the tests' own
"""An unchanged result is known by its digest, of which no row is read, and no change has its own.

The digest moves with whatever happens to rows. Where it can't be made or compared, rows are read.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flowproject.changes.observation import Memo, Observation, Past
from flowproject.config.data import DuckDBData
from flowproject.errors import FlowprojectError, QueryError
from flowproject.sources.duckdb import reading
from flowproject.sources.duckdb.digest import digested
from flowproject.sources.duckdb.source import DuckDBSource
from tests.observations import remembered, table

pytestmark = pytest.mark.seconds(20)

ROWS = 1_500
QUERY = f"SELECT n AS id, n % 7 AS v, 'word ' || n AS w FROM range({ROWS}) AS t(n)"

Row = tuple[str, ...]
"""SQL of a value for each column."""

COLUMNS: dict[str, tuple[str, ...]] = {
    "INTEGER": ("1", "2", "11", "NULL"),
    "VARCHAR": ("''", "'1'", "'1:'", "'1;'", "';'", "'0:'", "'NULL'", "NULL"),
    "DECIMAL(9,2)": ("1", "1.5", "NULL"),
    "DOUBLE": ("'nan'", "'inf'", "1", "NULL"),
    "VARCHAR[]": ("['a', 'b']", "['a, b']", "[NULL]", "['NULL']", "[]", "NULL"),
    "BLOB": (r"'\x00;'", "'1:'", "NULL"),
    "TIMESTAMP": ("'infinity'", "'2026-01-01'", "NULL"),
}
TABLES = st.lists(st.tuples(*map(st.sampled_from, COLUMNS.values())), min_size=1, max_size=6)


def told(rows: Sequence[Row], types: Iterable[str] = COLUMNS) -> str:
    """The digest of a table of these rows."""
    names = [f"a{place}" for place in range(len(rows[0]))]
    lines = [
        ", ".join(f"CAST({value} AS {kind})" for value, kind in zip(row, types, strict=True))
        for row in rows
    ]
    text = f"SELECT * FROM (VALUES ({'), ('.join(lines)})) AS t({', '.join(names)}); -- the end"
    kinds = dict(zip(names, duckdb.sql(text).types, strict=True))
    [(digest,)] = duckdb.execute(digested(text, kinds, 100), {"salt": "s"}).fetchall()
    return str(digest)


@given(TABLES, st.randoms())
def test_a_digest_is_that_of_the_rows_in_any_order(rows: list[Row], chance: Any):
    assert told(rows) == told(chance.sample(rows, len(rows)))


@given(TABLES, TABLES)
def test_two_tables_of_other_rows_have_two_digests(one: list[Row], other: list[Row]):
    assert (told(one) == told(other)) == (sorted(one) == sorted(other))


def test_rows_that_are_there_twice_do_not_cancel_out():
    one, two, three = [("1",), ("1",), ("3",)], [("2",), ("2",), ("3",)], [("3",)] * 3
    assert len({told(rows, ["INTEGER"]) for rows in (one, two, three)}) == 3


@given(st.lists(st.lists(st.text("1:;", max_size=3), min_size=3, max_size=3), max_size=2))
def test_it_is_told_where_a_value_ends(rows: list[list[str]]):
    """Whatever digits, colons and semicolons it has."""
    rows += [[row[0] + row[1][:1], row[1][1:], row[2]] for row in rows] + [["1", "", "1:"]]
    written = [[f"'{text}'" for text in row] for row in rows]
    kinds = ["VARCHAR", "BLOB", "VARCHAR"]
    digests = {told([(*row,)], kinds) for row in written}
    assert len(digests) == len({*map(tuple, written)})


@given(TABLES, st.data())
def test_it_moves_when_values_are_exchanged_between_rows(rows: list[Row], data: st.DataObject):
    """In each column, between two rows and around three."""
    places = data.draw(st.lists(st.sampled_from(range(len(rows))), unique=True, max_size=3))
    assume(len(places) > 1)
    before = told(rows)
    for column in range(len(COLUMNS)):
        edited = [*map(list, rows)]
        for one, other in itertools.pairwise([*places, places[0]]):
            edited[one][column] = rows[other][column]
        after = [*map(tuple, edited)]
        assert (told(after) == before) == (sorted(after) == sorted(rows)), column


@given(TABLES, st.data())
def test_it_moves_when_rows_come_go_or_are_there_twice(rows: list[Row], data: st.DataObject):
    row = data.draw(st.sampled_from(rows))
    others = [*rows]
    others.remove(row)
    digests = {told(them) for them in (rows, [*rows, row], [*rows, row, row])}
    assert len(digests) == 3
    if others:
        assert told(others) not in digests


class Project:
    """A folder with one query, and the looks at it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        (root / "sql").mkdir()
        self.read: list[int] = []

        def counted(chunk: list[Any], kinds: Mapping[str, Any]) -> Any:
            self.read.append(len(chunk))
            return converted(chunk, kinds)

        converted = reading.converted
        monkeypatch.setattr(reading, "converted", counted)

    def look(self, text: str, past: Past | None = None, **data: Any) -> Observation:
        """What is seen; `read` says afterwards how many rows came to Python."""
        (self.root / "sql" / "it.sql").write_text(text)
        self.read.clear()
        asked = DuckDBData(**{"query": "it", "key": ("id",), **data})
        return DuckDBSource(asked, self.root).observe(past)

    @property
    def rows_read(self) -> int:
        return sum(self.read)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(tmp_path, monkeypatch)


def noted(seen: Observation, memo: Memo) -> Past:
    return remembered(replace(seen, memo=memo))


def test_of_an_unchanged_result_no_row_is_read(project: Project):
    first = project.look(QUERY)
    assert project.rows_read == ROWS
    again = project.look(QUERY, remembered(first))
    assert project.rows_read == 0
    assert (again.value, again.fingerprint, again.memo) == (ROWS, first.fingerprint, first.memo)
    assert (again.columns, again.query, len(again.items or ())) == (first.columns, QUERY, ROWS)
    assert (again.cost.rows, again.cost.requests) == (ROWS, 1)
    assert table(again) == table(first)


def test_nor_in_another_order_nor_after_a_look_that_read_none(project: Project):
    first = project.look(QUERY)
    again = project.look(f"{QUERY} ORDER BY w DESC", remembered(first))
    third = project.look(f"-- edited\n{QUERY};", remembered(again))
    assert (project.rows_read, third.fingerprint) == (0, first.fingerprint)


def test_of_a_changed_result_all_rows_are_read_and_the_next_look_knows_them(project: Project):
    first = project.look(QUERY)
    edited = f"SELECT * REPLACE (if(id = 3, 'x', w) AS w) FROM ({QUERY})"
    changed = project.look(edited, remembered(first))
    assert project.rows_read == ROWS
    assert (changed.fingerprint, table(changed)) == (
        project.look(edited).fingerprint,
        {**table(first), "3": table(project.look(edited))["3"]},
    )
    assert changed.cost.requests == 1
    again = project.look(edited, remembered(changed))
    assert (project.rows_read, again.fingerprint) == (0, changed.fingerprint)


EDITS = {
    "two rows exchange a value": "SELECT * REPLACE (CASE id WHEN 1 THEN 'word 2' "
    f"WHEN 2 THEN 'word 1' ELSE w END AS w) FROM ({QUERY})",
    "a row goes": f"FROM ({QUERY}) WHERE id <> 5",
    "a row comes": f"FROM ({QUERY}) UNION ALL SELECT -1, 0, 'new'",
    "a column is another type": f"SELECT * REPLACE (CAST(v AS VARCHAR) AS v) FROM ({QUERY})",
    "a column is more": f"SELECT *, NULL AS more FROM ({QUERY})",
    "a column has another name": f"SELECT * RENAME (v AS u) FROM ({QUERY})",
    "values are where others were": f"SELECT id, if(v = 0, NULL, v) AS v, w FROM ({QUERY})",
    "no row is left": f"FROM ({QUERY}) WHERE false",
}
"""What happens to a table, of which the query is the first."""


@pytest.mark.parametrize("edit", EDITS)
def test_what_today_s_rule_tells_apart_is_seen(project: Project, edit: str):
    first = project.look(QUERY)
    seen = project.look(EDITS[edit], remembered(first))
    assert seen.fingerprint == project.look(EDITS[edit]).fingerprint != first.fingerprint


def test_what_is_the_same_by_the_rule_and_not_to_the_digest_is_read_once(project: Project):
    first = project.look(f"SELECT * REPLACE (CAST(v AS DECIMAL(9,2)) AS v) FROM ({QUERY})")
    second = project.look(QUERY, remembered(first))
    assert (project.rows_read, second.fingerprint) == (ROWS, first.fingerprint)
    third = project.look(QUERY, remembered(second))
    assert (project.rows_read, third.fingerprint) == (0, first.fingerprint)


def test_it_does_not_matter_what_the_tables_of_a_database_are_called(project: Project):
    with duckdb.connect(project.root / "it.duckdb") as connection:
        connection.execute(f"CREATE TABLE result AS {QUERY}; CREATE TABLE told AS {QUERY}")
    for text in ("FROM result", "FROM told", "SELECT id, v AS digest, w AS c0 FROM result"):
        first = project.look(text, database="it.duckdb")
        project.look(text, remembered(first), database="it.duckdb")
        assert project.rows_read == 0, text


@pytest.mark.parametrize(
    "macro",
    [
        "md5_number(x) AS 1",
        "concat(a, b, c, d, e, f, g, h) AS 'x'",
        "strlen(x) AS 0",
        "sum(x) AS 1",
        '">>"(a, b) AS 0; CREATE MACRO "&"(a, b) AS 0',
    ],
)
def test_a_macro_with_the_name_of_a_function_does_not_hide_a_change(project: Project, macro: str):
    with duckdb.connect(project.root / "it.duckdb") as connection:
        connection.execute(f"CREATE TABLE them AS {QUERY}; CREATE MACRO {macro}")
    first = project.look("FROM them", database="it.duckdb")
    edited = "SELECT * REPLACE (if(id = 3, '', w) AS w) FROM them"
    seen = project.look(edited, remembered(first), database="it.duckdb")
    assert seen.fingerprint != first.fingerprint
    project.look(edited, remembered(seen), database="it.duckdb")
    assert project.rows_read == 0


def test_a_memo_that_says_something_else_is_none(project: Project):
    first = project.look(QUERY)
    others: list[Memo] = [{}, {"v": 1}, {**first.memo, "v": 2}, {**first.memo, "more": 1}]
    others += [
        {**first.memo, name: value}
        for name in ("rule", "salt", "digest", "fingerprint")
        for value in ("", "0", "1 2 3", None, 7, [], {})
    ]
    for memo in others:
        seen = project.look(QUERY, noted(first, memo))
        assert seen.fingerprint == first.fingerprint
        assert project.rows_read == (0 if "more" in memo else ROWS), memo


def test_a_digest_is_compared_only_with_one_of_the_same_engine_and_key(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    text = QUERY.replace("n % 7", "n + 1")
    first = project.look(text)
    by_another = project.look(text, remembered(first), key=("v",))
    assert (project.rows_read, "1500" in table(by_another)) == (ROWS, True)
    monkeypatch.setattr(duckdb, "__version__", "2.99.0")
    project.look(text, remembered(first))
    assert project.rows_read == ROWS


def test_each_first_look_has_a_digest_of_its_own(project: Project):
    """Who writes rows can't know it before, and make two that have one."""
    one, other = project.look(QUERY), project.look(QUERY)
    assert one.fingerprint == other.fingerprint
    assert one.memo["digest"] != other.memo["digest"]


def test_rows_that_no_digest_is_made_of_are_read(project: Project):
    seen = project.look(f"SELECT id, v, sum(v) EXPORT_STATE AS w FROM ({QUERY}) GROUP BY ALL")
    assert (seen.memo, project.rows_read) == ({}, ROWS)


def test_rows_are_read_if_the_digest_fails(project: Project, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: Any) -> str:
        return "SELECT error('no memory left') WHERE $salt <> $known"

    first = project.look(QUERY)
    monkeypatch.setattr(reading, "digested_with_rows", broken)
    seen = project.look(QUERY, remembered(first))
    assert (project.rows_read, seen.fingerprint, seen.memo) == (ROWS, first.fingerprint, {})


@pytest.mark.parametrize(
    "edit, error",
    [
        (f"FROM ({QUERY}) UNION ALL SELECT 3, 3, 'twice'", "Two rows have the key '3'"),
        (f"SELECT nullif(id, 3) AS id, v, w FROM ({QUERY})", "A row has no key"),
        (f"SELECT id AS ident, v, w FROM ({QUERY})", "no column 'id'"),
        (f"SELECT id, error('late') AS v, w FROM ({QUERY})", "late"),
        (f"SELECT id, v,\n  nosuch FROM ({QUERY})", r"nosuch.*line 2, column 3"),
        (f"FROM ({QUERY}) UNION ALL SELECT -n, 0, '' FROM range(1, 600) AS t(n)", "than 2,000"),
    ],
)
def test_what_is_wrong_is_said_as_it_is_without_a_digest(project: Project, edit: str, error: str):
    first = project.look(QUERY)
    messages = []
    for past in (remembered(first), noted(first, {}), None):
        with pytest.raises(QueryError, match=error) as raised:
            project.look(edit, past, row_limit=2_000)
        messages.append(str(raised.value))
    assert len({*messages}) == 1


@pytest.mark.parametrize("limit", [1_400, ROWS - 1])
def test_a_limit_that_was_lowered_counts_for_an_unchanged_result_too(project: Project, limit: int):
    first = project.look(QUERY)
    with pytest.raises(FlowprojectError, match=f"more than {limit:,} rows"):
        project.look(QUERY, remembered(first), row_limit=limit)
    project.look(QUERY, remembered(first), row_limit=ROWS)
    assert project.rows_read == 0


def test_a_result_that_changes_by_itself_has_the_digest_of_the_rows_that_were_read(
    project: Project,
):
    text = f"SELECT n AS id, random() AS v FROM range({ROWS}) AS t(n)"
    first = project.look(text)
    seen = project.look(text, remembered(first))
    assert (project.rows_read, seen.fingerprint == first.fingerprint) == (ROWS, False)
    rows = [item.data for item in table(seen).values()]
    listed = ", ".join(f"({row['id']}::BIGINT, {row['v']!r}::DOUBLE)" for row in rows)
    again = project.look(f"FROM (VALUES {listed}) AS t(id, v)", remembered(seen))
    assert (project.rows_read, again.fingerprint) == (0, seen.fingerprint)


def test_of_rows_that_are_known_as_a_whole_their_number_is_said_and_no_digest(project: Project):
    first = project.look(QUERY, key=())
    seen = project.look(QUERY, remembered(first), key=())
    assert (project.rows_read, seen.fingerprint) == (0, first.fingerprint)
    edited = project.look(EDITS[next(iter(EDITS))], remembered(first), key=())
    assert edited.fingerprint != first.fingerprint
    assert {one.state for one in (first, seen)} == {f"{ROWS:,} rows, compared as a whole"}
    assert edited.state.endswith(" rows, compared as a whole")


@pytest.mark.parametrize(
    "text, key",
    [
        ("SELECT 1 AS one", ()),
        (f"{QUERY} LIMIT 1000", ()),
        (f"{QUERY} LIMIT 1000", ("id",)),
    ],
)
def test_of_a_small_result_the_journal_is_not_asked_for_a_digest(
    project: Project, text: str, key: tuple[str, ...]
):
    """It would take longer than reading the rows."""
    first = project.look(text, key=key)
    past = remembered(first)

    def asked() -> Memo:
        raise AssertionError

    unasked = Past(
        past.value,
        lambda: past.items,
        fingerprint=past.fingerprint,
        total=past.total,
        load_memo=asked,
    )
    seen = project.look(text, unasked, key=key)
    assert (seen.fingerprint, seen.memo, first.memo) == (first.fingerprint, {}, {})
