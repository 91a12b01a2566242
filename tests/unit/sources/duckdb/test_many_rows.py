# ruff: noqa: S608  # all SQL here is the tests' own
"""Of many rows only those are read that are not as they were, and what is told of them is the same.

What counts as many is a few here.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowproject.changes.decision import compare
from flowproject.changes.difference import Difference
from flowproject.changes.observation import Observation, Past
from flowproject.config.data import DuckDBData
from flowproject.errors import QueryError, SourceError
from flowproject.journal import DamagedTableError
from flowproject.sources.duckdb import reading
from flowproject.sources.duckdb.source import DuckDBSource
from flowproject.tables import row_comparison, row_table
from flowproject.tables.row_table import RowManifest, RowTable
from tests.observations import remembered, table

pytestmark = pytest.mark.seconds(20)

FEW = 20
ROWS = 1_200
QUERY = f"SELECT n AS id, n % 7 AS v, 'word ' || n AS w FROM range({ROWS}) AS t(n)"


@pytest.fixture(autouse=True, scope="module")
def few_are_many() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "FEW_ROWS", FEW)
        patch.setattr(row_comparison, "FEW_ROWS", FEW)
        patch.setattr(reading, "_CHUNK_ROWS", 100)
        patch.setattr(row_table, "_GROUP_ROWS", 300)
        yield


class Query:
    """A query in a folder, and looks at it; `read` is how many rows came to Python at the last."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        (root / "sql").mkdir()
        self.read = 0

        def counted(chunk: list[Any], kinds: Any) -> Any:
            self.read += len(chunk)
            return converted(chunk, kinds)

        converted = reading.converted
        monkeypatch.setattr(reading, "converted", counted)

    def look(self, text: str, past: Past | None = None, **data: Any) -> Observation:
        (self.root / "sql" / "it.sql").write_text(text)
        self.read = 0
        asked = DuckDBData(**{"query": "it", "key": ("id",), **data})
        return DuckDBSource(asked, self.root).observe(past)


@pytest.fixture
def query(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Query:
    return Query(tmp_path, monkeypatch)


def edited(expression: str, where: str = "true", source: str = QUERY) -> str:
    return f"SELECT id, v, if({where}, {expression}, w) AS w FROM ({source})"


def check(seen: Observation, alone: Observation, before: Observation) -> Difference:
    """Hold a look to what it is by itself, and to the difference of all rows in memory."""
    assert (seen.value, seen.fingerprint, table(seen)) == (
        alone.value,
        alone.fingerprint,
        table(alone),
    )
    known = table(before)
    found = seen.difference
    if found is None:  # of few rows whoever asked compares
        found = compare(known, replace(seen, items=table(seen)))
    told = Difference(
        added=tuple(found.added), modified=tuple(found.modified), removed=tuple(found.removed)
    )
    assert told == compare(known, replace(alone, items=table(alone)))
    return told


MODIFIED = edited("'x'", "id = 7")
EDITS = {
    "a few modified": (edited("'x'", "id % 100 = 3"), 12),
    "two exchange a value": (
        edited("if(id = 1, 'word 2', 'word 1')", "id IN (1, 2)"),
        2,
    ),
    "one comes": (f"FROM ({QUERY}) UNION ALL SELECT -1, 0, 'new'", 1),
    "one goes": (f"FROM ({QUERY}) WHERE id <> 5", 0),
    "one comes, one goes, one changes": (
        f"FROM ({MODIFIED}) WHERE id <> 5 UNION ALL SELECT -1, 0, 'new'",
        2,
    ),
    "all change": (edited("'x'"), ROWS),
    "all have other keys": (f"SELECT id + {ROWS} AS id, v, w FROM ({QUERY})", ROWS),
    "none is left": (f"FROM ({QUERY}) WHERE false", 0),
    "few are left": (f"FROM ({QUERY}) WHERE id < 5", 0),
    "many more come": (f"{QUERY.replace(str(ROWS), str(2 * ROWS))}", ROWS),
}


@pytest.mark.parametrize("edit", EDITS)
def test_only_rows_that_are_not_as_they_were_are_read(query: Query, edit: str):
    text, read = EDITS[edit]
    first = query.look(QUERY)
    assert isinstance(first.items, RowTable)
    seen = query.look(text, remembered(first))
    assert query.read == read
    alone = query.look(text)
    check(seen, alone, first)
    # What was learned on the way is as good as what a first look learns.
    still = query.look(text, remembered(seen))
    assert (query.read, still.fingerprint, still.difference) == (
        0 if (seen.items and len(seen.items) > 1000) else query.read,
        alone.fingerprint,
        None,
    )


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["modify", "remove", "add", "exchange", "back"]),
        st.integers(0, 59),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(stories=st.lists(STEPS, min_size=2, max_size=5))
def test_changes_added_up_are_the_table(
    tmp_path_factory: pytest.TempPathFactory, stories: list[Any]
):
    """Whatever comes, goes, changes, and is again what it was; however many files that makes."""
    root = tmp_path_factory.mktemp("story")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_table, "_MOST_SEGMENTS", 3)
        query = Query(root, patch)
        rows = {key: f"v{key}" for key in range(60)}
        first = dict(rows)
        before = query.look(_values(rows))
        for steps in stories:
            for what, start, many in steps:
                _edit(rows, first, what, range(start, start + many))
            text = _values(rows)
            seen = query.look(text, remembered(_compacted(before)))
            check(seen, query.look(text), before)
            before = seen


def _edit(rows: dict[int, str], first: dict[int, str], what: str, keys: range) -> None:
    for key in keys:
        match what:
            case "modify" if key in rows:
                rows[key] += "x"
            case "remove":
                rows.pop(key, None)
            case "add":
                rows.setdefault(key + 30, "new")
            case "exchange" if {key, key + 1} <= rows.keys():
                rows[key], rows[key + 1] = rows[key + 1], rows[key]
            case "back" if key in first:
                rows[key] = first[key]


def _values(rows: dict[int, str]) -> str:
    listed = ", ".join(f"({key}, '{value}')" for key, value in rows.items())
    none = "SELECT 0 AS id, '' AS w WHERE false"
    return f"FROM (VALUES {listed}) AS t(id, w)" if rows else none


def _compacted(seen: Observation) -> Observation:
    items = seen.items
    if isinstance(items, RowTable) and row_table.rows_need_compaction(items.manifest):
        return replace(seen, items=row_table.compact_rows(items))
    return seen


@pytest.mark.parametrize("many", [3, 100], ids=["few candidates", "many candidates"])
@pytest.mark.parametrize(
    "text, error",
    [
        ("FROM ({0}) UNION ALL SELECT 300, 0, 'twice'", "Two rows have the key '300'"),
        ("FROM ({0}) UNION ALL FROM ({1}) WHERE id = 300", "Two rows have the key '300'"),
        ("FROM ({0}) UNION ALL SELECT NULL, 0, ''", "A row has no key: id = null"),
    ],
)
def test_keys_that_are_none_are_refused(query: Query, many: int, text: str, error: str):
    first = query.look(QUERY)
    changed = edited("'x'", f"id < {many}")
    with pytest.raises(QueryError, match=error):
        query.look(text.format(changed, QUERY), remembered(first))
    with pytest.raises(QueryError, match=error):
        query.look(text.format(changed, QUERY))


def test_two_rows_whose_keys_are_one_by_the_rule_are_refused(query: Query):
    """To the engine 0.0 and -0.0 are two texts."""
    text = f"SELECT CAST(id AS DOUBLE) AS id, v, w FROM ({QUERY})"
    first = query.look(text)
    with pytest.raises(QueryError, match="Two rows have the key '0'"):
        query.look(f"{text} UNION ALL SELECT '-0.0'::DOUBLE, 0, 'other'", remembered(first))
    nan = f"{text} UNION ALL SELECT 'nan'::DOUBLE, 0, 'other'"
    seen = query.look(nan, remembered(first))
    assert [item.key for item in (seen.difference or Difference()).added] == ["NaN"]
    with pytest.raises(QueryError, match="Two rows have the key"):
        query.look(f"{nan} UNION ALL SELECT 'nan'::DOUBLE, 0, 'another'", remembered(seen))


def test_rows_that_are_the_same_by_the_rule_are_no_change(query: Query):
    text = f"SELECT id, CAST('[1.0]' AS JSON) AS v, w FROM ({QUERY})"
    first = query.look(text)
    seen = query.look(text.replace("1.0", "1"), remembered(first))
    assert query.read == ROWS
    assert seen.fingerprint == first.fingerprint
    check(seen, query.look(text), first)


def unmarked(seen: Observation) -> Past:
    """A state of a journal from before rows had marks, with no memo."""
    assert isinstance(seen.items, RowTable)
    manifest = replace(seen.items.manifest, marks=None)
    items = RowTable(manifest, seen.items.open_segment)
    return remembered(replace(seen, items=items, memo={}))


@pytest.mark.parametrize("edit", ["a few modified", "all change", "none is left"])
def test_rows_without_marks_are_compared_by_value_once(query: Query, edit: str):
    text, _ = EDITS[edit]
    first = query.look(QUERY)
    still = query.look(QUERY, unmarked(first))
    assert (query.read, still.fingerprint, check(still, first, first)) == (
        ROWS,
        first.fingerprint,
        Difference(),
    )
    seen = query.look(text, unmarked(first))
    check(seen, query.look(text), first)
    query.look(text, remembered(seen))
    assert query.read == 0


def test_nor_are_those_of_another_engine_taken_for_changed(
    query: Query, monkeypatch: pytest.MonkeyPatch
):
    first = query.look(QUERY)
    with monkeypatch.context() as patch:
        patch.setattr(duckdb, "__version__", "2.99.0")
        seen = query.look(edited("'x'", "id = 5"), remembered(first))
        told = check(seen, query.look(edited("'x'", "id = 5")), first)
    assert told.counts == {"added": 0, "modified": 1, "removed": 0}


def test_a_lost_memo_costs_no_more_than_the_rows_that_moved(query: Query):
    first = query.look(QUERY)
    seen = query.look(edited("'x'", "id = 5"), remembered(replace(first, memo={})))
    assert query.read == 1
    query.look(edited("'x'", "id = 5"), remembered(seen))
    assert query.read == 0


def test_a_result_that_changes_by_itself_is_of_one_look(query: Query):
    text = f"SELECT n AS id, random() AS v FROM range({ROWS}) AS t(n)"
    first = query.look(text)
    seen = query.look(text, remembered(first))
    assert seen.fingerprint != first.fingerprint
    difference = seen.difference or Difference()
    assert {new.key: new for _, new in difference.modified} == table(seen)
    listed = ", ".join(
        f"({row.data['id']}::BIGINT, {row.data['v']!r}::DOUBLE)" for row in table(seen).values()
    )
    again = query.look(f"FROM (VALUES {listed}) AS t(id, v)", remembered(seen))
    assert (query.read, again.fingerprint) == (0, seen.fingerprint)


def test_files_that_were_written_since_are_compared_at_once(query: Query):
    """And others ask the digest first; a database has other tables, which are written, too."""
    path = query.root / "them.parquet"
    duckdb.sql(QUERY).write_parquet(str(path))
    first = query.look("FROM 'them.parquet'")
    assert query.look("FROM 'them.parquet'", remembered(first)).cost.requests == 1
    duckdb.sql(edited("'x'", "id = 5")).write_parquet(str(path))
    seen = query.look("FROM 'them.parquet'", remembered(first))
    assert (seen.cost.requests, query.read) == (1, 1)
    with duckdb.connect(query.root / "it.duckdb") as connection:
        connection.execute(f"CREATE TABLE them AS {QUERY}")
    first = query.look("FROM them", database="it.duckdb")
    with duckdb.connect(query.root / "it.duckdb") as connection:
        connection.execute("UPDATE them SET w = 'x' WHERE id = 5")
    seen = query.look("FROM them", remembered(first), database="it.duckdb")
    assert (seen.cost.requests, query.read) == (2, 1)


def test_types_that_no_file_of_parquet_holds_are_compared_all_the_same(query: Query):
    text = (
        "SELECT id, CAST(v AS HUGEINT) * 170141183460469231731687303715884105 AS a, "
        "CAST(v AS BIGNUM) AS b, CAST(to_days(CAST(v AS INTEGER)) AS INTERVAL) AS c, "
        "CAST(w AS UNION(s VARCHAR, n INTEGER)) AS d, CAST('0101' AS BIT) AS e, "
        f"CAST('12:00:00+01' AS TIMETZ) AS f, MAP {{id: [w]}} AS g FROM ({QUERY})"
    )
    first = query.look(text)
    changed = text.replace("884105", "884104")
    seen = query.look(changed, remembered(first))
    assert query.read == sum(1 for id_ in range(ROWS) if id_ % 7)
    check(seen, query.look(changed), first)


def test_a_damaged_file_of_the_journal_is_named(query: Query):
    first = query.look(QUERY)
    assert isinstance(first.items, RowTable)
    with first.items.open_segment("") as file:
        whole = file.read()

    def broken(_: str) -> Any:
        content = bytearray(whole)
        content[len(content) // 3] ^= 1
        damaged = query.root / "damaged"
        damaged.write_bytes(content)
        return damaged.open("rb")

    items = RowTable(first.items.manifest.recorded("rows"), broken, DamagedTableError)
    past = Past(
        first.value,
        lambda: items,
        fingerprint=first.fingerprint,
        total=ROWS,
        load_memo=lambda: first.memo,
    )
    # What is damaged may be what no look needs; if it needs it, it says so.
    with pytest.raises(DamagedTableError, match="'rows'"):
        query.look(edited("'x'"), past)


def test_a_full_disk_ends_the_look(query: Query, monkeypatch: pytest.MonkeyPatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    first = query.look(QUERY)
    monkeypatch.setattr(row_table.SegmentWriter, "write", _explained(full))
    with pytest.raises(SourceError, match=r"does not fit.*No space left.*TMPDIR"):
        query.look(edited("'x'", "id = 5"), remembered(first))


def _explained(fail: Any) -> Any:
    from flowproject.tables.scratch import full_disk_explained

    def write(*arguments: Any) -> None:
        with full_disk_explained():
            fail(*arguments)

    return write


@pytest.mark.parametrize("limit", ["1MB"])
def test_an_engine_without_memory_says_where_there_must_be_room(
    query: Query, monkeypatch: pytest.MonkeyPatch, limit: str
):
    first = query.look(QUERY)
    monkeypatch.setattr(row_comparison, "_MEMORY", limit)
    monkeypatch.setattr(row_comparison, "TemporaryDirectory", _NoFolder)
    with pytest.raises(SourceError, match=r"could not be compared.*TMPDIR"):
        query.look(edited("repeat(w, 5000)"), remembered(first))


class _NoFolder:
    """A folder to spill to that can't be."""

    def __init__(self, **_: Any) -> None:
        pass

    def __enter__(self) -> str:
        return "/dev/null/none"

    def __exit__(self, *_: object) -> None:
        pass


@given(st.sets(st.integers(0, 200)), st.lists(st.integers(1, 70), max_size=4))
def test_a_manifest_is_told_and_read(places: set[int], rows: list[int]):
    live = sum(1 << place for place in places if place < sum(rows))
    names = tuple(f"s{number}" for number in range(len(rows)))
    manifest = RowManifest(total=7, segments=names, rows=tuple(rows), live=live)
    assert RowManifest.from_json(manifest.to_json()) == manifest
    with pytest.raises(ValueError, match="digest"):
        RowManifest.from_json({**manifest.to_json(), "total": "08"})


def test_sums_of_marks_are_whole(query: Query):
    del query
    most = 2**64 - 1
    marks = pa.table([[most, most, 1], [1, 2, most], [0, 1, 2]], row_table.marks_schema())
    assert row_table.sums_of_marks(marks) == (2 * most + 1, most + 3)
