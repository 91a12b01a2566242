"""Checks what a person wrote in `flowproject.toml`: all problems at once, and defaults filled in.

Written by hand and not with pydantic, because it runs in the main process of every run: importing
pydantic and building its adapters takes longer than everything else about the configuration, and
its errors (five for one misspelt key of one union) would have to be rewritten one by one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from flowproject.config.data import DATA_TYPES
from flowproject.config.deploy import Deploy
from flowproject.config.keys import Key, keys_of
from flowproject.config.kinds import RefusedError
from flowproject.config.legacy import refuse_old_scaffold
from flowproject.config.model import FILE, Project, Schedule, Sensor
from flowproject.config.section import Section
from flowproject.config.toml import read_toml
from flowproject.errors import ConfigError, closest

__all__ = ["DEFAULT_SENSOR", "check", "parse"]

DEFAULT_SENSOR: Final = "data"
_ADD_DATA: Final = 'Add a section [data] with, for example, type = "files" and path = "data".'
_SERVICES: Final = ("notify_slack", "notify_pager_duty", "notify_incident_io")
_ONE_OF_TYPES: Final = f"Use one of: {', '.join(DATA_TYPES)}."


def parse(text: str) -> dict[str, Any]:
    """The normalised configuration that the text of a file stands for, in JSON types.

    Raises `ConfigError`, which lists everything that is wrong with the text.
    """
    return check(read_toml(text, FILE)).to_dict()


def check(raw: Mapping[str, Any]) -> Project:
    """The project that the tables of a TOML file describe; raises `ConfigError`."""
    refuse_old_scaffold(raw, FILE)
    top = Section(path=(), table=raw, problems=[])
    config = _project(top)
    if top.problems:
        raise ConfigError(_listed(top.problems))
    return Project.from_dict(config)


def _listed(problems: list[str]) -> str:
    if len(problems) == 1:
        return f"{FILE}: {problems[0]}"
    lines = "".join(f"\n  - {problem}" for problem in problems)
    return f"{FILE} has {len(problems)} problems:{lines}"


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A `data` section: its type (empty if there is no such type) and the values that it sets."""

    section: Section
    type: str
    values: dict[str, Any]

    @property
    def keys(self) -> dict[str, Key]:
        return _data_keys(self.type) if self.type else {}


def _project(top: Section) -> dict[str, Any]:
    """The file's values in the shape of `Project`; complete if no problem was recorded."""
    values = top.values(keys_of(Project), beside=("data", "sensor", "sensors", "deploy"))
    if top.unset("project_name"):
        top.report('project_name is missing. Name the project: project_name = "my_project".')
    base = _source(top.inside("data"), fallback="") if "data" in top.table else None
    sensor, many = top.inside("sensor"), top.inside("sensors")
    if many.table:
        cadence, sensors = _cadence(sensor, many), _sensors(many, base)
    else:
        cadence = sensor.values(keys_of(Sensor) | keys_of(Schedule))
        sensors = [_only_sensor(top, sensor, cadence, base)]
    return values | {
        "data": base and _blank(base) | base.values,
        "sensor": cadence,
        "sensors": {sensor["name"]: sensor for sensor in sensors},
        "deploy": _deploy(top.inside("deploy")),
    }


def _deploy(section: Section) -> dict[str, Any]:
    values = section.values(keys_of(Deploy))
    if values.get("notify_incident_io") and not values.get("notify_incident_io_source"):
        section.report(
            f"{section.header} notify_incident_io needs notify_incident_io_source, the identifier "
            "of an alert source. Add it: Incident.io shows it with the source."
        )
    services = [name for name in _SERVICES if values.get(name)]
    if services and values.get("notify_on") == ():
        section.refuse(
            "notify_on",
            f"names no end of a run, so {', '.join(services)} would never hear of one. Name "
            '"error" or "success", or take both keys out.',
        )
    return values


def _only_sensor(
    top: Section, sensor: Section, values: dict[str, Any], base: _Source | None
) -> dict[str, Any]:
    """The sensor of a file without `[sensors.NAME]`: `[data]` and what `[sensor]` says about it."""
    if base is None:
        top.report(f"[data] is missing: nothing says what to look at. {_ADD_DATA}")
        return _sensor(DEFAULT_SENSOR, values, {})
    data = _complete(base, None)
    _refuse_columns_of_files(sensor, data)
    return _sensor(values.get("name", DEFAULT_SENSOR), values, data)


def _cadence(sensor: Section, many: Section) -> dict[str, Any]:
    """What `[sensor]` says in a file with `[sensors.NAME]`: when to look, and nothing else."""
    name = sensor.table.get("name")
    if isinstance(name, str) and name in many.table:
        sensor.refuse(
            "name",
            f"names a second sensor {name!r} beside [sensors.{name}]. Remove this line: with "
            "[sensors.NAME], [sensor] only says when to look.",
        )
        others = {key: value for key, value in sensor.table.items() if key != "name"}
        sensor = replace(sensor, table=others)
    return sensor.values(keys_of(Schedule))


def _sensors(many: Section, base: _Source | None) -> list[dict[str, Any]]:
    """Each `[sensors.NAME]`, its data laid over `[data]`."""
    keys = keys_of(Sensor)
    named = keys.pop("name").kind
    sensors = []
    for name in many.table:
        try:
            named.read(name)
        except RefusedError as error:
            many.report(f"{many.header} {name!r} as the name of a sensor {error}")
        section = many.inside(name)
        values = section.values(keys, beside=("data",))
        data = _laid_over(section, base)
        _refuse_columns_of_files(section, data)
        sensors.append(_sensor(name, values, data))
    _refuse_shared_events(many, sensors)
    return sensors


def _sensor(name: str, values: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    return {"event_name": f"{name}_changed", **values, "name": name, "data": data}


def _laid_over(sensor: Section, base: _Source | None) -> dict[str, Any]:
    """What a sensor looks at: its own `data`, and for the rest what `[data]` says."""
    if base is None and "data" not in sensor.table:
        sensor.report(f"{sensor.header} has no data: nothing says what to look at. {_ADD_DATA}")
        return {}
    own = _source(sensor.inside("data"), fallback=(base.type or None) if base else "")
    return _complete(own, base)


def _source(section: Section, *, fallback: str | None) -> _Source:
    """A `data` section, read by the keys of its type.

    `fallback` is the type if the section names none: empty if there is none to take, None if that
    one is wrong and has been reported. Without a type the keys can't be read, but those that no
    type has are still reported.
    """
    kind = fallback if section.unset("type") else section.table["type"]
    if isinstance(kind, str) and kind in DATA_TYPES:
        values = section.values(_data_keys(kind), beside=("type",))
        return _Source(section=section, type=kind, values={"type": kind, **values})
    if not section.unset("type"):
        near = closest(kind, DATA_TYPES) if isinstance(kind, str) else ""
        section.refuse("type", f"is not a source. {_ONE_OF_TYPES} {near}".rstrip())
    elif fallback is not None and section.sound:
        section.report(f"{section.header} type is missing. {_ONE_OF_TYPES}")
    legal = {name: None for kind in DATA_TYPES for name in _data_keys(kind)}
    section.values({}, beside=("type", *legal))
    return _Source(section=section, type="", values={})


def _complete(own: _Source, base: _Source | None) -> dict[str, Any]:
    """The values of a source with those that it takes over from `base`; reports what is missing.

    A key is taken over if it means the same there: `key` is a list of columns for one type and the
    name of an object for another.
    """
    shared = {
        name
        for name, key in (base.keys if base else {}).items()
        if name in own.keys and own.keys[name].kind == key.kind and name not in own.section.table
    }
    place = "" if base is None else ", here or in [data]"
    for name, key in own.keys.items():
        giver = base if base and name in shared else own
        if key.required and giver.section.unset(name):
            own.section.report(
                f"{own.section.header} {name} is missing: "
                f'type = {own.type!r} needs it{place}. Add {name} = "...".'
            )
    taken = {name: base.values[name] for name in shared if name in base.values} if base else {}
    values = taken | own.values
    _refuse_marker_of_one_file(own, values)
    return values


def _refuse_marker_of_one_file(own: _Source, values: Mapping[str, Any]) -> None:
    """Report a marker for what is not a whole folder: there is nothing to hold the marker."""
    mode = values.get("check_mode", "files_metadata")
    watched = "only what is new" if mode == "files_new" else "one file"
    if values.get("marker") and mode != "files_metadata":
        own.section.report(
            f"{own.section.header} marker = {values['marker']!r} can never be met with "
            f"check_mode = {mode!r}, which watches {watched}. Remove marker, or watch the folder "
            'with check_mode = "files_metadata".'
        )


def _refuse_columns_of_files(sensor: Section, data: Mapping[str, Any]) -> None:
    """Report what is said of columns where there are none."""
    kind = data.get("type")
    if kind and not sensor.unset("schema_change") and "query" not in _data_keys(kind):
        queried = ", ".join(repr(name) for name in DATA_TYPES if "query" in _data_keys(name))
        sensor.report(
            f"{sensor.header} schema_change says what it means if the columns of a query's result "
            f"change, and type = {kind!r} has no query. Remove it; it is for {queried}."
        )


def _blank(base: _Source) -> dict[str, Any]:
    """Empty values for the keys that `[data]` must have only if no sensor adds them."""
    return {name: "" for name, key in base.keys.items() if key.required}


def _data_keys(kind: str) -> dict[str, Key]:
    keys = keys_of(DATA_TYPES[kind])
    del keys["type"]
    return keys


def _refuse_shared_events(many: Section, sensors: list[dict[str, Any]]) -> None:
    """Report sensors that send one event: a flow that it starts could not tell them apart."""
    owners: dict[str, str] = {}
    for sensor in sensors:
        name, event = sensor["name"], sensor["event_name"]
        owner = owners.setdefault(event, name)
        if owner != name:
            many.report(
                f"[sensors.{name}] event_name = {event!r} is the event of [sensors.{owner}] too, "
                "and a flow could not tell which of them started it. Give each its own; "
                "a flow can listen to both."
            )
