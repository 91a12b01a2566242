"""Names the packages that steps need in environments that Metaflow makes, and adds them there.

A source that brings a client has its line in `_OF_SOURCE`, or its package says what it needs. This
does nothing unless `--environment` makes environments: what runs on a laptop uses what is there.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from typing import Any, Final

import metaflow

from flowproject.metaflow_internals.flows import resolved_attributes
from flowproject.plugins import plugin_requirements

__all__ = [
    "Missing",
    "equip",
    "extras_of",
    "missing_for_import",
    "missing_for_source",
    "requirements",
    "snowflake",
]

# The versions are those of pyproject.toml, and a test says so. They stand here as well because a
# task gets the package `flowproject` as code, without the metadata of an installation.
_OF_STEPS: Final = (
    "boto3>=1.38",
    "numpy>=2.2,<3",
    "obstore>=0.12,<0.13",
    "pyarrow>=22",
    "stamina>=25.1",
    "tzdata>=2025.2",
)
"""What any step may use; what only the command line and the local loop import isn't among it."""

_OF_SOURCE: Final[dict[str, tuple[str, ...]]] = {
    "delta": ("deltalake>=1.6,<2",),
    "duckdb": ("duckdb>=2.0,<3", "sqlglot>=30.22,<31"),
    "iceberg": ("pyiceberg>=0.12,<0.13",),
    "postgres": ("adbc-driver-postgresql>=1.13,<2",),
    "s3": ("urllib3>=2.2,<3",),
    "snowflake": (
        "cryptography>=44",
        "snowflake-connector-python>=4.1,<6",
        "sqlglot>=30.22,<31",
    ),
}
"""What a step needs besides for a source of this type."""

_OF_LOOP: Final = (
    "jinja2>=3.1.6,<4",
    "starlette>=1.0,<2",
    "uvicorn>=0.40,<1",
    "watchfiles>=1.1,<2",
)
"""What `flowproject dev` serves its bus and its page with."""

_IN_BASE: Final = frozenset({"s3"})
"""Sources whose client comes with flowproject itself; each other one has an extra of its name."""

_IMPORTED_AS: Final = {"snowflake-connector-python": "snowflake"}
"""What a package is imported as, where it is not its name."""

_TOLD_LATER: Final = frozenset(
    {"adbc-driver-postgresql", "cryptography", "snowflake-connector-python"}
)
"""What a source says itself that it misses, because without it some of its work can be done."""

_CONDA_NAMES: Final = {"duckdb": "python-duckdb", "tzdata": "python-tzdata"}
"""What conda-forge calls a package, where it isn't the name on PyPI."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


class snowflake(metaflow.StepMutator):  # type: ignore[misc]  # noqa: N801  # used as a decorator
    """Mark a step that needs Snowflake's connector, whatever the configured sources are.

    An environment that Metaflow makes for the step gets it; elsewhere the mark does nothing.
    """

    def mutate(self, mutable_step: Any) -> None:
        """Add the connector to the packages of the step."""
        equip(mutable_step, [])


def equip(step: Any, types: Iterable[str]) -> None:
    """Add to the packages of `step`, a `MutableStep`, what sources of these types need.

    What the step says itself wins, by package. One that needs no environment is left alone.
    """
    said = {name: attributes for name, _, _, attributes in step.decorator_specs}
    # Metaflow puts one of them on every step where it makes environments, and none where not.
    if said.keys().isdisjoint({"conda", "fast_bakery_internal"}):
        return
    kind = _kind(said)
    own = resolved_attributes(said.get(kind, {}))
    packages = {**(own.get("libraries") or {}), **(own.get("packages") or {})}
    missing = _missing(requirements({*types, *(said.keys() & _OF_SOURCE.keys())}), packages)
    if kind == "conda":
        missing = {_CONDA_NAMES.get(name, name): versions for name, versions in missing.items()}
    elif not packages and not own.get("python"):
        # Beside packages that the step names itself, our exact versions might not be solvable.
        missing = _as_here(missing)
    if not missing or str(own.get("disabled")).lower() == "true":
        return
    # `libraries` is Metaflow's older name for `packages`, which has both by now.
    kept = {name: value for name, value in own.items() if value and name != "libraries"}
    step.add_decorator(
        getattr(metaflow, kind),
        deco_kwargs={**kept, "packages": {**missing, **packages}},
        duplicates=step.OVERRIDE,
    )


def requirements(types: Iterable[str]) -> dict[str, str]:
    """Package → versions of all that steps need if the project has sources of these types."""
    lines = chain(
        _OF_STEPS,
        *(_OF_SOURCE.get(one) or plugin_requirements(one) for one in sorted(types)),
    )
    names = {_name(line): line for line in lines}
    return {name: line.removeprefix(name) for name, line in names.items()}


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What of an extra is not installed here, in the parts of a message."""

    extra: str
    lines: tuple[str, ...]
    """Packages with their versions."""

    @property
    def what(self) -> str:
        """What failed."""
        names = " and ".join(repr(_name(line)) for line in self.lines)
        return f"{names} {'is' if len(self.lines) == 1 else 'are'} not installed"

    @property
    def where(self) -> str:
        """Which Python looked for it."""
        return f"Python of {sys.prefix}"

    @property
    def allowed(self) -> str:
        """What brings it."""
        return f"It comes with the extra {self.extra!r}: `flowproject[{self.extra}]`"

    @property
    def fix(self) -> str:
        """The command that installs it, from any index: without the name of flowproject."""
        lines = " ".join(f'"{line}"' for line in self.lines)
        return f"`{sys.executable} -m pip install {lines}`"


def missing_for_source(kind: str) -> Missing | None:
    """What a source of this type can't begin without and is not installed; None if nothing is."""
    needed = [line for line in _OF_SOURCE.get(kind, ()) if _name(line) not in _TOLD_LATER]
    return _missing_here(kind, needed)


def missing_for_import(name: str) -> Missing | None:
    """What is not installed of the extra that brings a module; None if no extra brings it."""
    extras = {"loop": _OF_LOOP, **_OF_SOURCE}
    for extra, lines in extras.items():
        if name.partition(".")[0] in map(_imported_as, lines):
            return _missing_here(extra, lines)
    return None


def _missing_here(extra: str, lines: Iterable[str]) -> Missing | None:
    missing = tuple(line for line in lines if not _is_installed(_imported_as(line)))
    return Missing(extra=extra, lines=missing) if missing else None


def _is_installed(name: str) -> bool:
    try:
        # Found and not imported: a client takes a second to import, and may be needed by nobody.
        return find_spec(name) is not None
    except ValueError:  # what Python says of a module that somebody has forbidden
        return False


def _imported_as(line: str) -> str:
    return _IMPORTED_AS.get(_name(line), _name(line).replace("-", "_"))


def _name(line: str) -> str:
    return re.split("[<>=]", line, maxsplit=1)[0]


def extras_of(source: str, *, deploys: bool) -> list[str]:
    """The extras of flowproject that a project needs which watches this type of source.

    Among them is the Metaflow that is installed here.
    """
    from importlib import metadata

    outerbounds = any(one.name == "outerbounds" for one in metadata.distributions())
    return [
        "outerbounds" if outerbounds else "metaflow",
        "loop",
        *([source] if source in _OF_SOURCE and source not in _IN_BASE else []),
        *(["kubernetes"] if deploys else []),
    ]


def _kind(said: Mapping[str, Any]) -> str:
    """The decorator that our packages belong in: the step's own, because it may have but one."""
    # Metaflow puts an empty @conda on every step, but not where the bakery makes the environments.
    own_conda = "conda" in said and ("fast_bakery_internal" in said or any(said["conda"].values()))
    return "conda" if own_conda and "pypi" not in said else "pypi"


def _missing(ours: Mapping[str, str], theirs: Iterable[str]) -> dict[str, str]:
    """What of our packages isn't among theirs, under its name on PyPI or on conda-forge."""
    named = {_plain(name) for name in theirs}
    return {
        name: versions
        for name, versions in ours.items()
        if named.isdisjoint({name, _CONDA_NAMES.get(name, name)})
    }


def _plain(name: str) -> str:
    """A package's name without channel, extras and address, in one spelling."""
    found = _NAME.match(name.rpartition("::")[2])
    return re.sub(r"[-_.]+", "-", found[0]).lower() if found else name


def _as_here(ours: Mapping[str, str]) -> dict[str, str]:
    """The versions that are installed here: what was tried is what runs elsewhere."""
    from importlib import metadata

    installed = {}
    for name in ours:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = ours[name]
    return installed
