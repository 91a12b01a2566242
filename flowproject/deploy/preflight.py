"""Checks what must be in place before anything can be deployed, and says how to get it."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from flowproject.config import Deploy, DuckDBData, FilesData, Project
from flowproject.contract import Finding
from flowproject.deploy.argo import Argo, RefusedError, connect
from flowproject.deploy.objects import (
    CRON,
    DEFAULT_BUS,
    KINDS,
    SENSOR,
    TEMPLATE,
    Kind,
    hears_one_event_only,
)
from flowproject.errors import DeployError, FlowError, FlowprojectError
from flowproject.events import shown
from flowproject.flowfiles import FlowFile, FlowStep
from flowproject.journal import datastore_root, open_store
from flowproject.metaflow_internals.settings import Setting, setting
from flowproject.packages import requirements
from flowproject.sql import find_query

__all__ = ["check_deployment", "check_local_data", "check_packages", "check_webhook"]

# What `argo` asks of the cluster.
_VERBS: Final = ("get", "list", "create", "update", "delete")
_HOME: Final[Mapping[Kind, str]] = {
    TEMPLATE: "Argo Workflows",
    CRON: "Argo Workflows",
    SENSOR: "Argo Events",
}
_CONFIGURE: Final = "`metaflow configure kubernetes`, or set METAFLOW_{name}"


def check_deployment() -> list[Finding]:
    """Check whether cluster, datastore and event bus are as a deployment needs them."""
    checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("cluster", _check_cluster),
        ("datastore", _check_datastore),
        ("events", _check_events),
        ("metadata", _check_metadata),
    )
    # Each waits for another server.
    with ThreadPoolExecutor() as pool:
        answers = pool.map(lambda check: _guarded(*check), checks)
        return [finding for answer in answers for finding in answer]


def check_webhook() -> str:
    """A sentence if nothing says where deployed sensors are to publish; else empty.

    Metaflow writes the address into the templates when it compiles them.
    """
    # In pods it has the name of the other one, which is for what runs outside the cluster.
    if setting("ARGO_EVENTS_INTERNAL_WEBHOOK_URL"):
        return ""
    name = "ARGO_EVENTS_WEBHOOK_URL"
    return (
        f"{name} is not set: the webhook that sensors publish to from the cluster. Changes would "
        f"be recorded, and wait there. {_CONFIGURE.format(name=name)}"
    )


def _guarded(subject: str, check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(check())
    except FlowprojectError as error:
        return [_error(subject, str(error), error.exit_code)]


def _check_cluster() -> Iterator[Finding]:
    argo = connect()
    known = [kind for kind in KINDS if argo.has_kind(kind)]
    for kind in KINDS:
        if kind not in known:
            yield _error(
                "cluster",
                f"the cluster knows no {kind}: {_HOME[kind]} is not installed there. Install it, "
                "or check that KUBECONFIG names the right cluster",
            )
    if known:
        version = f", Kubernetes {told}" if (told := argo.version()) else ""
        yield _ok("cluster", f"answers{version}; namespaces {_places(argo)}")
        yield _check_permissions(argo, known)
    if CRON in known:
        yield _check_schedules(argo)
    if SENSOR in known:
        yield _check_event_bus(argo)


def _check_schedules(argo: Argo) -> Finding:
    field = argo.schedule_field()
    if field:
        newer = "3.6 or newer" if field == "schedules" else "older than 3.6"
        return _ok("schedules", f"are written as {field!r}: Argo Workflows here is {newer}")
    return _note(
        "schedules",
        f"are written as {_metaflows_field()!r}, as METAFLOW_ARGO_WORKFLOWS_USE_SCHEDULES says: "
        "the definitions on the cluster state no fields, so they don't tell what is kept. Set it "
        "to true for Argo Workflows 3.6 and newer, of which 4 knows nothing else; leave it out for "
        "older ones",
    )


def _metaflows_field() -> str:
    return "schedules" if setting("ARGO_WORKFLOWS_USE_SCHEDULES") else "schedule"


def _check_event_bus(argo: Argo) -> Finding:
    name, where = setting("ARGO_EVENTS_EVENT_BUS") or DEFAULT_BUS, argo.namespaces[SENSOR]
    try:
        bus = argo.event_bus(name)
    except RefusedError:
        return _note("event bus", f"this user may not look at {name!r} in namespace {where!r}")
    if bus is None:
        return _error(
            "event bus",
            f"there is none called {name!r} in namespace {where!r}, so no flow would start on an "
            "event. Make one there, or correct METAFLOW_ARGO_EVENTS_EVENT_BUS or "
            "METAFLOW_ARGO_EVENTS_SENSOR_NAMESPACE",
        )
    if hears_one_event_only(bus):
        return _note(
            "event bus",
            f"{name!r} is of the kind 'nats', on which Argo Events takes one event for a Sensor: "
            "flows that wait for several are refused. One of the kind 'jetstream' takes them",
        )
    return _ok("event bus", f"{name!r} is of the kind {', '.join(bus) or 'default'!r}")


def _check_permissions(argo: Argo, kinds: list[Kind]) -> Finding:
    asked = [(verb, kind) for kind in kinds for verb in _VERBS]
    # One request for each verb and kind: 15 in turn are felt.
    with ThreadPoolExecutor() as pool:
        allowed = list(pool.map(lambda pair: argo.is_allowed(*pair), asked))
    denied = [pair for pair, yes in zip(asked, allowed, strict=True) if not yes]
    if not denied:
        return _ok("permissions", f"{', '.join(_VERBS)} of {', '.join(kinds)}")
    lacking = ", ".join(f"{verb} {kind}" for verb, kind in denied)
    rule = (
        f"--verb={','.join(_VERBS)} --resource={','.join(f'{kind}.argoproj.io' for kind in KINDS)}"
    )
    return _error(
        "permissions",
        f"this user may not: {lacking}. Who administers the cluster can allow it, for each of the "
        f"namespaces {_places(argo)}: `kubectl create role flowproject {rule} --namespace NAME`, "
        "and a rolebinding for this user",
    )


def _check_datastore() -> Iterator[Finding]:
    if setting("DEFAULT_DATASTORE") == "local":
        yield _error(
            "datastore",
            "it is a folder of this machine, which a cluster can't reach. Set "
            "METAFLOW_DEFAULT_DATASTORE to s3, azure or gs, and METAFLOW_DATASTORE_SYSROOT_S3 "
            "(_AZURE, _GS) to where it lies",
        )
        return
    root = datastore_root()
    store, probe = open_store(root), f"flowproject/check-{uuid.uuid4().hex}"
    # Written, and not just listed: who may read a bucket need not be allowed to write.
    store.create(probe, b"flowproject check --deploy")
    store.delete(probe)
    yield _ok("datastore", f"{root} can be written to")


def _check_events() -> Iterator[Finding]:
    needed: dict[Setting, str] = {
        "ARGO_EVENTS_EVENT": "the name of the event that the webhook's event source sends",
        "ARGO_EVENTS_EVENT_SOURCE": "the event source that has the webhook",
        "ARGO_EVENTS_SERVICE_ACCOUNT": "the service account that starts workflows",
    }
    missing = [name for name in needed if not setting(name)]
    for name in missing:
        yield _error("events", f"{name} is not set: {needed[name]}. {_CONFIGURE.format(name=name)}")
    if silent := check_webhook():
        yield _error("events", silent)
    elif not missing:
        yield _ok("events", f"webhook {shown(setting('ARGO_EVENTS_INTERNAL_WEBHOOK_URL'))}")


def _check_metadata() -> Iterator[Finding]:
    metadata = setting("DEFAULT_METADATA")
    if metadata == "local":
        yield _note(
            "metadata",
            "there is no metadata service, so runs on the cluster can't be looked up from "
            "here. Set METAFLOW_DEFAULT_METADATA=service and METAFLOW_SERVICE_URL",
        )
    else:
        yield _ok("metadata", f"{metadata}")


def _places(argo: Argo) -> str:
    return " and ".join(dict.fromkeys(argo.namespaces.values()))


def _note(subject: str, message: str) -> Finding:
    return Finding(subject=subject, state="note", message=message)


def _ok(subject: str, message: str) -> Finding:
    return Finding(subject=subject, state="ok", message=message)


def _error(subject: str, message: str, exit_code: int = DeployError.exit_code) -> Finding:
    return Finding(subject=subject, state="error", message=message, exit_code=exit_code)


# Environments that get packages: of Metaflow's others, none does.
_MAKERS: Final = frozenset({"conda", "fast-bakery", "pypi"})

# What Metaflow installs in every image before a step begins, if the datastore is on S3.
_BROUGHT: Final = frozenset({"boto3", "urllib3"})

_LACKING: Final = (
    "{flow} runs {steps} in an image as it is, which lacks {packages}. {fix}, or, if your image "
    "has all of it, `image_has_packages = true`"
)
_MAKE: Final = (
    'Under [deploy] set `environment = "pypi"` (on Outerbounds "fast-bakery"), which installs it'
)
_ENABLE: Final = "Take `disabled=True` from the decorator of the step"


def check_packages(project: Project, settings: Deploy, flows: Sequence[FlowFile]) -> list[Finding]:
    """Errors for steps that would fail for want of a package; a note of what an image must have."""
    ours = [flow for flow in flows if flow.inherits_ours]
    if settings.image_has_packages and settings.environment not in _MAKERS:
        needed = {
            one for flow in ours for step in flow.steps for one in _lacks(project, flow, step)
        }
        return [_note("packages", f"the image of the steps must have {', '.join(sorted(needed))}")]
    return [error for flow in ours for error in _check_flow(project, settings, flow)]


def check_local_data(project: Project, root: Path) -> list[Finding]:
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
        # A step can switch the environment off for itself.
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
