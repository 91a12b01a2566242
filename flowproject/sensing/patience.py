"""A time limit for sources, and word of how far they are: none must hold up the others unseen."""

import threading
import time
from queue import Empty, Queue
from typing import Final

from flowproject.changes.observation import Observation, Past, Report, ignore_progress
from flowproject.config.model import Sensor
from flowproject.errors import SourceError
from flowproject.sources import Source

__all__ = ["observe_within"]

_REPORT_SECONDS: Final = 0.5


def observe_within(
    source: Source, sensor: Sensor, past: Past | None = None, report: Report = ignore_progress
) -> Observation:
    """What the source looks like, if it answers within the sensor's `timeout`.

    Raises:
        SourceError: if it does not; the source is told to stop and the look is abandoned.
        FlowprojectError: whatever the source raises.
    """
    answers: Queue[Observation | BaseException] = Queue(maxsize=1)

    def look() -> None:
        try:
            answers.put(source.observe(past))
        except BaseException as error:  # noqa: BLE001  # handed to the caller, who raises it
            answers.put(error)

    # A daemon: a source that can't be cancelled must not keep the process alive either.
    threading.Thread(target=look, name=f"look-{sensor.name}", daemon=True).start()
    answer = _awaited(answers, source, sensor, report)
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _awaited(
    answers: "Queue[Observation | BaseException]", source: Source, sensor: Sensor, report: Report
) -> Observation | BaseException:
    deadline = time.monotonic() + sensor.timeout
    while (left := deadline - time.monotonic()) > 0:
        try:
            return answers.get(timeout=min(left, _REPORT_SECONDS))
        except Empty:
            if progress := source.progress():
                report(sensor.name, progress)
    source.cancel()
    raise SourceError(
        f"Sensor {sensor.name!r} got no answer within {sensor.timeout:g} s",
        where=f"flowproject.toml, timeout of sensor {sensor.name!r}",
        fix="Make the query cheaper, or raise `timeout`",
    )
