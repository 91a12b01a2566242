"""Recognises the file of the scaffold that this project replaces, refuses it, and translates it.

Nothing of it is read silently: its keys meant other things (an empty `payload_key` was a key).
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from flowproject.errors import ConfigError

__all__ = ["refuse_old_scaffold", "toml_value"]

# Old key → the key of today.
_RENAMED: Final = {"storage_type": "type", "template": "query"}
# The scaffold split what is [data] now in two, and each half named some keys otherwise.
_MOVED: Final = "data_kwargs"


def refuse_old_scaffold(raw: Mapping[str, Any], file: str) -> None:
    """Raise `ConfigError`, with the lines to write instead, if the file has the old shape."""
    data, moved = _section(raw, "data"), _section(raw, _MOVED)
    edits = [
        f"Rename [{name}] {old} to {new}."
        for name, section in (("data", data), (_MOVED, moved))
        for old, new in _RENAMED.items()
        if old in section
    ]
    if _MOVED in raw:
        edits.append(f"Move the keys of [{_MOVED}] into [data], and remove [{_MOVED}].")
    if not edits:
        return
    # A person copies what the message shows: all else that the file says stays in it.
    tables = {"data": {}, **raw} | {"data": _new_data({**data, **moved})}
    tables.pop(_MOVED, None)
    raise ConfigError(
        f"{file} has the shape of the old scaffold, which is not read any more.\n"
        + "".join(f"  - {edit}\n" for edit in edits)
        + f"With these edits the file reads:\n\n{_document(tables)}\n"
        + "Check it with `flowproject check`"
    )


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
