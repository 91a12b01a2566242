"""A look that lasts is heard of while it does, and given up when its time is over."""

from threading import Event

import pytest

from flowproject.changes.observation import Observation, Past, Progress, fingerprint_value
from flowproject.config.data import FilesData
from flowproject.config.model import Sensor
from flowproject.errors import SourceError
from flowproject.sensing.patience import observe_within

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
