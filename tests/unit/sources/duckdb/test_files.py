"""The files behind a query are found, whole when they are read, and named when they fail."""

import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flowproject.config.data import DuckDBData
from flowproject.errors import FlowprojectError, QueryError, SourceError
from flowproject.sources.duckdb.files import FileState, QueriedFiles, newest_file
from flowproject.sources.duckdb.references import References
from flowproject.sources.duckdb.source import DuckDBSource
from flowproject.sql import Query

pytestmark = pytest.mark.seconds(10)  # the first query of the process imports the engine

PARQUET = "TProtocolException: Invalid data"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sql").mkdir()
    for name in ("a.csv", "b.csv", "sub/c.csv"):
        write(tmp_path, name, "id,v\n1,2\n")
    return tmp_path


@pytest.fixture
def connection(root: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    config = {"file_search_path": str(root), "autoinstall_known_extensions": "false"}
    with duckdb.connect(config=config) as connection:
        yield connection


def write(root: Path, name: str, text: str) -> None:
    """Put a file there that was written long ago."""
    path = root / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    os.utime(path, (1, 1))


def look(root: Path, text: str, **data: Any) -> Any:
    (root / "sql" / "it.sql").write_text(text)
    return DuckDBSource(DuckDBData(query="it", **data), root).observe().value


def files(connection: duckdb.DuckDBPyConnection, text: str) -> QueriedFiles:
    references = References(connection, text, in_database=True)
    return QueriedFiles(connection, references, {}, database="", cancelled=threading.Event())


@pytest.mark.parametrize(
    "text, found",
    [
        ("SELECT 1", []),
        ("FROM range(3)", []),
        ("FROM 'a.csv'", ["a.csv"]),
        ("FROM '*.csv'", ["a.csv", "b.csv"]),
        ("FROM '**/*.csv'", ["a.csv", "b.csv", "sub/c.csv"]),
        ("FROM '{root}/b.csv'", ["b.csv"]),
        ("FROM read_csv('file://{root}/b.csv')", ["b.csv"]),
        ("FROM read_csv('a.csv', header = true)", ["a.csv"]),
        ("FROM read_csv(['a.csv', 'sub/*.csv'])", ["a.csv", "sub/c.csv"]),
        ("FROM read_csv('a' || '.csv')", ["a.csv"]),
        ("FROM read_text('a.csv') AS t, 'b.csv'", ["a.csv", "b.csv"]),
        ("SELECT 1 WHERE EXISTS (FROM 'a.csv')", ["a.csv"]),
        ("WITH t AS (FROM 'a.csv') FROM t JOIN 'b.csv' USING (id)", ["a.csv", "b.csv"]),
        ("FROM query('FROM ' || '''a.csv''')", ["a.csv"]),
        ("FROM glob('*.csv')", ["a.csv", "b.csv"]),
        ("SELECT 'a.csv' -- FROM 'b.csv'", []),
        ("FROM json_each('[\"a.csv\"]')", []),
        ("FROM behind", ["a.csv"]),
        ("FROM above", ["a.csv"]),
        ("FROM of_it('b.csv')", ["b.csv"]),
        ("SELECT many()", ["a.csv"]),
        ("FROM 'https://example.invalid/a.csv'", []),
    ],
)
def test_the_files_behind_a_query_are_found(
    connection: duckdb.DuckDBPyConnection, root: Path, text: str, found: list[str]
):
    connection.execute("CREATE VIEW behind AS SELECT id AS \"AS\" FROM 'a.csv'")
    connection.execute("CREATE VIEW above AS SELECT 1 FROM behind")
    connection.execute("CREATE MACRO of_it(file) AS TABLE FROM read_csv(file)")
    connection.execute("CREATE MACRO many() AS (SELECT count(*) FROM 'a.csv')")
    query = Query(file="sql/it.sql", text=text)
    _, states = files(connection, text.format(root=root)).read_unchanged(query, lambda: None)
    assert sorted(states) == [str(root / name) for name in found]
    assert all(state.size == 9 and state.modified_ns == 1_000_000_000 for state in states.values())


def test_what_the_engine_asks_a_store_for_is_size_and_time(
    connection: duckdb.DuckDBPyConnection, root: Path
):
    found = files(connection, "SELECT 1")._asked(f"{root}/*.csv")
    assert found == {
        str(root / name): FileState(size=9, modified_ns=1_000_000_000)
        for name in ("a.csv", "b.csv")
    }


class Watched:
    """A look at one file, to which something happens meanwhile."""

    def __init__(self, root: Path, *happens: Callable[[Path], None]) -> None:
        self.looks = 0
        self._path = root / "a.csv"
        self._happens = happens

    def __call__(self) -> str:
        seen = self._path.read_text()
        happens = self._happens[min(self.looks, len(self._happens) - 1)]
        self.looks += 1
        happens(self._path)
        return seen


def nothing(path: Path) -> None:
    assert path.exists()


def rewrite(path: Path) -> None:
    with path.open("a") as file:
        file.write("3,4\n")
    os.utime(path, (1, 1))


def replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_text("id,v\n5,6\n")
    new.replace(path)
    os.utime(path, (1, 1))


def add(path: Path) -> None:
    write(path.parent, "d.csv", "id,v\n1,2\n")


def replace_and_fail(path: Path) -> None:
    replace(path)
    raise QueryError(PARQUET)


def fail(path: Path) -> None:
    assert path.exists()
    raise QueryError(PARQUET)


@pytest.mark.parametrize(
    "happens, looks, seen",
    [
        ([nothing], 1, "id,v\n1,2\n"),
        ([rewrite, nothing], 2, "id,v\n1,2\n3,4\n"),
        ([rewrite, rewrite, nothing], 3, "id,v\n1,2\n3,4\n3,4\n"),
        ([replace], 1, "id,v\n1,2\n"),  # the old one, or the new one: DuckDB reads either whole
        ([add], 1, "id,v\n1,2\n"),
        ([replace_and_fail, nothing], 2, "id,v\n5,6\n"),
    ],
)
def test_a_look_during_which_a_file_was_rewritten_is_forgotten(
    connection: duckdb.DuckDBPyConnection,
    root: Path,
    happens: list[Callable[[Path], None]],
    looks: int,
    seen: str,
):
    watched = Watched(root, *happens)
    found, _ = files(connection, "FROM '*.csv'").read_unchanged(Query(file="it", text=""), watched)
    assert (watched.looks, found) == (looks, seen)


@pytest.mark.parametrize("happens, said", [(rewrite, ""), (replace_and_fail, PARQUET)])
def test_a_file_that_changes_in_every_look_is_an_error_that_says_so(
    connection: duckdb.DuckDBPyConnection,
    root: Path,
    happens: Callable[[Path], None],
    said: str,
):
    watched = Watched(root, happens)
    query = Query(file="sql/it.sql", text="")
    pattern = rf"a\.csv' changed while the query read it, 3 times.*sql/it\.sql.*{said}.*rename"
    with pytest.raises(SourceError, match=pattern):
        files(connection, "FROM 'a.csv'").read_unchanged(query, watched)
    assert watched.looks == 3


def test_a_failure_is_none_of_the_files_if_they_stay(
    connection: duckdb.DuckDBPyConnection, root: Path
):
    watched = Watched(root, fail)
    with pytest.raises(QueryError, match=PARQUET):
        files(connection, "FROM 'a.csv'").read_unchanged(Query(file="it", text=""), watched)
    assert watched.looks == 1


class Writer(threading.Event):
    """What tells a look to stop, and writes the other half of a file while it is waited for."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.waits = 0
        self._path = path

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout
        self.waits += 1
        if self.waits == 1:
            with self._path.open("a") as file:
                file.write("3,4\n")
        elif self.waits == 2:
            os.utime(self._path, (1, 1))
        return False


def test_a_file_that_is_half_written_is_waited_for(
    connection: duckdb.DuckDBPyConnection, root: Path
):
    path = root / "a.csv"
    path.write_text("id,v\n1,2\n")
    writer = Writer(path)
    references = References(connection, "FROM 'a.csv'", in_database=False)
    found, _ = QueriedFiles(
        connection, references, {}, database="", cancelled=writer
    ).read_unchanged(Query(file="it", text=""), Watched(root, nothing))
    assert (writer.waits, found) == (2, "id,v\n1,2\n3,4\n")


def test_a_file_that_is_rewritten_during_a_query_is_read_again(root: Path):
    write(root, "a.csv", "v\n1\n")
    (root / "sql" / "it.sql").write_text(
        "SELECT (SELECT v FROM 'a.csv') AS v, sleep_ms(500) AS slept"
    )
    source = DuckDBSource(DuckDBData(query="it"), root)
    over = threading.Event()

    def rewrite_meanwhile() -> None:
        while source._connection is None and not over.wait(0.01):
            pass
        over.wait(0.05)
        (root / "a.csv").write_text("v\n2\n")

    writer = threading.Thread(target=rewrite_meanwhile)
    writer.start()
    seen = source.observe()
    over.set()
    writer.join()
    assert seen.value == {"v": 2, "slept": None}


def test_what_was_renamed_is_not_waited_for():
    now = 10**18
    written = FileState(size=1, modified_ns=now, changed_ns=now, inode=(1, 1))
    renamed = FileState(size=1, modified_ns=now, changed_ns=now + 1, inode=(1, 1))
    assert written.is_being_written(now + 10**7)
    assert not written.is_being_written(now + 10**9)
    assert not renamed.is_being_written(now + 10**7)


def test_waiting_ends_when_the_source_is_cancelled(root: Path):
    source = DuckDBSource(DuckDBData(query="it"), root)
    (root / "sql" / "it.sql").write_text("FROM 'a.csv'")
    stop = threading.Event()

    def write_on() -> None:
        while not stop.wait(0.01):
            with (root / "a.csv").open("a") as file:
                file.write("3,4\n")

    writer = threading.Thread(target=write_on)
    writer.start()
    threading.Timer(0.2, source.cancel).start()
    with pytest.raises(FlowprojectError, match="told to stop"):
        source.observe()
    stop.set()
    writer.join()


def test_the_newest_file_is_told():
    assert newest_file({}).data == {}
    states = {
        "a": FileState(size=1, modified_ns=2 * 10**9),
        "b": FileState(size=1, modified_ns=10**9),
    }
    assert newest_file(states).key == "a"
    assert newest_file(states).data == {"modified": "1970-01-01T00:00:02+00:00"}


@pytest.mark.parametrize(
    "text, said",
    [
        (
            "FROM read_csv('*.csv', columns = {'id': 'INT', 'v': 'INT'})",
            r"b\.csv', line 3: Error when converting column \"v\"\. Could not convert .*n/a",
        ),
        ("FROM 'not*.parquet'", r"not\.parquet"),
        ("FROM 'broken*.parquet'", r"\(in '.*broken2\.parquet'\)"),
        ("FROM read_parquet(['broken1.parquet', 'broken2.parquet'])", r"\(in '.*broken2\.parquet'"),
        (
            "SELECT v::INT AS v, INTERVAL 1 DAY AS i FROM read_csv('[ab].csv', all_varchar = true)",
            r"b\.csv",
        ),
        (
            "SELECT id, if(v = 'n/a', error('odd'), v) AS v FROM '[ab].csv'",
            r"odd \(in '.*b\.csv'\)",
        ),
        ("FROM 'columns*.csv'", r"Schema mismatch.*columns1\.csv.*columns2\.csv"),
        ("FROM 'half.csv.gz'", r"half\.csv\.gz"),
        ("FROM read_json('odd*.json')", r"odd2\.json.*line 1"),
    ],
)
def test_the_file_that_is_at_fault_is_named_and_the_reason(root: Path, text: str, said: str):
    write(root, "b.csv", "id,v\n1,2\n918273645,n/a\n")
    write(root, "columns1.csv", "a,b\n1,2\n")
    write(root, "columns2.csv", "a,c\n1,2\n")
    write(root, "odd1.json", '{"a": 1}')
    write(root, "odd2.json", '{"a": 1')
    write(root, "not.parquet", "not a file of Parquet")
    (root / "half.csv.gz").write_bytes(b"no stream of gzip")
    for name in ("broken1.parquet", "broken2.parquet"):
        duckdb.sql("SELECT 1 AS a").write_parquet(str(root / name))
    whole = (root / "broken2.parquet").read_bytes()
    (root / "broken2.parquet").write_bytes(whole[:-40] + b"\xff" * 30 + whole[-10:])
    with pytest.raises(FlowprojectError, match=said) as failure:
        look(root, text, row_limit=1000)
    assert "sql/it.sql" in str(failure.value)
    assert "918273645" not in str(failure.value)
    assert str(failure.value).isprintable() or "\n    " in str(failure.value)


def test_a_secret_in_a_file_that_fails_is_masked(root: Path):
    write(root, "b.csv", "v\n1\npassword=hunter2-of-all\n")
    with pytest.raises(QueryError, match=r"b\.csv', line 3") as failure:
        look(root, "FROM read_csv('b.csv', columns = {'v': 'INT'}, header = true)")
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda whole: whole[: len(whole) // 2], id="cut in the middle"),
        pytest.param(lambda whole: whole[:6], id="cut short"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda whole: whole[:-40] + b"\xff" * 32 + whole[-8:], id="another footer"),
        pytest.param(lambda whole: whole[:-8] + bytes([255] * 4) + whole[-4:], id="its length"),
        pytest.param(lambda whole: whole[:40] + bytes(400) + whole[440:], id="a page"),
    ],
)
def test_a_damaged_file_is_the_sources_fault_however_it_is_damaged(
    root: Path, damage: Callable[[bytes], bytes]
):
    file = root / "it.parquet"
    duckdb.sql("SELECT range AS id, 'x' || range AS v FROM range(500)").write_parquet(str(file))
    file.write_bytes(damage(file.read_bytes()))
    os.utime(file, (1, 1))
    with pytest.raises(SourceError, match=r"it\.parquet.*Put the whole file there"):
        look(root, "SELECT * FROM 'it.parquet'")


def test_a_file_that_is_not_there_is_to_be_put_there(root: Path):
    with pytest.raises(SourceError, match=r'No files found.*"in/\*\.parquet".*correct its name'):
        look(root, "SELECT * FROM 'in/*.parquet'")


@pytest.mark.parametrize(
    "name, text", [("it.json", '{"a":1}\n{"a":\n'), ("it.csv", "a,b\n1,\x00\n" * 3)]
)
def test_so_is_one_of_another_kind(root: Path, name: str, text: str):
    content = text.replace("\x00", "\xff\xfe").encode("latin-1")
    (root / name).write_bytes(content)
    os.utime(root / name, (1, 1))
    with pytest.raises(SourceError, match=re.escape(name)):
        look(root, f"SELECT * FROM '{name}'")  # noqa: S608  # a name of ours


def test_a_value_that_the_query_can_not_take_is_the_querys_fault(root: Path):
    write(root, "it.csv", "id,v\n1,x\n")
    with pytest.raises(QueryError, match="Could not convert"):
        look(root, "SELECT v::INTEGER AS v FROM 'it.csv'")
    with pytest.raises(QueryError, match='a file "of theirs"'):
        look(root, "SELECT error('a file \"of theirs\"')")


@pytest.mark.parametrize("more", ["", ", auto_detect = false, header = true"])
def test_a_type_that_the_query_gives_is_not_called_detected(root: Path, more: str):
    write(root, "it.csv", "id,v\n" + "1,2\n" * 30_000 + "2,n/a\n")
    columns = "columns = {'id': 'BIGINT', 'v': 'BIGINT'}"
    with pytest.raises(QueryError, match="`columns` in the query gives this type") as failed:
        look(root, f"SELECT * FROM read_csv('it.csv', {columns}{more})")  # noqa: S608  # the same
    assert "auto-detected" not in str(failed.value)
    with pytest.raises(QueryError, match="auto-detected from the CSV file"):
        look(root, "SELECT * FROM 'it.csv'")
