"""Follows a sensor's incidents from tick to tick, and has people told: once, and when it is over.

An incident: it failed so often in a row, a change was given up, nothing changed for longer than was
expected. No words of a source or of data are told, for these may be secret.
"""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

from flowproject.alerts import Alert, channels, tell
from flowproject.changes.retries import in_ranges
from flowproject.config.model import Sensor
from flowproject.errors import DeliveryError, JournalError
from flowproject.journal import Journal
from flowproject.sensing.context import ProjectContext
from flowproject.sensing.tick import Tick
from flowproject.wording import amount

__all__ = ["Incident", "Incidents", "told_of"]

_UNITS: Final = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, kw_only=True)
class Incident:
    """One incident: which, since when, until when (empty: it goes on), and by what it was told."""

    number: int
    kind: str
    since: str
    words: str
    """What to say of it, between the names and the full stop."""
    over: str = ""
    told: tuple[str, ...] = ()
    """By which channels its beginning was told."""
    told_over: tuple[str, ...] = ()

    def untold(self, known: Sequence[str]) -> Iterator[str]:
        """The channels by which something is still to be told."""
        # Of what was over before anybody could be told, nobody need hear.
        wanted, done = (self.told, self.told_over) if self.over else (known, self.told)
        yield from (one for one in known if one in wanted and one not in done)

    def with_told(self, channel: str) -> Self:
        """The same after it was told."""
        if self.over:
            return replace(self, told_over=(*self.told_over, channel))
        return replace(self, told=(*self.told, channel))


@dataclass(frozen=True, kw_only=True)
class Incidents:
    """What is known of a sensor's incidents: how often it failed in a row, and what is open."""

    count: int = 0
    """How many there were."""
    failures: int = 0
    failing_since: str = ""
    open: tuple[Incident, ...] = field(default=())

    @classmethod
    def from_json(cls, noted: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote; nothing was noted of a sensor without incidents."""
        if not noted:
            return cls()
        return cls(
            count=int(noted["count"]),
            failures=int(noted["failures"]),
            failing_since=str(noted["failing_since"]),
            open=tuple(
                Incident(
                    **{**one, "told": tuple(one["told"]), "told_over": tuple(one["told_over"])}
                )
                for one in noted["open"]
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Write it as plain JSON."""
        return asdict(self)

    def after(self, seen: Tick, sensor: Sensor, after_failures: int) -> Self:
        """What is known after this tick."""
        failed = seen.outcome == "failed"
        # Not further: a sensor that fails for a week is not written down each time.
        failures = min(self.failures + 1, after_failures) if failed else 0
        since = (self.failing_since or seen.at) if failed else ""
        known = replace(self, failures=failures, failing_since=since)
        now = {
            "failing": _failing(failures, since, after_failures),
            "undelivered": _undelivered(seen),
            "silent": _silent(seen, sensor),
        }
        for kind, found in now.items():
            known = known.with_kind(kind, found, seen.at)
        return known

    def with_kind(self, kind: str, found: "_Found | None", at: str) -> Self:
        """What is known after a tick found this of one kind of incident; None: it can't tell."""
        going_on = next((one for one in self.open if one.kind == kind and not one.over), None)
        if found is None or bool(found.words) == bool(going_on):
            return self
        if going_on:
            over = tuple(replace(one, over=at) if one is going_on else one for one in self.open)
            return replace(self, open=over)
        incident = Incident(
            number=self.count + 1, kind=kind, since=found.since or at, words=found.words
        )
        return replace(self, count=self.count + 1, open=(*self.open, incident))


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What a tick says of one kind of incident: its words, or none if there is none."""

    words: str = ""
    since: str = ""


def _failing(failures: int, since: str, after_failures: int) -> _Found | None:
    if not failures:
        return _Found()
    if failures < after_failures:
        return None
    often = f" {failures} times in a row" if failures > 1 else ""
    return _Found(words=f"has failed{often}", since=since)


def _undelivered(seen: Tick) -> _Found | None:
    if seen.given_up:
        many = "change" if len(seen.given_up) == 1 else "changes"
        return _Found(words=f"has {many} {in_ranges(seen.given_up)} that no flow has started for")
    # A tick that failed may not have come to what is to be delivered.
    return None if seen.outcome == "failed" else _Found()


def _silent(seen: Tick, sensor: Sensor) -> _Found | None:
    if not sensor.expect_every:
        return _Found()
    if not seen.history:
        return None
    since = str(seen.history[0]["recorded_at"])
    silence = dt.datetime.fromisoformat(seen.at) - dt.datetime.fromisoformat(since)
    if silence.total_seconds() <= sensor.expect_every:
        return _Found()
    # In the largest unit that divides it: as it was configured, as a rule.
    size, unit = next((one for one in _UNITS if not sensor.expect_every % one[0]), _UNITS[-1])
    expected = amount(int(sensor.expect_every // size), unit)
    return _Found(words=f"has seen no change for longer than {expected}", since=since)


_OVER: Final = {
    "failing": "works again, after it had failed",
    "undelivered": "has no change any more that no flow has started for",
    "silent": "has seen a change again, after none",
}


def told_of(context: ProjectContext, sensor: Sensor, journal: Journal, seen: Tick) -> str:
    """Note what a tick means for the sensor's incidents and tell of it: what could not be told.

    It never fails: an alert that nobody hears must not stop a change from being told.
    """
    settings = context.project.alerts
    known = channels(settings)
    if not known:
        return ""
    try:
        before = Incidents.from_json(journal.alerts.read())
        after = before.after(seen, sensor, settings.after_failures)
        # Noted first: what can't be noted would be told by every tick.
        if after != before:
            journal.alerts.write(after.to_json())
        if not any([*one.untold(known)] for one in after.open):
            return _forget(journal, after)
        left, problems = _tell_all(context, sensor, journal, after, known)
        _forget(journal, left, before=after)
    except JournalError as error:
        return f"nobody is told of incidents, because they can't be noted: {error}"
    except Exception as error:  # noqa: BLE001  # whatever it is, the tick is not to fail for it
        return f"nobody could be told of incidents: unexpected {type(error).__name__}"
    return "; ".join(problems)


def _tell_all(
    context: ProjectContext,
    sensor: Sensor,
    journal: Journal,
    incidents: Incidents,
    known: Sequence[str],
) -> tuple[Incidents, list[str]]:
    """Tell what is untold by each channel: what is known then, and what could not be told."""
    problems: list[str] = []
    told: list[Incident] = []
    for incident in incidents.open:
        one = incident
        for channel in [*incident.untold(known)]:
            claim = _claim_of(incident, channel)
            if not journal.alerts.claim(claim, context.clock()):
                continue
            try:
                alert = _alert(context, sensor, incident)
                tell(channel, context.project.alerts, alert, context.root)
            except DeliveryError as error:
                problems.append(str(error))
                journal.alerts.release(claim)
            else:
                one = one.with_told(channel)
        told.append(one)
    return replace(incidents, open=tuple(told)), problems


def _forget(journal: Journal, incidents: Incidents, *, before: Incidents | None = None) -> str:
    """Forget what is over and told, and note what is left if that is not what was noted."""
    over = [one for one in incidents.open if one.over and {*one.told} <= {*one.told_over}]
    left = replace(incidents, open=tuple(one for one in incidents.open if one not in over))
    if left != (before or incidents):
        journal.alerts.write(left.to_json())
    for one in over:
        for channel in one.told:
            journal.alerts.release(_claim_of(replace(one, over=""), channel))
            journal.alerts.release(_claim_of(one, channel))
    return ""


def _claim_of(incident: Incident, channel: str) -> str:
    return f"{incident.number}-{'over' if incident.over else 'begun'}-{channel}"


def _alert(context: ProjectContext, sensor: Sensor, incident: Incident) -> Alert:
    place = f"Sensor {sensor.name!r} of {context.project.project_name} ({context.branch})"
    what = _OVER[incident.kind] if incident.over else incident.words
    return Alert(
        project=context.project.project_name,
        branch=context.branch,
        sensor=sensor.name,
        incident=incident.kind,
        is_over=bool(incident.over),
        since=incident.since,
        at=context.clock().isoformat(),
        run=context.run,
        text=f"{place} {what}, since {_minute(incident.since)}.",
    )


def _minute(moment: str) -> str:
    return f"{dt.datetime.fromisoformat(moment):%Y-%m-%d %H:%M %Z}"
