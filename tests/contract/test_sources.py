"""Every source keeps the same promises. A new one is a `Place` and its line in `PLACES`."""

import csv
import datetime as dt
import itertools
import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Protocol

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.table import TableMerger
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import EqualTo
from pyiceberg.table import Table

from flowproject.changes.difference import Difference, diff
from flowproject.changes.observation import Observation
from flowproject.config.data import (
    Data,
    DeltaData,
    DuckDBData,
    FilesData,
    IcebergData,
    PostgresData,
    S3Data,
    SnowflakeData,
)
from flowproject.errors import SourceError
from flowproject.sources import Source, open_source
from tests.observations import remembered, table
from tests.postgres import READER_PASSWORD, Postgres, is_installed, programs
from tests.proxy import HANG, Answer, Asked, Plan, Proxy, failure, proxied
from tests.servers import Moto
from tests.snow import Snow

NOBODY = 65534
SECONDS = 60.0
ENDLESS = "SELECT count(*) FROM range(1000000000000) AS t(n) WHERE n % 7 = 3"
ODD_KEYS = ["plain", "with space", "é", "日本", 'quo"te', "it's", "a,b", "50%", "*", "[a]", "\\x41"]


class Place(Protocol):
    """Where a source's data lies, and what can happen to it there."""

    data: Data
    queryable: ClassVar[bool]

    def __init__(self, root: Path) -> None: ...

    def put(self, key: str, content: str) -> None:
        """Add an item, or replace its content by other content of the same size."""

    def delete(self, key: str) -> None:
        """Take an item away."""

    def reorder(self) -> None:
        """Store the same items in another order."""

    def lose(self) -> None:
        """Take away everything, as if it had never been there."""

    def lock(self) -> None:
        """Leave the data where it is, readable for nobody but root."""

    def never_end(self) -> None:
        """Change what is watched to something that takes for ever."""


class FilesPlace:
    """A folder: an item is a file."""

    data = FilesData(path="incoming")
    queryable: ClassVar[bool] = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "incoming"
        self.folder.mkdir()
        self._moments: dict[str, int] = {}

    def put(self, key: str, content: str) -> None:
        path = self.folder / key
        path.write_text(content)
        # One content has one time, so that what came before can come back as it was.
        moment = self._moments.setdefault(content, (len(self._moments) + 1) * 1_000_000_000)
        os.utime(path, ns=(moment, moment))

    def delete(self, key: str) -> None:
        (self.folder / key).unlink()

    def reorder(self) -> None:
        aside = self.root / "aside"
        self.folder.rename(aside)
        self.folder.mkdir()
        for path in sorted(aside.iterdir(), reverse=True):
            shutil.copy2(path, self.folder)

    def lose(self) -> None:
        shutil.rmtree(self.folder)

    def lock(self) -> None:
        self.folder.chmod(0)

    def never_end(self) -> None:
        # Twenty folders, each with links to all the others: more paths than atoms in the world.
        names = [f"d{number}" for number in range(20)]
        for name in names:
            (self.folder / name).mkdir()
            for other in names:
                (self.folder / name / other).symlink_to(self.folder / other)


class CsvPlace:
    """A CSV file that DuckDB reads in place: an item is a row."""

    data: Data = DuckDBData(query="watched", key=("id",))
    queryable: ClassVar[bool] = True
    sql: ClassVar[str] = (
        "SELECT id, content FROM read_csv('it.csv', header = true, all_varchar = true)"
    )

    def __init__(self, root: Path) -> None:
        self.root = root
        self._rows: dict[str, str] = {}
        (root / "sql").mkdir()
        self._write_query(self.sql)
        self._store()

    def put(self, key: str, content: str) -> None:
        self._rows[key] = content
        self._store()

    def delete(self, key: str) -> None:
        del self._rows[key]
        self._store()

    def reorder(self) -> None:
        self._rows = dict(reversed(self._rows.items()))
        self._store()

    def lose(self) -> None:
        (self.root / "it.csv").unlink()

    def lock(self) -> None:
        (self.root / "it.csv").chmod(0)

    def never_end(self) -> None:
        self._write_query(ENDLESS)

    def _write_query(self, sql: str) -> None:
        (self.root / "sql" / "watched.sql").write_text(sql)

    def _store(self) -> None:
        with (self.root / "it.csv").open("w", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)
            writer.writerows([("id", "content"), *self._rows.items()])
        os.utime(file.name, (1, 1))  # what was written just now is waited for


class DatabasePlace(CsvPlace):
    """A DuckDB database file: an item is a row."""

    data: Data = DuckDBData(query="watched", key=("id",), database="it.duckdb")
    sql: ClassVar[str] = "FROM it"

    def lose(self) -> None:
        (self.root / "it.duckdb").unlink()

    def lock(self) -> None:
        (self.root / "it.duckdb").chmod(0)

    def _store(self) -> None:
        with duckdb.connect(self.root / "it.duckdb") as connection:
            connection.execute("CREATE OR REPLACE TABLE it (id VARCHAR, content VARCHAR)")
            for row in self._rows.items():
                connection.execute("INSERT INTO it VALUES (?, ?)", row)


class S3Place:
    """A bucket of moto's, asked through a proxy: an item is an object."""

    queryable: ClassVar[bool] = False
    moto: ClassVar[Moto]
    proxy: ClassVar[Proxy]
    plans: ClassVar[dict[str, Plan]] = {}
    numbers: ClassVar[Iterator[int]] = itertools.count(1)

    def __init__(self, root: Path) -> None:
        assert root.is_dir()
        self.bucket = f"incoming-{next(self.numbers)}"
        self.data: Data = S3Data(bucket=self.bucket, endpoint_url=self.proxy.endpoint_url)
        self._client = self.moto.client()
        self._client.create_bucket(Bucket=self.bucket)
        self._moments: dict[str, dt.datetime] = {}

    @classmethod
    def plan(cls, asked: Asked, forward: Callable[[], Answer]) -> Answer:
        """What the proxy does: one serves all buckets, so each has its own plan."""
        bucket = asked.target.lstrip("/").partition("?")[0].partition("/")[0]
        return cls.plans[bucket](asked, forward) if bucket in cls.plans else forward()

    def put(self, key: str, content: str) -> None:
        self._client.put_object(Bucket=self.bucket, Key=key, Body=content.encode())
        # One content has one time, so that what came before can come back as it was.
        moment = dt.datetime(2026, 1, 1 + len(self._moments))  # noqa: DTZ001  # moto's are like this
        self.moto.date(self.bucket, key, self._moments.setdefault(content, moment))

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self.bucket, Key=key)

    def reorder(self) -> None:
        self.plans[self.bucket] = lambda _, forward: _backwards(forward())

    def lose(self) -> None:
        for entry in self._client.list_objects_v2(Bucket=self.bucket).get("Contents", []):
            self.delete(entry["Key"])
        self._client.delete_bucket(Bucket=self.bucket)

    def lock(self) -> None:
        denied = failure(403, "AccessDenied", "Access Denied")
        self.plans[self.bucket] = lambda _, __: denied

    def never_end(self) -> None:
        self.plans[self.bucket] = lambda _, __: HANG


def _backwards(answer: Answer) -> Answer:
    """The same page of a listing, its last row first."""
    rows = re.findall(rb"<Contents>.*?</Contents>", answer.body, re.DOTALL)
    before, _, rest = answer.body.partition(b"<Contents>")
    after = rest.rpartition(b"</Contents>")[2]
    return answer.with_body(before + b"".join(reversed(rows)) + after) if rows else answer


class TablePlace:
    """A table in Snowflake: an item is a row."""

    queryable: ClassVar[bool] = True
    snow: ClassVar[Snow]

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = self.snow.database()
        self.data: Data = SnowflakeData(
            query="watched", key=("id",), database=self.database, schema="PUBLIC"
        )
        (root / "sql").mkdir()
        self._write_query("SELECT id, content FROM it")
        self._run("CREATE TABLE it (id VARCHAR, content VARCHAR)")

    def put(self, key: str, content: str) -> None:
        self.delete(key)
        self._run(f"INSERT INTO it VALUES ($${key}$$, $${content}$$)")  # noqa: S608  # the tests' own

    def delete(self, key: str) -> None:
        self._run(f"DELETE FROM it WHERE id = $${key}$$")  # noqa: S608  # the tests' own

    def reorder(self) -> None:
        self._run("CREATE OR REPLACE TABLE it AS SELECT * FROM it ORDER BY id DESC")

    def lose(self) -> None:
        self._run("DROP TABLE it")

    def lock(self) -> None:
        self.snow.locked.add(self.database)

    def never_end(self) -> None:
        self._write_query(
            "SELECT COUNT(*) FROM TABLE(GENERATOR(ROWCOUNT => 1000000000000)) WHERE SEQ8() % 7 = 3"
        )

    def _write_query(self, sql: str) -> None:
        (self.root / "sql" / "watched.sql").write_text(sql)

    def _run(self, statement: str) -> None:
        self.snow.run(self.database, statement)


class DeltaPlace:
    """A Delta table in a folder: an item is a row."""

    queryable: ClassVar[bool] = True
    schema: ClassVar[pa.Schema] = pa.schema({"id": pa.string(), "content": pa.string()})

    def __init__(self, root: Path) -> None:
        self.folder = root / "incoming"
        (root / "sql").mkdir()
        (root / "sql" / "watched.sql").write_text("FROM incoming")
        self.data: Data = DeltaData(table="incoming", key=("id",))
        DeltaTable.create(str(self.folder), self.schema)

    def put(self, key: str, content: str) -> None:
        merge = self._merge(key, content).when_matched_update_all()
        merge.when_not_matched_insert_all().execute()

    def delete(self, key: str) -> None:
        self._merge(key, "").when_matched_delete().execute()

    def reorder(self) -> None:
        rows = DeltaTable(self.folder).to_pyarrow_table()
        backwards = rows.take([*range(len(rows))][::-1])
        write_deltalake(str(self.folder), backwards, mode="overwrite")

    def lose(self) -> None:
        shutil.rmtree(self.folder)

    def lock(self) -> None:
        (self.folder / "_delta_log").chmod(0)

    def never_end(self) -> None:
        bucket = f"incoming-{next(S3Place.numbers)}"
        S3Place.plans[bucket] = lambda _, __: HANG
        self.data = DeltaData(table=f"s3://{bucket}/t", endpoint_url=S3Place.proxy.endpoint_url)

    def _merge(self, key: str, content: str) -> TableMerger:
        row = pa.table({"id": [key], "content": [content]}, self.schema)
        table = DeltaTable(self.folder)
        return table.merge(row, "t.id = s.id", source_alias="s", target_alias="t")


class IcebergPlace:
    """An Iceberg table of a catalog in a file: an item is a row."""

    queryable: ClassVar[bool] = True

    def __init__(self, root: Path) -> None:
        settings = {"type": "sql", "uri": f"sqlite:///{root}/c.db", "warehouse": f"file://{root}/w"}
        name = f"place{next(S3Place.numbers)}"
        for word, value in settings.items():
            os.environ[f"PYICEBERG_CATALOG__{name.upper()}__{word.upper()}"] = value
        self.root = root
        (root / "sql").mkdir()
        (root / "sql" / "watched.sql").write_text("FROM incoming")
        self.data: Data = IcebergData(table="db.incoming", catalog=name, key=("id",))
        self._catalog = load_catalog(name, **settings)
        self._catalog.create_namespace("db")
        self._catalog.create_table("db.incoming", DeltaPlace.schema)

    def put(self, key: str, content: str) -> None:
        row = pa.table({"id": [key], "content": [content]}, DeltaPlace.schema)
        self._table.upsert(row, join_cols=["id"])

    def delete(self, key: str) -> None:
        self._table.delete(EqualTo("id", key))

    def reorder(self) -> None:
        rows = self._table.scan().to_arrow()
        self._table.overwrite(rows.take([*range(len(rows))][::-1]))

    def lose(self) -> None:
        self._catalog.drop_table("db.incoming")

    def lock(self) -> None:
        (self.root / "w" / "db" / "incoming" / "metadata").chmod(0)

    def never_end(self) -> None:
        bucket = f"incoming-{next(S3Place.numbers)}"
        S3Place.plans[bucket] = lambda _, __: HANG
        endpoint = S3Place.proxy.endpoint_url
        self.data = IcebergData(table=f"s3://{bucket}/t.metadata.json", endpoint_url=endpoint)

    @property
    def _table(self) -> Table:
        return self._catalog.load_table("db.incoming")


class PostgresPlace:
    """A table in PostgreSQL, read by somebody who is not its owner: an item is a row."""

    queryable: ClassVar[bool] = True
    postgres: ClassVar[Postgres]

    def __init__(self, root: Path) -> None:
        programs()
        self.root = root
        self.schema = self.postgres.schema()
        self.data: Data = PostgresData(
            query="watched",
            key=("id",),
            schema=self.schema,
            url=self.postgres.url.replace("postgres@", "reader@"),
        )
        (root / "sql").mkdir()
        self._write_query("SELECT id, content FROM it")
        self._run("CREATE TABLE it (id text, content text)", "GRANT SELECT ON it TO reader")

    def put(self, key: str, content: str) -> None:
        self.delete(key)
        self._run(f"INSERT INTO it VALUES ($k${key}$k$, $k${content}$k$)")  # noqa: S608  # the tests' own

    def delete(self, key: str) -> None:
        self._run(f"DELETE FROM it WHERE id = $k${key}$k$")  # noqa: S608  # the tests' own

    def reorder(self) -> None:
        self._run(
            "CREATE TABLE other AS SELECT * FROM it ORDER BY id DESC",
            "TRUNCATE it",
            "INSERT INTO it SELECT * FROM other",
        )

    def lose(self) -> None:
        self._run("DROP TABLE it")

    def lock(self) -> None:
        self._run("REVOKE SELECT ON it FROM reader")

    def never_end(self) -> None:
        self._write_query(
            "SELECT count(*) AS id FROM generate_series(1, 1000000000000) AS t(n) WHERE n % 7 = 3"
        )

    def _write_query(self, sql: str) -> None:
        (self.root / "sql" / "watched.sql").write_text(sql)

    def _run(self, *statements: str) -> None:
        self.postgres.run(*statements, schema=self.schema)


PLACES: dict[str, type[Place]] = {
    "files": FilesPlace,
    "duckdb-csv": CsvPlace,
    "duckdb-database": DatabasePlace,
    "s3": S3Place,
    "snowflake": TablePlace,
    "delta": DeltaPlace,
    "iceberg": IcebergPlace,
    "postgres": PostgresPlace,
}
SERVED = ("s3", "snowflake", "postgres", "delta", "iceberg")
LOST = r"incoming|it\.csv|it\.duckdb|\b(IT|it)\b"


@pytest.fixture(scope="module", autouse=True)
def _servers(request: pytest.FixtureRequest, moto: Moto, snow_settings: Snow) -> Iterator[None]:
    S3Place.moto = moto
    TablePlace.snow = snow_settings
    if is_installed():
        PostgresPlace.postgres = request.getfixturevalue("postgres")
        request.getfixturevalue("postgres_settings")
        os.environ["PGPASSWORD"] = READER_PASSWORD  # of who is not its owner
    with proxied(moto.endpoint_url) as S3Place.proxy:
        S3Place.proxy.plan = S3Place.plan
        yield


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that every user can reach; pytest's own can be read by its owner alone."""
    path = Path(tempfile.mkdtemp(prefix="sources-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def root() -> Iterator[Path]:
    with folder() as path:
        yield path


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, root: Path) -> Place:
    return PLACES[request.param](root)


@pytest.fixture
def source(place: Place, root: Path) -> Source:
    return open_source(place.data, root)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything; whoever runs the tests as another has none."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def seen_at(place: Place, root: Path) -> Observation:
    return open_source(place.data, root).observe()


def between(before: Observation, after: Observation) -> Difference:
    return diff(table(before), table(after))


def test_what_stays_the_same_has_the_same_fingerprint(place: Place, root: Path):
    place.put("a", "1")
    place.put("b", "2")
    one, other = seen_at(place, root), seen_at(place, root)
    assert (one.value, one.fingerprint) == (other.value, other.fingerprint)
    assert table(one) == table(other)
    assert one.value == len(one.items or ()) == 2


def test_one_source_can_look_twice(place: Place, source: Source):
    before = source.observe()
    place.put("a", "1")
    assert between(before, source.observe()).counts == {"added": 1, "modified": 0, "removed": 0}


def test_added_modified_and_removed_items_are_seen_exactly(place: Place, root: Path):
    for key in ("stays", "changes", "goes"):
        place.put(key, "1")
    before = seen_at(place, root)
    place.put("comes", "1")
    place.put("changes", "2")
    place.delete("goes")
    after = seen_at(place, root)
    difference = between(before, after)
    assert [item.key for item in difference.added] == ["comes"]
    assert [item.key for _, item in difference.modified] == ["changes"]
    assert [item.key for item in difference.removed] == ["goes"]
    assert before.fingerprint != after.fingerprint


def test_what_a_source_says_itself_of_the_difference_is_the_difference(place: Place, root: Path):
    for key in ("stays", "changes", "goes"):
        place.put(key, "1")
    before = seen_at(place, root)
    place.put("comes", "1")
    place.put("changes", "2")
    place.delete("goes")
    source = open_source(place.data, root)
    after = source.observe(remembered(before))
    expected = diff(table(before), table(after))
    assert expected.counts == {"added": 1, "modified": 1, "removed": 1}
    assert (after.difference or expected).first(99) == expected
    assert after.fingerprint == seen_at(place, root).fingerprint


def test_what_stays_the_same_is_no_difference(place: Place, root: Path):
    place.put("a", "1")
    before = seen_at(place, root)
    after = open_source(place.data, root).observe(remembered(before))
    assert after.fingerprint == before.fingerprint
    assert (after.difference or Difference()).counts == {"added": 0, "modified": 0, "removed": 0}


def test_the_order_in_which_items_are_stored_is_no_change(place: Place, root: Path):
    for number in range(5):
        place.put(f"key{number}", str(number))
    before = seen_at(place, root)
    place.reorder()
    after = seen_at(place, root)
    assert (before.fingerprint, table(before)) == (after.fingerprint, table(after))


def test_there_and_back_is_the_same_state_again(place: Place, root: Path):
    place.put("a", "1")
    first = seen_at(place, root)
    place.put("a", "2")
    second = seen_at(place, root)
    place.put("a", "1")
    third = seen_at(place, root)
    assert first.fingerprint == third.fingerprint != second.fingerprint


TABLES = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.sampled_from("123"), max_size=4),
    max_size=3,
)


@pytest.mark.parametrize("name", [name for name in PLACES if name not in SERVED])
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables=TABLES)
def test_whatever_happens_to_the_items_the_difference_says_it(
    name: str, tables: list[dict[str, str]]
):
    check_differences(name, tables)


@pytest.mark.parametrize(
    "name",
    # Its writers take long, and stories of it are played in test_versioned_stories.py.
    [*SERVED[:-1], pytest.param(SERVED[-1], marks=pytest.mark.thorough)],
)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables=TABLES)
def test_whatever_happens_on_a_server_the_difference_says_it(
    name: str, tables: list[dict[str, str]]
):
    check_differences(name, tables)


def check_differences(name: str, tables: list[dict[str, str]]):
    """Make a place look like one table after the other, and compare what is seen with that."""
    with folder() as root:
        place = PLACES[name](root)
        old: dict[str, str] = {}
        before = seen_at(place, root)
        for new in tables:
            for key in old.keys() - new.keys():
                place.delete(key)
            for key in new:
                place.put(key, new[key])
            after = seen_at(place, root)
            difference = between(before, after)
            modified = {key for key in old.keys() & new.keys() if old[key] != new[key]}
            assert {item.key for item in difference.added} == new.keys() - old.keys()
            assert {item.key for item in difference.removed} == old.keys() - new.keys()
            assert {item.key for _, item in difference.modified} == modified
            assert (before.fingerprint == after.fingerprint) == (old == new)
            old, before = new, after


def test_odd_keys_are_kept_apart_and_as_they_are(place: Place, root: Path):
    for key in ODD_KEYS:
        place.put(key, "1")
    seen = seen_at(place, root)
    assert table(seen).keys() == set(ODD_KEYS)
    assert all(key in (seen.items or ()) for key in ODD_KEYS)
    assert "odd" not in (seen.items or ())


def test_an_observation_is_json(place: Place, root: Path):
    for key in ODD_KEYS:
        place.put(key, "1")
    seen = seen_at(place, root)
    written = {
        "value": seen.value,
        "items": {key: item.data for key, item in table(seen).items()},
        "cost": seen.cost.to_json(),
    }
    assert json.loads(json.dumps(written)) == written
    assert seen.cost.rows == len(ODD_KEYS)


def test_an_empty_place_is_a_state_like_any_other(place: Place, root: Path):
    empty = seen_at(place, root)
    assert (empty.value, table(empty)) == (0, {})
    assert empty.items is not None
    place.put("a", "1")
    place.delete("a")
    assert seen_at(place, root).fingerprint == empty.fingerprint


def test_paths_start_at_the_project_wherever_the_process_is(
    place: Place, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place.put("a", "1")
    here = seen_at(place, root)
    monkeypatch.chdir(tmp_path)
    assert seen_at(place, root).fingerprint == here.fingerprint
    assert not list(tmp_path.iterdir())


def test_many_looks_at_once_see_the_same(place: Place, root: Path):
    place.put("a", "1")
    expected = seen_at(place, root).fingerprint
    with ThreadPoolExecutor(8) as pool:
        looks = [pool.submit(seen_at, place, root) for _ in range(24)]
    assert {look.result().fingerprint for look in looks} == {expected}


def test_what_is_not_there_is_an_error_that_names_it(place: Place, root: Path):
    place.lose()
    with pytest.raises(SourceError, match=LOST):
        seen_at(place, root)


def test_what_can_not_be_read_is_an_error_that_names_it(place: Place, root: Path):
    place.put("a", "1")
    seen_at(place, root)  # whatever is imported late is imported now, with the right to do so
    place.lock()
    with as_nobody(), pytest.raises(SourceError, match=LOST):
        seen_at(place, root)


def test_a_source_that_was_cancelled_does_not_begin(source: Source):
    source.cancel()
    with pytest.raises(SourceError, match="told to stop"):
        source.observe()


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.3])
def test_a_look_that_never_ends_is_stopped_by_cancelling(place: Place, root: Path, delay: float):
    place.never_end()
    data = place.data
    if isinstance(data, DuckDBData):
        data = DuckDBData(query=data.query, database=data.database)
    source = open_source(data, root)
    errors: list[Exception] = []

    def look() -> None:
        try:
            source.observe()
        except SourceError as error:
            errors.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(delay)
    assert thread.is_alive()
    started = time.monotonic()
    source.cancel()
    thread.join(SECONDS)
    assert not thread.is_alive()
    assert time.monotonic() - started < SECONDS
    assert "told to stop" in str(errors[0])


def test_a_query_returns_rows_or_an_error_that_says_who_can(place: Place, root: Path):
    place.put("a", "1")
    source = open_source(place.data, root)
    if place.queryable:
        assert source.query("watched", {}) == [{"id": "a", "content": "1"}]
    else:
        kind = place.data.type
        with pytest.raises(SourceError, match=rf"type '{kind}' can't run queries.*duckdb"):
            source.query("watched", {})
