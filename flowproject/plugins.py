"""Finds the sources that other packages bring, by entry points of the group `flowproject.sources`.

The name of an entry point is the `type` of `[data]`; what it names is a `SourcePlugin`. Nothing is
imported before a project uses the type, or somebody lists all of them.
"""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from flowproject.errors import ConfigError

__all__ = ["GROUP", "SourcePlugin", "plugin", "plugin_names", "plugin_requirements"]

GROUP: Final = "flowproject.sources"


@dataclass(frozen=True, kw_only=True)
class SourcePlugin:
    """What a package says of its source.

    `data` is the dataclass of its keys, a frozen subclass of `flowproject.config.Data` with the
    docs of each key below it. `source` is where its class is, as `package.module:Class`: it is
    imported only when a sensor looks. `requirements` are what steps that run elsewhere need
    installed for it, besides the package itself. `speaks_sql` says whether it runs the queries of a
    project.
    """

    data: type
    source: str
    requirements: tuple[str, ...] = ()
    speaks_sql: bool = False


def plugin_names() -> tuple[str, ...]:
    """The types of source that packages bring which are installed here."""
    return tuple(sorted(_found()))


@cache
def plugin(kind: str) -> SourcePlugin:
    """What the package that brings this type says of it.

    Raises:
        KeyError: if none does.
        ConfigError: if it can't be imported, or is no plugin.
    """
    found = _found()[kind]
    try:
        loaded = found.load()
    except Exception as error:
        # Whatever a stranger's module raises: it is told as what it is, with its package.
        raise _unusable(found, f"{type(error).__name__}: {error}") from error
    if not isinstance(loaded, SourcePlugin):
        raise _unusable(found, f"it is of {type(loaded).__name__!r}")
    if getattr(loaded.data, "type", None) != kind:
        raise _unusable(found, f"its dataclass says type = {getattr(loaded.data, 'type', None)!r}")
    return loaded


def plugin_requirements(kind: str) -> tuple[str, ...]:
    """What steps need installed for this type: nothing if no package brings it."""
    if kind not in _found():
        return ()
    own = _found()[kind].dist
    # The package itself, as it is here: what was tried is what runs elsewhere.
    itself = (f"{own.name}=={own.version}",) if own else ()
    return (*itself, *plugin(kind).requirements)


@cache
def _found() -> dict[str, EntryPoint]:
    return {one.name: one for one in entry_points(group=GROUP)}


def _unusable(found: EntryPoint, why: str) -> ConfigError:
    package = found.dist.name if found.dist else found.value
    return ConfigError(
        f"The source {found.name!r} of package {package!r} can't be used: {why}",
        where=f"Its entry point is {found.name} = {found.value!r} in the group {GROUP!r}",
        allowed="It names a SourcePlugin, and the dataclass of that has this type",
        fix=f"Mend the package, or remove it: `python -m pip uninstall {package}`",
    )
