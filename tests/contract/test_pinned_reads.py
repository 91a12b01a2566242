"""What a run reads with `at=self.change` is what its sensor saw, whatever was written since.

The emulated Snowflake travels in time to copies of tables that a test kept.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import duckdb
import pytest

from flowproject import sensing
from flowproject.change import Change, ChangedItem, change_asked_of
from flowproject.changes.payload import decode, payload
from flowproject.config import (
    DuckDBData,
    FilesData,
    Project,
    S3Data,
    Schedule,
    Sensor,
    SnowflakeData,
)
from flowproject.errors import JournalError, QueryError, SourceError
from flowproject.journal import Journal, open_store
from flowproject.sensing import ProjectContext
from flowproject.sources import open_source, read_item
from flowproject.sources.duckdb import reading
from tests.observations import remembered, table
from tests.servers import Moto
from tests.snow import Snow

pytestmark = pytest.mark.usefixtures("aws")

EDIT: Final = "UPDATE stock SET n = n + 100"
ORDERS: Final = "SELECT id, n FROM stock"


class Shop:
    """A table of three rows, a sensor on it, and the changes that it saw."""

    def __init__(self, root: Path, data: Any, run: Callable[..., object]) -> None:
        self.root, self.run = root, run
        (root / "sql").mkdir(exist_ok=True)
        self.write("stock", ORDERS)
        self.write("much", "SELECT count(*) AS much FROM (SELECT * FROM stock) s WHERE n > :least")
        run("CREATE TABLE stock (id INT, n INT)", "INSERT INTO stock VALUES (1, 5), (2, 7), (3, 0)")
        self.sensors = {"stock": Sensor(name="stock", data=data, event_name="stock_changed")}
        self.store = open_store(str(root / "store"))
        self.context = ProjectContext(
            project=Project(project_name="p", sensor=Schedule(), sensors=self.sensors),
            root=root,
            store=self.store,
            branch="user.me",
        )
        sensing.observe(self.context)

    def write(self, name: str, text: str) -> None:
        (self.root / "sql" / f"{name}.sql").write_text(text)

    def change(self) -> Change:
        """Write a row more, and see it."""
        self.run("INSERT INTO stock VALUES (4, 9)")
        [tick] = sensing.observe(self.context)
        assert tick.outcome == "changed"
        return self.told()

    def told(self) -> Change:
        """The newest change, as its event tells it each time that it is sent."""
        journal = Journal(self.store, project="p", branch="user.me", sensor="stock")
        entry = journal.head().entry
        assert entry is not None
        message: Any = payload(entry, payload_key="value", location=journal.entry_key(entry.seq))
        told: Any = decode(message["change"])
        return Change(told, lambda: self.store, lambda: (self.sensors["stock"].data, self.root))

    def asked(self, change: Change, name: str = "stock", **parameters: object) -> Any:
        return change.as_it_was().query(name, parameters)


@pytest.fixture
def duck(tmp_path: Path) -> Callable[..., Shop]:
    def run(*statements: str) -> None:
        with duckdb.connect(tmp_path / "shop.duckdb") as connection:
            for statement in statements:
                connection.execute(statement)

    def made(**keys: Any) -> Shop:
        return Shop(tmp_path, DuckDBData(query="stock", database="shop.duckdb", **keys), run)

    return made


@pytest.fixture
def snowy(tmp_path: Path, snow: Snow) -> Shop:
    database = snow.database()
    data = SnowflakeData(query="stock", key=("id",), database=database, schema="PUBLIC")
    return Shop(tmp_path, data, lambda *statements: snow.run(database, *statements))


def rows(*numbers: int) -> list[dict[str, int]]:
    return [{"id": at, "n": number} for at, number in enumerate(numbers, start=1)]


def test_where_no_versions_are_kept_a_replay_reads_the_rows_of_the_journal(
    duck: Callable[..., Shop],
):
    shop = duck(key=("id",))
    change = shop.change()
    first = shop.asked(change)
    shop.run(EDIT, "DELETE FROM stock WHERE id = 1")
    assert shop.asked(shop.told()) == first == rows(5, 7, 0, 9)
    arrow = shop.told().as_it_was().query_arrow("stock", {})
    assert arrow.to_pylist() == first
    assert [str(kind) for kind in arrow.schema.types] == ["int32", "int32"]
    assert shop.told().snapshot == first


def test_rows_that_are_known_as_a_whole_are_not_made_up(duck: Callable[..., Shop]):
    shop = duck()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reading, "UNKEYED_LIMIT", 3)
        change = shop.change()
    assert change.value.keys() == {"rows", "version"}
    with pytest.raises(JournalError, match=r"no rows of this change.*key = "):
        list(change.snapshot)
    with pytest.raises(JournalError, match=r"no rows of this change"):
        shop.asked(change)


@pytest.mark.parametrize(
    "text, seen",
    [
        (f"{ORDERS} ORDER BY id DESC", rows(5, 7, 0, 9)),
        ("SELECT sum(n) AS total FROM stock", [{"total": 21}]),
        ("SELECT min(n) AS least, max(n) AS most FROM stock", [{"least": 0, "most": 9}]),
    ],
)
def test_a_result_without_a_key_is_read_from_the_journal_as_well(
    duck: Callable[..., Shop], text: str, seen: list[Any]
):
    shop = duck()
    shop.write("stock", text)
    sensing.observe(shop.context)
    change = shop.change()
    shop.run(EDIT)
    assert shop.asked(change) == seen


def test_of_another_query_the_journal_has_no_rows_and_the_error_says_what_it_has(
    duck: Callable[..., Shop],
):
    shop = duck(key=("id",))
    change = shop.change()
    for name, parameters in (("much", {"least": 1}), ("stock", {"least": 1})):
        with pytest.raises(QueryError, match=r"self\.query\('stock', at=self\.change\)"):
            shop.asked(change, name, **parameters)


def test_rows_that_the_journal_has_no_more_are_an_error(duck: Callable[..., Shop]):
    shop = duck(key=("id",))
    change = shop.change()
    for key in shop.store.keys("flowproject"):
        shop.store.delete(key)
    with pytest.raises(JournalError, match="not in the journal any more"):
        shop.asked(change)


def test_on_snowflake_a_replay_reads_every_table_as_the_statement_of_the_sensor_saw_it(
    snowy: Shop, snow: Snow
):
    change = snowy.change()
    statement = str(change.version["statement"])
    snowy.run("CREATE TABLE stock_then AS SELECT * FROM stock")
    snow.versions[statement] = {"STOCK": "stock_then"}
    first = snowy.asked(change, "much", least=1)
    snowy.run(EDIT, "DELETE FROM stock WHERE id = 1")
    assert snowy.asked(snowy.told(), "much", least=1) == first == [{"much": 3}]
    assert f"FROM stock AT(STATEMENT => '{statement}')) s WHERE n > ?" in snow.asked[-1].sql
    assert sorted(snowy.asked(change), key=lambda row: row["id"]) == rows(5, 7, 0, 9)
    assert change.snapshot == rows(5, 7, 0, 9)


def test_a_version_that_snowflake_keeps_no_more_is_an_error_with_a_way_out(snowy: Shop):
    change = snowy.change()
    with pytest.raises(SourceError, match=r"not found.*`self\.change\.snapshot`"):
        snowy.asked(change)
    assert change.snapshot == rows(5, 7, 0, 9)


def test_a_change_that_an_older_version_recorded_is_read_from_the_journal(snowy: Shop):
    change = snowy.change()
    del change._event["version"]  # type: ignore[attr-defined]
    snowy.run(EDIT)
    assert snowy.asked(change) == rows(5, 7, 0, 9)


def test_what_came_with_an_event_is_no_sql(snowy: Shop):
    change = snowy.change()
    change._event["version"] = {"statement": "x') --"}  # type: ignore[index]
    with pytest.raises(SourceError, match="No statement is known"):
        snowy.asked(change)


def test_an_object_is_read_by_its_version(moto: Moto) -> None:
    client, bucket = moto.client(), moto.bucket(versioned=True)
    data = S3Data(bucket=bucket, key="raw", endpoint_url=moto.endpoint_url)
    client.put_object(Bucket=bucket, Key="raw/a", Body=b"before")
    first = open_source(data, Path()).observe()
    client.put_object(Bucket=bucket, Key="raw/a", Body=b"seen")
    seen = open_source(data, Path()).observe(remembered(first))
    assert seen.difference is not None
    [(_, new)] = seen.difference.modified
    client.put_object(Bucket=bucket, Key="raw/a", Body=b"later")
    assert read_item(data, Path(), new.data) == b"seen"
    client.delete_object(Bucket=bucket, Key="raw/a")
    assert read_item(data, Path(), new.data) == b"seen"
    client.delete_object(Bucket=bucket, Key="raw/a", VersionId=str(new.data["version_id"]))
    with pytest.raises(SourceError, match=r"not there as it was seen.*`self\.change\.snapshot`"):
        read_item(data, Path(), new.data)


def test_an_object_of_a_bucket_without_versions_is_read_if_it_is_still_that_one(
    moto: Moto,
) -> None:
    client, bucket = moto.client(), moto.bucket()
    data = S3Data(bucket=bucket, key="raw", endpoint_url=moto.endpoint_url)
    client.put_object(Bucket=bucket, Key="raw/a", Body=b"seen")
    [item] = table(open_source(data, Path()).observe()).values()
    assert read_item(data, Path(), item.data) == b"seen"
    client.put_object(Bucket=bucket, Key="raw/a", Body=b"later")
    with pytest.raises(SourceError, match="PreconditionFailed"):
        read_item(data, Path(), item.data)


def test_a_file_is_read_if_it_is_still_that_one(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    file, data = tmp_path / "data" / "a", FilesData(path="data")
    file.write_text("seen")
    [item] = table(open_source(data, tmp_path).observe()).values()
    changed = ChangedItem({"key": "a", "old": {}, "new": item.data}, lambda: (data, tmp_path))
    assert ChangedItem(item.data, lambda: (data, tmp_path)).read() == changed.read() == b"seen"
    file.write_text("later")
    with pytest.raises(SourceError, match="not the one any more"):
        changed.read()
    file.unlink()
    with pytest.raises(SourceError, match="can't be read any more"):
        changed.read()


def test_a_row_has_nothing_to_read(duck: Callable[..., Shop]) -> None:
    with pytest.raises(SourceError, match="a row has no path"):
        duck(key=("id",)).change().added[0].read()


def test_a_change_at_which_a_flow_asks_is_no_parameter_of_the_query(
    duck: Callable[..., Shop],
) -> None:
    change = duck(key=("id",)).change()
    asked: dict[str, object] = {"at": change, "least": 1}
    assert (change_asked_of(asked), asked) == (change, {"least": 1})
    asked = {"at": "noon"}
    assert (change_asked_of(asked), asked) == (None, {"at": "noon"})
