"""A look that lasts is heard of and given up in time, and a second one tells of a steady query."""

from pathlib import Path
from threading import Event

import pytest

from flowproject.changes.observation import Observation, Past, Progress, fingerprint_value
from flowproject.config.data import DuckDBData, FilesData
from flowproject.config.model import Sensor
from flowproject.errors import QueryError, SourceError
from flowproject.sensing.look import look_again, observe_within
from flowproject.sources import Source, open_source

SEEN = Observation(value=1, fingerprint=fingerprint_value(1))


class Slow:
    """A source that is done when it is told, and says how far it is."""

    def __init__(self) -> None:
        self.done = Event()
        self.cancelled = Event()
        self.past: Past | None = None

    def check(self) -> None:
        """Nothing can be wrong."""

    def observe(self, past: Past | None = None) -> Observation:
        self.past = past
        assert self.done.wait(10)
        return SEEN

    def query(self, name: str, params: object) -> list[dict[str, object]]:
        raise AssertionError(name, params)

    def progress(self) -> Progress:
        return Progress(seen=7, expected=9)

    def cancel(self) -> None:
        self.cancelled.set()
        self.done.set()


def sensor(timeout: float) -> Sensor:
    data = FilesData(path="data")
    return Sensor(name="slow", data=data, event_name="slow_changed", timeout=timeout)


def test_a_long_look_is_heard_of_and_its_answer_returned():
    source, past, told = Slow(), Past(1, lambda: None), []

    def report(name: str, progress: Progress) -> None:
        told.append((name, progress))
        source.done.set()

    assert observe_within(source, sensor(10), past, report) is SEEN
    assert told == [("slow", Progress(seen=7, expected=9))]
    assert source.past is past


def test_a_look_that_is_over_its_time_is_cancelled_and_an_error():
    source = Slow()
    with pytest.raises(SourceError, match="no answer within 0.05 s"):
        observe_within(source, sensor(0.05))
    assert source.cancelled.is_set()


pytestmark = pytest.mark.seconds(10)  # the first query of the process imports the engine


def asked(root: Path, text: str, *key: str) -> tuple[Source, Sensor, Observation]:
    (root / "sql").mkdir(exist_ok=True)
    (root / "sql" / "it.sql").write_text(text)
    data = DuckDBData(query="it", key=key)
    source = open_source(data, root)
    return source, Sensor(name="s", data=data, event_name="s_changed"), source.observe()


class Written:
    """A source to which somebody writes between some looks."""

    def __init__(self, source: Source, root: Path, contents: list[str]) -> None:
        self._source = source
        self._root = root
        self._contents = contents

    def __getattr__(self, name: str) -> object:
        return getattr(self._source, name)

    def observe(self, past: Past | None = None) -> Observation:
        (self._root / "it.csv").write_text(self._contents.pop(0))
        return self._source.observe(past)


def test_a_steady_query_is_looked_at_twice(tmp_path: Path):
    source, sensor, seen = asked(tmp_path, "FROM range(5) AS t(n)", "n")
    assert look_again(source, sensor, seen) == "twice the same"


@pytest.mark.parametrize(
    "text, key, moved",
    [
        ("SELECT random() AS chance", (), "column 'chance'"),
        ("SELECT 1 AS n, now()::VARCHAR AS at", (), "column 'at'"),
        ("SELECT n, uuid() AS u FROM range(3) AS t(n)", ("n",), "column 'u' of 3 rows"),
        ("SELECT n FROM range(9999) AS t(n) ORDER BY random() LIMIT 3", ("n",), "rows came"),
        ("SELECT n FROM range(9999) AS t(n) USING SAMPLE 3", (), "column 'n'"),
    ],
)
def test_a_query_that_changes_by_itself_is_an_error_that_names_what_differs(
    tmp_path: Path, text: str, key: tuple[str, ...], moved: str
):
    source, sensor, seen = asked(tmp_path, text, *key)
    with pytest.raises(QueryError, match=rf"by itself.*{moved}.*'s', query 'it'.*LIMIT") as caught:
        look_again(source, sensor, seen)
    assert caught.value.exit_code == 3


def test_data_that_somebody_wrote_to_in_between_accuses_no_query(tmp_path: Path):
    (tmp_path / "it.csv").write_text("id,v\n1,1\n")
    source, sensor, seen = asked(tmp_path, "FROM 'it.csv'", "id")
    written: Source = Written(source, tmp_path, ["id,v\n1,2\n", "id,v\n1,2\n"])  # type: ignore[assignment]
    remark = look_again(written, sensor, seen)
    assert remark == (
        "another result at the second look (column 'v' of 1 row) and then the same: "
        "the data changed"
    )


def test_data_that_are_written_to_all_the_time_are_named_as_a_cause(tmp_path: Path):
    (tmp_path / "it.csv").write_text("id,v\n1,1\n")
    source, sensor, seen = asked(tmp_path, "FROM 'it.csv'", "id")
    written: Source = Written(source, tmp_path, ["id,v\n1,2\n", "id,v\n1,3\n"])  # type: ignore[assignment]
    with pytest.raises(QueryError, match=r"column 'v' of 1 row.*written to all the time"):
        look_again(written, sensor, seen)
