"""Reads `flowproject.toml`: TOML to typed values, all problems at once, defaults filled in.

Written by hand and not with pydantic, because it runs in the main process of every run: importing
pydantic and building its adapters takes longer than everything else about the configuration, and
its errors (five for one misspelt key of one union) would have to be rewritten one by one.
"""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from flowproject.config.data import DATA_TYPES
from flowproject.config.keys import Key, keys_of
from flowproject.config.legacy import refuse_old_scaffold
from flowproject.config.model import DEFAULT_SENSOR, FILE, Alerts, Deploy, Project, Schedule, Sensor
from flowproject.config.root import no_project
from flowproject.config.values import InvalidValueError, Text, shown
from flowproject.errors import ConfigError, closest

__all__ = ["check", "load", "parse_config"]

_ADD_DATA: Final = 'Add a section [data] with, for example, type = "files" and path = "data".'
# Keys of [deploy] that name who is told of the end of a run.
_SERVICES: Final = ("notify_slack", "notify_pager_duty", "notify_incident_io")
_MAIL: Final = r"[^\s@<>,]+@[^\s@<>,]+"
# Until Python 3.14 an error of tomllib tells its place in the message only.
_PLACE: Final = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_WIDTH: Final = 90  # characters of a line that are shown
# Three wordings of tomllib for one mistake: a section that stands twice.
_TWICE: Final = re.compile(r"Cannot (?:declare|mutate|redefine).*?\((.*)\)")


def load(root: Path) -> Project:
    """Load the project whose folder is `root`."""
    file = root / FILE
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise no_project([root]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{file} is not UTF-8: byte {error.object[error.start]:#04x} on line {line}",
            fix="Save the file as UTF-8.",
        ) from error
    except OSError as error:
        denied = isinstance(error, PermissionError)
        raise ConfigError(
            f"{file} can't be read: {error.strerror}",
            fix=f"Give yourself the right to: `chmod u+r {file}`" if denied else "",
        ) from error
    return Project.from_dict(parse_config(text))


def parse_config(text: str) -> dict[str, Any]:
    """The normalised configuration that the text of a file stands for, in JSON types.

    Raises `ConfigError`, which lists everything that is wrong with the text.
    """
    return check(_read_toml(text, FILE)).to_dict()


def check(raw: Mapping[str, Any]) -> Project:
    """The project that the tables of a TOML file describe; raises `ConfigError`."""
    # First: of a file in the old shape every key would be a problem, and none of these would help.
    refuse_old_scaffold(raw, FILE)
    top = _Section(path=(), table=raw, problems=[])
    # Problems are collected and not raised, so that a file with five mistakes is mended in one go.
    config = _project(top)
    if top.problems:
        raise ConfigError(_listed(top.problems))
    return Project.from_dict(config)


def _listed(problems: list[str]) -> str:
    if len(problems) == 1:
        return f"{FILE}: {problems[0]}"
    lines = "".join(f"\n  - {problem}" for problem in problems)
    return f"{FILE} has {len(problems)} problems:{lines}"


# -------------------------------------------------------------------------------- text to tables


def _read_toml(text: str, file: str) -> dict[str, Any]:
    """The tables of a TOML file; raises `ConfigError` with line, column and the line itself."""
    # TOML is UTF-8 without a mark, but some editors write one, and tomllib reads it as a key.
    text = text.removeprefix("\ufeff")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_explained(str(error), text, file)) from error
    # Python's own limits, which a file of nothing but brackets or digits reaches before TOML's.
    except RecursionError as error:
        raise ConfigError(f"{file} nests brackets too deeply to be read") from error
    except ValueError as error:
        raise ConfigError(f"{file} has a number that is too long to be read") from error


def _explained(message: str, text: str, file: str) -> str:
    """What tomllib says, with the offending line and what usually helps."""
    reason = _PLACE.sub("", message)
    lines = text.replace("\r\n", "\n").split("\n")
    line, column = _place(message, lines)
    whole = lines[line - 1]
    # A line of a minified file may be long: two thirds before the place, one behind it.
    start = max(0, column - _WIDTH * 2 // 3)
    # Tabs stay tabs, so that the arrow stands where the terminal shows the sign.
    pointer = re.sub(r"[^\t]", " ", whole[start : column - 1]) + "^"
    return (
        f"{file}, line {line}, column {column}: {_reason(reason)}\n"
        f"    {whole[start : start + _WIDTH]}\n"
        f"    {pointer}\n"
        f"{_advice(reason, whole)}"
    )


def _place(message: str, lines: list[str]) -> tuple[int, int]:
    """Line and column, counted from 1; the end of the text if that is where reading stopped."""
    found = _PLACE.search(message)
    if found and found[1]:
        return int(found[1]), int(found[2])
    # An unfinished file is wrong at its last line with something in it, not in the empty ones
    # behind.
    last = max((number for number, line in enumerate(lines, 1) if line.strip()), default=1)
    return last, len(lines[last - 1]) + 1


def _reason(reason: str) -> str:
    twice = _TWICE.search(reason)
    if not twice:
        return f"this is not TOML: {reason[:1].lower()}{reason[1:]}."
    parts = re.findall(r"'((?:[^'\\]|\\.)*)'", twice[1])
    both = ": two sensors with one name" if parts[:-1] == ["sensors"] else ""
    return f"[{'.'.join(parts)}] appears twice{both}."


def _advice(reason: str, line: str) -> str:
    if _TWICE.search(reason):
        return "Rename one of the two, or merge them."
    if reason.startswith("Cannot overwrite"):
        return "The same key stands further up. Keep one of the two."
    if reason.startswith("Invalid value") and "=" in line:
        key, _, value = line.partition("=")
        # A word without quotes is the most frequent mistake; anything with quotes or brackets is
        # another.
        if re.fullmatch(r"\s*[A-Za-z_][^'\"#\[\]{}]*", value):
            return f'Text needs quotes: {key.strip()} = "{value.strip()}".'
        return 'After "=" comes text in quotes, a number, true, false, or a list in brackets.'
    return "Every line is [section], key = value, or a # comment; text stands in quotes."


# ------------------------------------------------------------------------- a table, its problems


@dataclass(frozen=True, kw_only=True)
class _Section:
    """A table, where it stands, and the list that takes the problems of the whole file."""

    path: tuple[str, ...]
    table: Mapping[str, Any]
    problems: list[str]
    sound: bool = True
    """False if what stands there is no table, which has been reported."""

    @property
    def header(self) -> str:
        """The section as the file spells it: `[sensors.weather]`."""
        return f"[{'.'.join(self.path)}]"

    def inside(self, name: str) -> "_Section":
        """The section called `name` in this one; an empty one if it is missing or no section."""
        path, value = (*self.path, name), self.table.get(name, {})
        section = _Section(path=path, table={}, problems=self.problems, sound=False)
        if isinstance(value, Mapping):
            return _Section(path=path, table=value, problems=self.problems)
        if isinstance(value, list):
            # [[sensors]] is how other tools write a list of things: here each has a name in its
            # header.
            own = section.header if name == "data" else ""
            each = own or "[sensors.NAME], one for each sensor"
            self.report(f"[[{'.'.join(path)}]] is a list. Write {each}, in single brackets.")
        else:
            self.refuse(
                name, f"is not a section. Write {section.header}, then one key on each line."
            )
        return section

    def values(self, keys: Mapping[str, Key], *, beside: Collection[str] = ()) -> dict[str, Any]:
        """What the section sets, of the given keys; an empty string sets a key to its default.

        Every other key is a problem, except the names in `beside`, which somebody else reads.
        """
        found: dict[str, Any] = {}
        for name, value in self.table.items():
            if name in beside:
                continue
            if name not in keys:
                self._unknown(name, [*beside, *keys])
            elif value == "":
                found |= {} if keys[name].required else {name: keys[name].default}
            else:
                found |= self._read(keys[name], value)
        return found

    def unset(self, name: str) -> bool:
        """Whether the section leaves the key out, or sets it to the empty string."""
        return bool(self.table.get(name, "") == "")

    def refuse(self, name: str, why: str) -> None:
        """Record a problem with the value of a key."""
        place = f"{self.header} " if self.path else ""
        self.report(f"{place}{name} = {shown(self.table[name])} {why}")

    def refuse_hidden(self, name: str, why: str) -> None:
        """Record a problem with the value of a key, without the value."""
        self.report(f"{self.header} {name} has a value that {why}")

    def report(self, problem: str) -> None:
        """Record a problem."""
        self.problems.append(problem)

    def _read(self, key: Key, value: object) -> dict[str, Any]:
        try:
            return {key.name: key.type.read(value)}
        except InvalidValueError as error:
            # Somebody may have written the webhook itself where its variable is asked for.
            hidden = isinstance(key.type, Text) and key.type.hidden
            (self.refuse_hidden if hidden else self.refuse)(key.name, str(error))
            return {}

    def _unknown(self, name: str, known: list[str]) -> None:
        # A key in the wrong section is likelier than one misspelt, and a sure answer before a
        # guess.
        hint = self._home(name) or closest(name, known)
        usable = f"Use one of: {', '.join(known)}."
        if not self.path and isinstance(self.table[name], Mapping):
            self.report(f"[{name}] is not a section. {usable} {hint}".rstrip())
        else:
            self.refuse(name, f"is not a key here. {usable} {hint}".rstrip())

    def _home(self, name: str) -> str:
        """Where a key belongs that stands in the wrong section, or an empty string."""
        own = self.header if self.path[:1] == ("sensors",) else ""
        if name in {field.name for field in fields(Project)}:
            return "It belongs at the top of the file, above the first [section]."
        if name in keys_of(Schedule):
            return "It belongs in [sensor]: all sensors share one cadence."
        if name in keys_of(Deploy):
            return "It belongs in [deploy]."
        if name in keys_of(Alerts):
            return "It belongs in [alerts]."
        types = [kind for kind, cls in DATA_TYPES.items() if name in keys_of(cls)]
        if types and self.path[-1:] == ("data",):
            return f"It belongs to type = {' or '.join(map(repr, types))}."
        if own and name == "name":
            return f"The name of a sensor stands in its header: [sensors.{self.table[name]}]."
        if name in keys_of(Sensor):
            return f"It belongs in {self._sensor_header()}."
        return f"It belongs in {own.replace(']', '.data]') or '[data]'}." if types else ""

    def _sensor_header(self) -> str:
        if self.path[:1] == ("sensors",):
            return f"[sensors.{self.path[1]}]"
        # In a file with one sensor its keys may stand there: so if one may not, there are several.
        several = self.path == ("sensor",)
        return "[sensors.NAME]: this file has several sensors" if several else "[sensor]"


# ---------------------------------------------------------------------------- tables to project


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A `data` section: its type (empty if there is no such type) and the values that it sets."""

    section: _Section
    type: str
    values: dict[str, Any]

    @property
    def keys(self) -> dict[str, Key]:
        return _data_keys(self.type) if self.type else {}


def _project(top: _Section) -> dict[str, Any]:
    """The file's values in the shape of `Project`; complete if no problem was recorded."""
    # Sections are read one by one below: only what stands beside them is a key of the file.
    values = top.values(keys_of(Project), beside=("data", "sensor", "sensors", "alerts", "deploy"))
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
        # Values of [data] alone may be incomplete, if each sensor adds what is missing.
        "data": base and _blank(base) | base.values,
        "sensor": cadence,
        "sensors": {sensor["name"]: sensor for sensor in sensors},
        "alerts": _alerts(top.inside("alerts")),
        "deploy": _deploy(top.inside("deploy")),
    }


def _alerts(section: _Section) -> dict[str, Any]:
    values = section.values(keys_of(Alerts))
    mail = ("email_to", "email_from", "smtp")
    lacking = [name for name in mail if not values.get(name)]
    # Of one that has a wrong value its own problem says enough.
    if lacking and any(values.get(name) for name in mail) and all(map(section.unset, lacking)):
        section.report(
            f"{section.header} needs {', '.join(lacking)} beside what it has: a mail is to "
            "somebody, from somebody, and by a server."
        )
    wrong = [one for one in values.get("email_to") or () if not re.fullmatch(_MAIL, one)]
    if wrong:
        section.refuse("email_to", f"has {wrong[0]!r}, which is no address such as a@example.com.")
    return values


def _deploy(section: _Section) -> dict[str, Any]:
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
    top: _Section, sensor: _Section, values: dict[str, Any], base: _Source | None
) -> dict[str, Any]:
    """The sensor of a file without `[sensors.NAME]`: `[data]` and what `[sensor]` says about it."""
    if base is None:
        top.report(f"[data] is missing: nothing says what to look at. {_ADD_DATA}")
        return _sensor(DEFAULT_SENSOR, values, {})
    data = _complete(base, None)
    _refuse_columns_of_files(sensor, data)
    return _sensor(values.get("name", DEFAULT_SENSOR), values, data)


def _cadence(sensor: _Section, many: _Section) -> dict[str, Any]:
    """What `[sensor]` says in a file with `[sensors.NAME]`: when to look, and nothing else."""
    name = sensor.table.get("name")
    if isinstance(name, str) and name in many.table:
        sensor.refuse(
            "name",
            f"names a second sensor {name!r} beside [sensors.{name}]. Remove this line: with "
            "[sensors.NAME], [sensor] only says when to look.",
        )
        # It has been reported: the same line must not be called unknown as well.
        others = {key: value for key, value in sensor.table.items() if key != "name"}
        sensor = replace(sensor, table=others)
    return sensor.values(keys_of(Schedule))


def _sensors(many: _Section, base: _Source | None) -> list[dict[str, Any]]:
    """Each `[sensors.NAME]`, its data laid over `[data]`."""
    keys = keys_of(Sensor)
    # The name stands in the header, where it is checked by the same rule.
    named = keys.pop("name").type
    sensors = []
    for name in many.table:
        try:
            named.read(name)
        except InvalidValueError as error:
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


def _laid_over(sensor: _Section, base: _Source | None) -> dict[str, Any]:
    """What a sensor looks at: its own `data`, and for the rest what `[data]` says."""
    if base is None and "data" not in sensor.table:
        sensor.report(f"{sensor.header} has no data: nothing says what to look at. {_ADD_DATA}")
        return {}
    own = _source(sensor.inside("data"), fallback=(base.type or None) if base else "")
    return _complete(own, base)


def _source(section: _Section, *, fallback: str | None) -> _Source:
    """A `data` section, read by the keys of its type.

    `fallback` is the type if the section names none: empty if there is none to take, None if that
    one is wrong and has been reported. Without a type the keys can't be read, but those that no
    type has are still reported.
    """
    kind = fallback if section.unset("type") else section.table["type"]
    if isinstance(kind, str) and kind in DATA_TYPES:
        values = section.values(_data_keys(kind), beside=("type",))
        return _Source(section=section, type=kind, values={"type": kind, **values})
    # A wrong type has one problem: that of the keys, of which nobody knows whether they are right,
    # is not reported.
    if not section.unset("type"):
        near = closest(kind, DATA_TYPES) if isinstance(kind, str) else ""
        section.refuse("type", f"is not a source. {_one_of_types()} {near}".rstrip())
    elif fallback is not None and section.sound:
        section.report(f"{section.header} type is missing. {_one_of_types()}")
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
        if name in own.keys and own.keys[name].type == key.type and name not in own.section.table
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


def _refuse_columns_of_files(sensor: _Section, data: Mapping[str, Any]) -> None:
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


def _one_of_types() -> str:
    return f"Use one of: {', '.join(DATA_TYPES)}."


def _data_keys(kind: str) -> dict[str, Key]:
    keys = keys_of(DATA_TYPES[kind])
    del keys["type"]
    return keys


def _refuse_shared_events(many: _Section, sensors: list[dict[str, Any]]) -> None:
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
