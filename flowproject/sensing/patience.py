"""A time limit for sources: a look that never ends must not hold up the others."""

import threading
from queue import Empty, Queue

from flowproject.changes.observation import Observation
from flowproject.config.model import Sensor
from flowproject.errors import SourceError
from flowproject.sources import Source

__all__ = ["observe_within"]


def observe_within(source: Source, sensor: Sensor) -> Observation:
    """What the source looks like, if it answers within the sensor's `timeout`.

    Raises:
        SourceError: if it does not; the source is told to stop and the look is abandoned.
        FlowprojectError: whatever the source raises.
    """
    answers: Queue[Observation | Exception] = Queue(maxsize=1)

    def look() -> None:
        try:
            answers.put(source.observe())
        except Exception as error:  # noqa: BLE001  # handed to the caller, who raises it
            answers.put(error)

    # A daemon: a source that can't be cancelled must not keep the process alive either.
    threading.Thread(target=look, name=f"look-{sensor.name}", daemon=True).start()
    try:
        answer = answers.get(timeout=sensor.timeout)
    except Empty:
        source.cancel()
        raise SourceError(
            f"Sensor {sensor.name!r} got no answer within {sensor.timeout:g} s",
            where=f"flowproject.toml, timeout of sensor {sensor.name!r}",
            fix="Make the query cheaper, or raise `timeout`",
        ) from None
    if isinstance(answer, Exception):
        raise answer
    return answer
