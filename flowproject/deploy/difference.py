"""What differs between what is deployed and what was compiled, in words. Pure.

Values are shown where they can't be secrets: images, resources, schedules. Of everything else, the
environment of steps above all, only the name is told.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from flowproject.config import FILE
from flowproject.deploy.compiled import PACKAGE, Compiled, essence_of
from flowproject.deploy.objects import SENSOR, TEMPLATE

__all__ = ["differences"]

_MOST: Final = 5
_SHOWN: Final = ("concurrencyPolicy", "image", "resources", "schedule", "schedules", "timezone")
_DOUBLED: Final = ("podMetadata", "workflowMetadata")
"""Metaflow writes the annotations of a template into these as well."""

_NOTIFYING: Final = ("notify-", "exit-hook-hack")
"""How the names of templates begin that Metaflow makes for notifications."""

_WORDS: Final = {
    "metaflow/cron": "schedule",
    "metaflow/dag": "steps",
    "metaflow/notify_on_error": "notifications",
    "metaflow/notify_on_success": "notifications",
    "metaflow/parameters": "parameters",
    "metaflow/tags": "tags",
    "metaflow/triggers": "triggers",
    "workflows.argoproj.io/description": "description",
    "workflows.argoproj.io/title": "title",
}


def differences(compiled: Compiled, bodies: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """A few words for each thing that differs; `bodies` are what the cluster has, by kind."""
    template = bodies.get(TEMPLATE, {})
    found = [*_code(compiled, template)] if template else []
    package, tags = _package(template), _tags(template)
    for kind, wanted in compiled.essence.items():
        if kind in bodies:
            had = essence_of(bodies[kind], package, tags)
            found += _annotations(had, wanted) if kind == TEMPLATE else []
            found += _specification(kind, had.get("spec", {}), wanted.get("spec", {}))
    told = tuple(dict.fromkeys(found))
    more = (f"and {len(told) - _MOST} more",) if len(told) > _MOST else ()
    return told[:_MOST] + more


def _code(compiled: Compiled, template: Mapping[str, Any]) -> Iterator[str]:
    """What of the files that travel is not as it was: the kinds of files, each with its names."""
    annotations = template["metadata"].get("annotations") or {}
    had = _parsed(annotations.get("flowproject/files", ""), {})
    new = compiled.files
    names = {name: name for name in new if name in had and had[name] != new[name]}
    names |= {name: f"{name} (new)" for name in new if had and name not in had}
    names |= {name: f"{name} (gone)" for name in had if name not in new}
    kinds: dict[str, list[str]] = {}
    for name, told in names.items():
        kind = _kind_of(name, compiled.flow.path.name)
        kinds.setdefault(kind, []).append(told.removeprefix(PACKAGE))
    for kind, changed in sorted(kinds.items()):
        more = f" and {len(changed) - _MOST} more" if len(changed) > _MOST else ""
        yield f"{kind}: {', '.join(changed[:_MOST])}{more}"


def _kind_of(name: str, flow_file: str) -> str:
    if name.startswith(PACKAGE):
        return "packages"
    if name == FILE:
        return "configuration"
    if name == flow_file:
        return "flow"
    return "SQL" if name.startswith("sql/") else "code"


def _annotations(had: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    one, other = had.get("annotations", {}), wanted.get("annotations", {})
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return [_WORDS.get(name, name) for name in sorted(names)]


def _specification(kind: str, had: Any, wanted: Any) -> list[str]:
    """What differs, with the steps that it concerns together."""
    steps: dict[str, list[str]] = {}
    for path, text in _paths(had, wanted, ()):
        where = path[1] if path[0] == "templates" and len(path) > 1 else ""
        if path[0] == "hooks" or where.startswith(_NOTIFYING):
            steps.setdefault("notifications", [])
        elif path[0] not in _DOUBLED:
            steps.setdefault(text, []).append(where)
    if kind == SENSOR:
        return ["triggers"] if steps else []
    return [f"{', '.join(filter(None, where))}: {what}".lstrip(": ") for what, where in _few(steps)]


def _few(steps: Mapping[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    for text, where in steps.items():
        yield text, list(dict.fromkeys(where))


def _paths(had: Any, wanted: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Where the two differ, and a word for it."""
    if had == wanted:
        return
    one, other = _keyed(had), _keyed(wanted)
    if one is None or other is None or (path and path[-1] in {"command", "args"}):
        yield path, _said(path, had, wanted)
        return
    for key in dict.fromkeys([*one, *other]):
        yield from _paths(one.get(key), other.get(key), (*path, str(key)))


def _keyed(value: Any) -> Mapping[str, Any] | None:
    """A mapping, or a list whose items have names, as a mapping; None for all else."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list) and all(isinstance(i, Mapping) and "name" in i for i in value):
        return {item["name"]: item for item in value}
    return None


def _said(path: tuple[str, ...], had: Any, wanted: Any) -> str:
    inner = path[2:] if path[0] == "templates" else path
    name = ".".join(part for part in inner if part not in {"container", "value"}) or "step"
    if any(part in _SHOWN for part in path):
        return f"{name} {_short(had)} → {_short(wanted)}"
    return f"{name}{' (new)' if had is None else ' (gone)' if wanted is None else ''}"


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return "none" if value in (None, "") else text[:60]


def _package(template: Mapping[str, Any]) -> tuple[str, ...]:
    """Address and hash of the code package of a template on the cluster."""
    for step in template.get("spec", {}).get("templates", []):
        known = {one["name"]: one.get("value") for one in step.get("container", {}).get("env", [])}
        if url := known.get("METAFLOW_CODE_URL"):
            return url, known.get("METAFLOW_CODE_SHA") or ""
    return ()


def _tags(template: Mapping[str, Any]) -> tuple[str, ...]:
    annotations = template.get("metadata", {}).get("annotations", {})
    return tuple(_parsed(annotations.get("metaflow/tags", ""), []))


def _parsed(text: str, otherwise: Any) -> Any:
    """The JSON in an annotation, of the type of `otherwise`, which stands for any other text."""
    try:
        found = json.loads(text)
    except ValueError:
        return otherwise
    return found if isinstance(found, type(otherwise)) else otherwise
