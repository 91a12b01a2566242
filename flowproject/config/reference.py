"""Generates the JSON Schema and the reference page of `flowproject.toml` from the model.

The words about a key stand in `model` and `data`, below the key. What no schema can say (two
sensors with one event, a time zone that exists) is left to the parser.
"""

import ast
import inspect
import json
import textwrap
from dataclasses import is_dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from flowproject.config.data import DATA_TYPES, Data
from flowproject.config.keys import Key, keys_of
from flowproject.config.model import (
    DEFAULT_SENSOR,
    FILE,
    Alerts,
    Deploy,
    Project,
    Schedule,
    Sensor,
    key_of,
)

__all__ = [
    "PAGE_FILE",
    "SCHEMA_FILE",
    "documentation",
    "generated",
    "page",
    "plain_default",
    "schema",
    "stale",
]

SCHEMA_FILE: Final = "flowproject.schema.json"
PAGE_FILE: Final = "docs/configuration.md"

_ONE: Final = """\
project_name = "weather"

[data]
type = "duckdb"
query = "sensor"
key = ["date"]

[sensor]
name = "weather"
cron_schedule = "0 * * * *"
"""

_MANY: Final = """\
project_name = "weather"

[data]
type = "files"
path = "data/weather"
settle = "30s"

[sensor]
cron_schedule = "*/10 * * * *"
timezone = "Europe/Helsinki"

[sensors.stations]
data = { path = "data/stations.json" }

[sensors.observations]
data = { include = ["*.csv"] }
first = "fire"

[sensors.warmest]
data = { type = "duckdb", query = "warmest" }
event_name = "record_broken"
timeout = "2m"
"""


def generated() -> dict[str, str]:
    """Every file that is generated from the model: its path in the project, and its text."""
    # Both from one call, so that a check can't forget one of them.
    return {SCHEMA_FILE: schema(), PAGE_FILE: page()}


def stale(root: Path) -> list[str]:
    """The generated files below `root` that are missing or differ from what the model says."""
    return [name for name, text in generated().items() if _text(root / name) != text]


def page() -> str:
    """The reference page as Markdown."""
    blocks = [
        f"# `{FILE}`",
        "<!-- Written by `flowproject docs` from flowproject/config/model.py: edit that. -->",
        _INTRODUCTION,
        "## Top of the file",
        _keys(Project),
        "## `[data]`: where the data lives",
        documentation(Project)["data"],
        *_sources(),
        "## `[sensor]`: when to look, and what to send",
        _SENSOR,
        _keys(Schedule),
        _ONLY,
        _keys(Sensor, {"name": f'`"{DEFAULT_SENSOR}"`', "event_name": "`NAME_changed`"}),
        f"```toml\n{_ONE}```",
        "## `[sensors.NAME]`: many sensors",
        _SENSORS,
        _keys(Sensor, {"event_name": "`NAME_changed`"}, without="name"),
        f"```toml\n{_MANY}```",
        _LAID_OVER,
        "## `[alerts]`: who is told of incidents",
        _ALERTS,
        _keys(Alerts),
        "## `[deploy]`: from git branches to deployments",
        _DEPLOY,
        _keys(Deploy),
    ]
    return "\n\n".join(blocks) + "\n"


_INTRODUCTION: Final = """\
The file is read when a flow starts or is deployed, and by `flowproject check`, which only checks
it. Everything wrong with it is reported at once.

- A key or section that is not on this page is an error, with the closest name that is.
- An empty string means *not set*: the key gets its default.
- A list of one text may be written without brackets.
- Durations are numbers of seconds, or text with the units `d`, `h`, `m` and `s`, such as `"90s"`
  or `"1h30m"`.
- With the file's first line, editors that know JSON Schema complete the keys and check them.\
"""

_SENSOR: Final = """\
All sensors of a project are looked at together, so they share one cadence. Argo Workflows reads
the schedule too, by [rules of its own](local-loop.md#schedules): Sunday is 0 (not 7), and there is
no `L` or `#`.\
"""

_ONLY: Final = """\
A file with `[data]` and without `[sensors.NAME]` has one sensor, which `[sensor]` describes too:\
"""

_SENSORS: Final = """\
Each sensor has a section of its own, and `[sensor]` keeps only the cadence. The name in the header
is made of lowercase letters, digits and underscores, a letter first.\
"""

_LAID_OVER: Final = """\
A sensor's `data` is laid over `[data]`: what it doesn't say is taken from there, and a key that it
sets to an empty string has its default again. If its `type` is another one, only keys that mean the
same for both types are taken over. Here all three settle for 30 seconds, and `warmest` is a query.

Two sensors can't send the same event, because a flow that it starts could not tell them apart. A
flow can listen to several events.\
"""

_ALERTS: Final = """\
Who is told of a sensor that fails, of a change that was given up, and of silence:
[alerts.md](alerts.md).\
"""

_DEPLOY: Final = """\
What `flowproject deploy` does with a git branch: [deploy.md](deploy.md).\
"""


def _sources() -> list[str]:
    blocks = []
    for kind, cls in DATA_TYPES.items():
        blocks += [f'### `type = "{kind}"`', inspect.getdoc(cls) or "", _keys(cls, without="type")]
    return blocks


def _keys(section: type, defaults: dict[str, str] | None = None, without: str = "") -> str:
    """The keys of a section as a table, with the defaults that only the parser knows."""
    notes = documentation(section)
    rows = [
        (
            f"`{name}`",
            key.type.words,
            (defaults or {}).get(name) or _default(key),
            notes[name],
        )
        for name, key in keys_of(section).items()
        if name != without
    ]
    head = [("key", "takes", "default", "meaning"), ("---", "---", "---", "---")]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *rows])


def _default(key: Key) -> str:
    if key.required:
        return "**required**"
    default: Any = plain_default(key)
    # Texts and lists of them are spelled the same in TOML.
    quoted = json.dumps(default) if isinstance(default, str | tuple) else f"{default}"
    return "not set" if default is None else f"`{quoted}`"


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def schema() -> str:
    """The schema as JSON text, in the draft that TOML editors know."""
    tree = {
        # The newest draft that editors of TOML understand.
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "flowproject.toml",
        "description": _sentence(inspect.getdoc(Project)),
        **_table(Project, required=True),
        "if": {"properties": {"sensors": {"minProperties": 1}}, "required": ["sensors"]},
        "then": {"properties": {"sensor": {"propertyNames": {"enum": list(keys_of(Schedule))}}}},
        "else": {"properties": {"data": {"anyOf": _complete_sources()}}, "required": ["data"]},
        "definitions": {kind: _source(kind, cls) for kind, cls in DATA_TYPES.items()},
    }
    tree["properties"] |= _sections()
    return json.dumps(tree, indent=2, ensure_ascii=False) + "\n"


def documentation(section: type) -> dict[str, str]:
    """What stands below each field of a dataclass, on one line, by the field's key."""
    # Python forgets strings below fields: they are read from the source. Of the bases first, so
    # that a class has the last word on its keys.
    classes = [cls for cls in reversed(section.__mro__) if is_dataclass(cls)]
    trees = [ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0] for cls in classes]
    return {
        key_of(field.target.id): _sentence(ast.literal_eval(below.value))
        for tree in trees
        for field, below in pairwise(tree.body if isinstance(tree, ast.ClassDef) else [])
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
    }


def plain_default(key: Key) -> Any:
    """The default as the file would spell it, or None if there is none to spell."""
    default = key.default
    # Durations are floats in the model, and nobody writes 300.0 seconds.
    if isinstance(default, float) and default.is_integer():
        return int(default)
    return default or None


def _sections() -> dict[str, Any]:
    notes = documentation(Project)
    data = {"type": "object", "anyOf": [{"$ref": f"#/definitions/{kind}"} for kind in DATA_TYPES]}
    own = _table(Sensor, without=("name",))
    own["properties"]["data"] = {"description": documentation(Sensor)["data"], **data}
    name = keys_of(Sensor)["name"].type.schema()["pattern"]
    sensor = _table(Sensor)
    sensor["properties"] |= _table(Schedule)["properties"]
    return {
        "data": {"description": notes["data"], "required": ["type"], **data},
        "sensor": {"description": notes["sensor"], **sensor},
        "sensors": {
            "description": notes["sensors"],
            "type": "object",
            "propertyNames": {"pattern": name, "minLength": 1},
            "additionalProperties": own,
        },
        "alerts": {"description": notes["alerts"], **_table(Alerts)},
        "deploy": {"description": notes["deploy"], **_table(Deploy)},
    }


def _table(
    section: type, *, required: bool = False, without: tuple[str, ...] = ()
) -> dict[str, Any]:
    """A section whose keys are those of a dataclass, and no others."""
    notes = documentation(section)
    keys = {name: key for name, key in keys_of(section).items() if name not in without}
    needed = [name for name, key in keys.items() if key.required] if required else []
    properties = {name: _property(key, notes[name]) for name, key in keys.items()}
    for name in needed:
        # Empty means not set, which a required key can't be.
        properties[name]["minLength"] = 1
    table = {"type": "object", "additionalProperties": False, "properties": properties}
    return table | ({"required": needed} if needed else {})


def _property(key: Key, note: str) -> dict[str, Any]:
    default = plain_default(key)
    known = {} if default is None else {"default": default}
    return {"description": note, **key.type.schema(), **known}


def _source(kind: str, cls: type[Data]) -> dict[str, Any]:
    table = _table(cls)
    table["properties"]["type"] = {"description": documentation(cls)["type"], "const": kind}
    return {"title": kind, "description": _sentence(inspect.getdoc(cls)), **table}


def _complete_sources() -> list[dict[str, Any]]:
    """For each type what `[data]` must have if no sensor can add it."""
    found = []
    for kind, cls in DATA_TYPES.items():
        needed = [name for name, key in keys_of(cls).items() if key.required]
        filled: dict[str, Any] = {name: {"minLength": 1} for name in needed}
        found.append({"required": needed, "properties": {"type": {"const": kind}, **filled}})
    return found


def _sentence(text: str | None) -> str:
    return " ".join((text or "").split())
