"""`check --connect` asks an emulated Snowflake twice, and not for what it remembers."""

from pathlib import Path

import pytest

from flowproject.changes.observation import Observation
from flowproject.config import Sensor, SnowflakeData
from flowproject.errors import QueryError
from flowproject.sensing.look import look_again
from flowproject.sources import Source, open_source
from tests.snow import Snow


def asked(root: Path, snow: Snow, text: str) -> tuple[Source, Sensor, Observation]:
    (root / "sql").mkdir()
    (root / "sql" / "it.sql").write_text(text)
    database = snow.database()
    snow.run(database, "CREATE TABLE stock AS SELECT 1 AS id, 5 AS n")
    data = SnowflakeData(query="it", key=("id",), database=database, schema="PUBLIC")
    source = open_source(data, root)
    return source, Sensor(name="stock", data=data, event_name="changed"), source.observe()


def test_a_steady_query_is_the_same_twice_and_the_second_time_not_out_of_a_cache(
    tmp_path: Path, snow: Snow
):
    before = len(snow.logins)
    source, sensor, seen = asked(tmp_path, snow, "SELECT id, n FROM stock")
    assert look_again(source, sensor, seen) == "twice the same"
    told = [login["SESSION_PARAMETERS"]["USE_CACHED_RESULT"] for login in snow.logins[before:]]
    assert [str(one).lower() for one in told] == ["true", "false"]  # connector 5 sends text


@pytest.mark.parametrize("moving", ["RANDOM()", "CURRENT_TIMESTAMP()", "UUID_STRING()"])
def test_a_query_that_changes_by_itself_is_an_error_that_names_the_column(
    tmp_path: Path, snow: Snow, moving: str
):
    text = f"SELECT id, n, {moving} AS it FROM stock"  # noqa: S608  # SQL is the input
    source, sensor, seen = asked(tmp_path, snow, text)
    with pytest.raises(QueryError, match=r"by itself.*column 'it' of 1 row"):
        look_again(source, sensor, seen)
