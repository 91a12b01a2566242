"""Whether a query gives the same result as long as its data stay the same, as far as looks tell."""

from flowproject.changes.decision import what_differs
from flowproject.changes.observation import Observation, Report, ignore_progress
from flowproject.config.model import Sensor
from flowproject.errors import QueryError
from flowproject.sensing.patience import observe_within
from flowproject.sources import Source

__all__ = ["look_again"]


def look_again(
    source: Source, sensor: Sensor, seen: Observation, report: Report = ignore_progress
) -> str:
    """What a second look says of the first, in words.

    Somebody may write to the data between two looks. So a result that differs is looked at once
    more: if it then stays, it is taken for a change.

    Raises:
        QueryError: if it does not stay.
        FlowprojectError: whatever the source raises.
    """
    again = observe_within(source, sensor, report=report)
    if again.fingerprint == seen.fingerprint:
        return "twice the same"
    moved = what_differs(seen, again)
    third = observe_within(source, sensor, report=report)
    if third.fingerprint == again.fingerprint:
        return f"another result at the second look ({moved}) and then the same: the data changed"
    raise QueryError(
        f"The result changes by itself: three looks in a row differ in {moved}",
        where=f"Sensor {sensor.name!r}, query {getattr(sensor.data, 'query', '')!r}",
        allowed="Usual causes: LIMIT without ORDER BY, CURRENT_TIMESTAMP or another clock, "
        "random numbers and samples. If the data are written to all the time, it may be that "
        "instead",
        fix="Order the rows before a LIMIT, leave such a column out, or check again when nobody "
        "writes",
    )
