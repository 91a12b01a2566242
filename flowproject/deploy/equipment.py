"""Whether the steps of flows find what the configured sources need where they run."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from flowproject.config import Deploy, DuckDBData, FilesData, Project
from flowproject.contract import Finding
from flowproject.errors import FlowError, FlowprojectError
from flowproject.flowfiles import FlowFile, FlowStep
from flowproject.packages import requirements
from flowproject.sql import find_query

__all__ = ["check_equipment", "check_reach"]

_MAKERS: Final = frozenset({"conda", "fast-bakery", "pypi"})
"""Environments that get packages: of Metaflow's others, none does."""

_BROUGHT: Final = frozenset({"boto3", "urllib3"})
"""What Metaflow installs in every image before a step begins, if the datastore is on S3."""

_LACKING: Final = (
    "{flow} runs {steps} in an image as it is, which lacks {packages}. {fix}, or, if your image "
    "has all of it, `image_has_packages = true`"
)
_MAKE: Final = (
    'Under [deploy] set `environment = "pypi"` (on Outerbounds "fast-bakery"), which installs it'
)
_ENABLE: Final = "Take `disabled=True` from the decorator of the step"


def check_equipment(project: Project, settings: Deploy, flows: Sequence[FlowFile]) -> list[Finding]:
    """Errors for steps that would fail for want of a package; a note of what an image must have."""
    ours = [flow for flow in flows if flow.inherits_ours]
    if settings.image_has_packages and settings.environment not in _MAKERS:
        needed = {
            one for flow in ours for step in flow.steps for one in _lacks(project, flow, step)
        }
        return [_note(f"the image of the steps must have {', '.join(sorted(needed))}")]
    return [error for flow in ours for error in _check_flow(project, settings, flow)]


def check_reach(project: Project, root: Path) -> list[Finding]:
    """Notes for sensors of what lies on this machine, where pods run on others.

    DuckDB reads local files if there is no address in a query. A query that can't be read is told
    of elsewhere.
    """
    notes = []
    for sensor in project.sensors.values():
        data = sensor.data
        if isinstance(data, FilesData):
            place = f"the folder {data.path!r}"
        elif isinstance(data, DuckDBData) and not _has_address(data, root):
            place = f"the file {data.database!r}" if data.database else "files that its SQL names"
        else:
            continue
        message = (
            f"watches {place}, and a pod has only what its image or a volume brings. Watch a "
            "bucket or a database, or mount it (`persistent_volume_claims` of @kubernetes)"
        )
        notes.append(Finding(subject=f"sensor {sensor.name}", state="note", message=message))
    return notes


def _has_address(data: DuckDBData, root: Path) -> bool:
    try:
        return "://" in (data.database or find_query(root, data.query).text)
    except FlowprojectError:
        return True


def _check_flow(project: Project, settings: Deploy, flow: FlowFile) -> Iterator[Finding]:
    made = settings.environment in _MAKERS
    lacking: dict[tuple[str, ...], list[str]] = {}
    for step in flow.steps:
        if step.is_bare or not made:
            lacking.setdefault(_lacks(project, flow, step), []).append(step.name)
    for packages, names in lacking.items():
        message = _LACKING.format(
            flow=flow.name,
            steps=f"step{'s' * (len(names) > 1)} {', '.join(names)}",
            packages=", ".join(packages),
            fix=_ENABLE if made else _MAKE,
        )
        yield Finding(
            subject=flow.path.name, state="error", message=message, exit_code=FlowError.exit_code
        )


def _lacks(project: Project, flow: FlowFile, step: FlowStep) -> tuple[str, ...]:
    """What the step needs in an image that has nothing but Python."""
    every = (project.data, *(sensor.data for sensor in project.sensors.values()))
    names = set(requirements({data.type for data in every if data} | {*step.marks}))
    return tuple(sorted(names - (_BROUGHT if flow.datastore.startswith("s3:") else set())))


def _note(message: str) -> Finding:
    return Finding(subject="packages", state="note", message=message)
