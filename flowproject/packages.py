"""Names the packages that steps need in environments that Metaflow makes, and adds them there.

A source that brings a client has its line in `_OF_SOURCE`. This does nothing unless `--environment`
makes environments: what runs on a laptop uses what is installed there.
"""

import re
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final

import metaflow

from flowproject.metaflow_internals.flows import resolved_attributes

__all__ = ["equip", "requirements", "snowflake"]

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
    "s3": ("urllib3>=2.2,<3",),
    "snowflake": (
        "cryptography>=44",
        "snowflake-connector-python>=4.1,<6",
        "sqlglot>=30.22,<31",
    ),
}
"""What a step needs besides for a source of this type."""

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
    lines = chain(_OF_STEPS, *(_OF_SOURCE.get(one, ()) for one in sorted(types)))
    names = {re.split("[<>=]", line, maxsplit=1)[0]: line for line in lines}
    return {name: line.removeprefix(name) for name, line in names.items()}


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
