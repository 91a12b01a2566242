"""Recognises the file of the scaffold that this project replaces, refuses it, and translates it.

Nothing of it is read silently: its keys meant other things (an empty `payload_key` was a key).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from flowproject.config.model import DEFAULT_SENSOR
from flowproject.errors import ConfigError

__all__ = ["Translation", "refuse_old_scaffold", "toml_value", "translate"]

# Old key → the key of today.
_RENAMED: Final = {"storage_type": "type", "template": "query"}
# The scaffold split what is [data] now in two, and each half named some keys otherwise.
_MOVED: Final = "data_kwargs"
# Its first version: the query stood in the code.
_OLDEST: Final = {"type", "integration"}
# What stood in the scaffold's file to be replaced, and in those of whoever wrote like that.
_PLACEHOLDER: Final = re.compile(r"\.{2,}|<[^>]*>|(your|my)[-_ ].*|todo\b.*|x{3,}", re.IGNORECASE)
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,127}")


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A file of the old scaffold in today's words."""

    tables: Mapping[str, Any]
    edits: tuple[str, ...]
    """What is to do, in sentences."""


def refuse_old_scaffold(raw: Mapping[str, Any], file: str) -> None:
    """Raise `ConfigError`, with the lines to write instead, if the file has the old shape."""
    found = translate(raw)
    if found is None:
        return
    raise ConfigError(
        f"{file} has the shape of the old scaffold, which is not read any more.\n"
        + "".join(f"  - {edit}\n" for edit in found.edits)
        + f"With these edits the file reads:\n\n{_document(found.tables)}\n"
        + "Check it with `flowproject check`. Or have the whole project written anew in a folder "
        "beside this one, with what is to do in its flows: `flowproject init ../new --from .`"
    )


def translate(raw: Mapping[str, Any]) -> Translation | None:
    """The tables of a file of the old scaffold as they are written today; None if it is none."""
    data, moved = _section(raw, "data"), _section(raw, _MOVED)
    edits = [
        f"Rename [{name}] {old} to {new}."
        for name, section in (("data", data), (_MOVED, moved))
        for old, new in _RENAMED.items()
        if old in section
    ]
    if _MOVED in raw:
        edits.append(f"Move the keys of [{_MOVED}] into [data], and remove [{_MOVED}].")
    # With queries of its own for each sensor the same section is one of today's.
    oldest = data.get("type") == "snowflake" and set(data) <= _OLDEST and "sensors" not in raw
    if oldest and not edits:
        edits.append("Add [data] query: the old one stood in the code, and was sql/sensor.sql.")
    if not edits:
        return None
    new = _new_data({**data, **moved})
    for name in [key for key, value in new.items() if _is_placeholder(value)]:
        edits.append(f"Set [data] {name}, or leave it out: {new[name]!r} stood for a value.")
        del new[name]
    sensor = _section(raw, "sensor")
    if "name" not in sensor:
        sensor = {"name": _sensor_name(sensor), **sensor}
        edits.append(f"Name the sensor in [sensor], for @on_change({sensor['name']!r}) in flows.")
    # A person copies what the message shows: all else that the file says stays in it.
    tables = {"data": {}, **raw} | {"data": new, "sensor": sensor}
    tables.pop(_MOVED, None)
    return Translation(tables=tables, edits=tuple(edits))


def _is_placeholder(value: Any) -> bool:
    return isinstance(value, str) and bool(_PLACEHOLDER.fullmatch(value))


def _sensor_name(sensor: Mapping[str, Any]) -> str:
    """A name for the only sensor: that of its event, if it has one that a sensor may have."""
    event = str(sensor.get("event_name") or "").lower().replace("-", "_").removesuffix("_changed")
    return event if _NAME.fullmatch(event) else DEFAULT_SENSOR


def _section(raw: Mapping[str, Any], name: str) -> dict[str, Any]:
    section = raw.get(name)
    return section if isinstance(section, dict) else {}


def _new_data(old: Mapping[str, Any]) -> dict[str, Any]:
    """`[data]` in today's words, the type first."""
    new = {_RENAMED.get(key, key): value for key, value in old.items()}
    # The old sensor took S3 for granted where nothing spoke for Snowflake.
    kind = new.pop("type", "snowflake" if "integration" in new or "query" in new else "s3")
    if kind == "snowflake":
        new.setdefault("query", "sensor")  # what the old sensor ran without a template
    else:
        new.pop("query", None)  # a leftover: the old sensor read no template for files
    return {"type": kind, **_bucket(new)}


def _bucket(data: Mapping[str, Any]) -> dict[str, Any]:
    """Give the keys with `s3://bucket/folder` split into a bucket and the key's first part."""
    # The old sensor took a whole address for a bucket.
    url = re.fullmatch(r"s3://([^/]+)/?(.*?)/?", str(data.get("bucket", "")))
    if not url:
        return dict(data)
    folder, key = url[2], str(data.get("key", ""))
    whole = f"{folder}/{key}" if folder and key else folder or key
    return {**data, "bucket": url[1], "key": whole}


def _document(tables: Mapping[str, Any]) -> str:
    """TOML text: plain keys first, then one section for each table."""
    plain = {key: value for key, value in tables.items() if not isinstance(value, dict)}
    sections = {key: value for key, value in tables.items() if isinstance(value, dict)}
    blocks = [_lines(plain)] if plain else []
    blocks += [f"[{_key(name)}]\n{_lines(table)}" for name, table in sections.items()]
    return "\n".join(blocks)


def _lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{_key(key)} = {toml_value(value)}\n" for key, value in table.items())


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def toml_value(value: Any) -> str:
    """A value as TOML writes it."""
    match value:
        case str():
            # JSON's strings are TOML's basic strings, but for the sign DEL, which TOML wants
            # escaped.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        # Before int, of which bool is one in Python.
        case bool():
            return str(value).lower()
        case list():
            return f"[{', '.join(toml_value(item) for item in value)}]"
        case dict():
            pairs = (f"{_key(key)} = {toml_value(item)}" for key, item in value.items())
            return f"{{ {', '.join(pairs)} }}"
        case int() | float():
            return repr(value)
        case _:  # dates and times
            return str(value.isoformat())
