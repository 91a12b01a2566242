"""The JSON Schema of `flowproject.toml`, with which editors complete and check the file.

Everything in it comes from `model`; what no schema can say (two sensors with one event, a time
zone that exists) is left to the parser.
"""

import ast
import inspect
import json
import textwrap
from itertools import pairwise
from typing import Any

from flowproject.config.data import DATA_TYPES, Data
from flowproject.config.deploy import Deploy, key_of
from flowproject.config.keys import Key, keys_of
from flowproject.config.model import Project, Schedule, Sensor

__all__ = ["documentation", "plain_default", "schema"]


def schema() -> str:
    """The schema as JSON text, in the draft that TOML editors know."""
    tree = {
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
    [cls] = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    body = cls.body if isinstance(cls, ast.ClassDef) else []
    return {
        key_of(field.target.id): _sentence(ast.literal_eval(below.value))
        for field, below in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(below, ast.Expr)
    }


def plain_default(key: Key) -> Any:
    """The default as the file would spell it, or None if there is none to spell."""
    default = key.default
    if isinstance(default, float) and default.is_integer():
        return int(default)
    return default or None


def _sections() -> dict[str, Any]:
    notes = documentation(Project)
    data = {"type": "object", "anyOf": [{"$ref": f"#/definitions/{kind}"} for kind in DATA_TYPES]}
    own = _table(Sensor, without=("name",))
    own["properties"]["data"] = {"description": documentation(Sensor)["data"], **data}
    name = keys_of(Sensor)["name"].kind.schema()["pattern"]
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
        properties[name]["minLength"] = 1
    table = {"type": "object", "additionalProperties": False, "properties": properties}
    return table | ({"required": needed} if needed else {})


def _property(key: Key, note: str) -> dict[str, Any]:
    default = plain_default(key)
    known = {} if default is None else {"default": default}
    return {"description": note, **key.kind.schema(), **known}


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
