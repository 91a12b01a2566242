"""Lists, reads, writes and deletes Argo's objects on the cluster that Metaflow is configured for.

The one home of Kubernetes' client: its exceptions become `DeployError` here. Nothing is decided
about the objects.
"""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from flowproject.deploy.objects import (
    CRON,
    KINDS,
    SENSOR,
    TEMPLATE,
    ArgoObject,
    DeployedObject,
    Kind,
    ScheduleField,
)
from flowproject.errors import DeployError
from flowproject.metaflow_internals.argo import kubernetes_client
from flowproject.metaflow_internals.settings import setting

__all__ = ["Argo", "RefusedError", "StaleError", "connect"]

# The only version that Argo Workflows and Argo Events have had.
_GROUP: Final = "argoproj.io"
_VERSION: Final = "v1alpha1"
# Names and annotations are a twentieth of a template: a cluster may hold thousands of them.
_METADATA_ONLY: Final = (
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
)

_PAGE: Final = 500
# Seconds to connect, and for an answer.
_PATIENCE: Final = (10, 60)

# Of one request, and of one write that others get in the way of.
_ATTEMPTS: Final = 5

# Seconds before the third attempt of a request; twice as long before each further one.
_BACKOFF: Final = 0.5

# What passes: the server is busy, being upgraded, or has lost its own store for a moment.
_OVERLOADED: Final = (429, 500, 502, 503, 504)

_UNAUTHORIZED: Final = 401
_FORBIDDEN: Final = 403
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_GONE: Final = 410
_TOO_LARGE: Final = 413
_NEEDED: Final = object()
_INSTALL: Final = "python -m pip install kubernetes"

# A schedule that is asked about, and never kept: it needs a time that every version takes.
_NEVER: Final = "0 0 1 1 *"
# A field that no Argo has: a definition that keeps it keeps whatever it is sent.
_UNKNOWN: Final = "keepsWhateverItIsSent"
# What a server says whose admission webhooks can't tell a rehearsal from a write.
_NO_DRY_RUN: Final = "does not support dry run"

# What of a project becomes an object of the kind.
_TO_CHANGE: Final[Mapping[Kind, str]] = {
    TEMPLATE: "Change what it names: the flow's decorators, or `environment` and `with` under "
    "[deploy]",
    CRON: "Change the flow's @schedule, or `schedule` of its sensors",
    SENSOR: "Change the flow's @trigger, or the settings METAFLOW_ARGO_EVENTS_*",
}


class StaleError(DeployError):
    """The object is not any more what it was when the deployment was planned."""


class _ExpiredError(DeployError):
    """The rest of a listing can't be had: the server kept where we were for some minutes only."""


class RefusedError(DeployError):
    """The cluster does not take this, and would not take it a second time either."""

    forbidden = False
    """Whether it is this user whose request is not taken."""


class Argo:
    """Argo Workflows and Argo Events on a cluster, in the namespaces that Metaflow uses."""

    def __init__(self, client: Any, workflows: str, sensors: str) -> None:
        self._client = client
        self._api = client.CustomObjectsApi(_patient(client))
        self.namespaces: dict[Kind, str] = {
            kind: sensors if kind == SENSOR else workflows for kind in KINDS
        }

    def find(self) -> list[DeployedObject]:
        """Every object of every kind that is there; where a kind is not installed there is none."""
        api = _patient(self._client)
        # On a client of its own: the other requests need objects whole.
        api.set_default_header("Accept", _METADATA_ONLY)
        listing = self._client.CustomObjectsApi(api)
        # Each kind is a listing of its own, and a second on a cluster of thousands.
        with ThreadPoolExecutor(max_workers=len(KINDS)) as pool:
            kinds = pool.map(lambda kind: self._list_whole(listing, kind), KINDS)
            return [found for kind in kinds for found in kind]

    def read(self, kind: Kind, name: str, namespace: str = "") -> dict[str, Any] | None:
        """The whole object, or None if there is none."""
        place = self._place(kind, namespace)
        answer: dict[str, Any] | None = self._ask(
            f"The {KINDS[kind]} {name!r} could not be read",
            lambda: self._api.get_namespaced_custom_object(**place, name=name, **_timeout()),
            absent=None,
        )
        # A server writes null for what a client left out, and a fingerprint must not tell the two
        # apart.
        return None if answer is None else _without_nulls(answer)

    def write(self, wanted: ArgoObject, version: str | None) -> Mapping[str, Any]:
        """Create the object, or replace the one of that `version`; None replaces any.

        The object that was replaced, if any was; with a `version` that is not read.

        Raises:
            StaleError: if it was written or removed meanwhile.
        """
        # Between our reading and our writing the controller notes its status on the object, which
        # makes our version an old one.
        for _ in range(_ATTEMPTS):
            there = (
                (self.read(wanted.kind, wanted.name, wanted.namespace) or {})
                if version is None
                else {"metadata": {"resourceVersion": version}}
            )
            try:
                self._put(wanted, there.get("metadata", {}).get("resourceVersion", ""))
            except StaleError:
                if version is not None:
                    raise
            else:
                return there
        raise DeployError(
            f"The {KINDS[wanted.kind]} {wanted.name!r} is being written by others all the time: "
            f"{_ATTEMPTS} times between our reading and our writing",
            where=f"Namespace {wanted.namespace}",
            fix="Deploy again when the other deployment is done",
        )

    def dry_run(self, wanted: ArgoObject, version: str) -> None:
        """Ask the cluster whether it would take the object, and write nothing.

        `version` is that of the object which it replaces; empty if there is none.

        Raises:
            RefusedError: if it would not.
        """
        try:
            # The server's own dry run: it checks what a write checks, definitions and admission
            # webhooks included, and keeps nothing.
            self._put(wanted, version, dry_run="All")
        except StaleError:
            return  # Others write it meanwhile: the write itself will find out.
        except RefusedError as error:
            if _NO_DRY_RUN not in str(error):
                raise

    def schedule_field(self) -> ScheduleField | None:
        """Where the cluster keeps the times of a schedule; None if its definitions don't tell.

        A dry run asks with all there ever was. A definition that states its fields drops what it
        does not know; one that states none keeps everything, also what no Argo has ever known.
        """
        asked = {"schedule": _NEVER, "schedules": [_NEVER], _UNKNOWN: _NEVER}
        body = {
            "apiVersion": f"{_GROUP}/{_VERSION}",
            "kind": "CronWorkflow",
            "metadata": {"name": f"flowproject-{uuid.uuid4().hex}"},
            "spec": {**asked, "workflowSpec": {"workflowTemplateRef": {"name": "flowproject"}}},
        }
        try:
            answer = self._ask(
                "The cluster does not say how it keeps schedules",
                lambda: self._api.create_namespaced_custom_object(
                    **self._place(CRON), body=body, dry_run="All", **_timeout()
                ),
                creating=CRON,
            )
        except RefusedError:
            return None  # What is wanted in earnest is rehearsed, and tells why.
        kept = (answer or {}).get("spec") or {}
        if _UNKNOWN in kept:
            return None
        return "schedules" if "schedules" in kept else "schedule" if "schedule" in kept else None

    def event_bus(self, name: str) -> Mapping[str, Any] | None:
        """The specification of the event bus that sensors use; None if there is no such bus."""
        place = {**self._place(SENSOR), "plural": "eventbus"}
        answer = self._ask(
            f"The event bus {name!r} could not be read",
            lambda: self._api.get_namespaced_custom_object(**place, name=name, **_timeout()),
            absent=None,
        )
        return None if answer is None else _without_nulls(answer.get("spec") or {})

    def version(self) -> str:
        """The version of Kubernetes; empty where a proxy in front of it has no such page."""
        answer = self._ask(
            "The cluster does not say its version",
            lambda: self._client.VersionApi(_patient(self._client)).get_code(**_timeout()),
            absent=None,
        )
        return str(answer.git_version) if answer else ""

    def dry_run_removal(self, there: DeployedObject) -> None:
        """Ask the cluster whether it would let go of the object, and remove nothing.

        Raises:
            RefusedError: if it would not.
        """
        try:
            self.delete(there.kind, there.name, there.namespace, dry_run="All")
        except RefusedError as error:
            if _NO_DRY_RUN not in str(error):
                raise

    def delete(self, kind: Kind, name: str, namespace: str = "", **options: str) -> bool:
        """Remove the object, and return whether it was there."""
        place = self._place(kind, namespace)
        answer = self._ask(
            f"The {KINDS[kind]} {name!r} could not be removed",
            lambda: self._api.delete_namespaced_custom_object(
                **place, name=name, **options, **_timeout()
            ),
            absent=None,
        )
        return answer is not None

    def has_kind(self, kind: Kind) -> bool:
        """Whether the cluster has this kind of object at all, which Argo brings.

        What this user may not list is there, for all that can be told.
        """
        place = self._place(kind)
        try:
            return None is not self._ask(
                f"The {KINDS[kind]}s on the cluster could not be listed",
                lambda: self._api.list_namespaced_custom_object(**place, limit=1, **_timeout()),
                absent=None,
            )
        except RefusedError as error:
            if not error.forbidden:
                raise
            return True

    def is_allowed(self, verb: str, kind: Kind) -> bool:
        """Whether the cluster lets us do this to objects of the kind."""
        namespace = self.namespaces[kind]
        asked = {"group": _GROUP, "resource": kind, "verb": verb, "namespace": namespace}
        review = self._ask(
            "The cluster does not say what is allowed",
            lambda: self._client.AuthorizationV1Api().create_self_subject_access_review(
                {"spec": {"resourceAttributes": asked}}, **_timeout()
            ),
        )
        return bool(review.status and review.status.allowed)

    def _list_whole(self, listing: Any, kind: Kind) -> list[DeployedObject]:
        """All pages; from the first again if the server has forgotten where we were."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                return [*self._list(listing, kind)]
            except _ExpiredError:
                if not left:
                    raise
        return []

    def _list(self, listing: Any, kind: Kind) -> Iterator[DeployedObject]:
        token = None
        while True:
            paging = {"limit": _PAGE, **({"_continue": token} if token else {})}
            page = self._ask(
                f"The {KINDS[kind]}s on the cluster could not be listed",
                lambda paging=paging: listing.list_namespaced_custom_object(  # type: ignore[misc]
                    **self._place(kind), **paging, **_timeout()
                ),
                absent={},
            )
            # A server answers `items: null` when it is asked for the metadata of nothing.
            for item in page.get("items") or []:
                yield _found(kind, item.get("metadata") or {})
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return

    def _put(self, wanted: ArgoObject, version: str, **options: str) -> None:
        place = self._place(wanted.kind, wanted.namespace)
        what = f"The {KINDS[wanted.kind]} {wanted.name!r} could not be written"
        if not version:
            self._ask(
                what,
                lambda: self._api.create_namespaced_custom_object(
                    **place, body=wanted.body, **options, **_timeout()
                ),
                creating=wanted.kind,
            )
            return
        # With the version the server refuses the write if anybody wrote in between.
        body = {**wanted.body, "metadata": {**wanted.body["metadata"], "resourceVersion": version}}
        self._ask(
            what,
            lambda: self._api.replace_namespaced_custom_object(
                **place, name=wanted.name, body=body, **options, **_timeout()
            ),
            replacing=wanted.kind,
        )

    def _place(self, kind: Kind, namespace: str = "") -> dict[str, str]:
        return {
            "group": _GROUP,
            "version": _VERSION,
            "namespace": namespace or self.namespaces[kind],
            "plural": kind,
        }

    def _ask(
        self,
        what: str,
        question: Callable[[], Any],
        *,
        absent: Any = _NEEDED,
        creating: Kind = "",
        replacing: Kind = "",
    ) -> Any:
        """The cluster's answer; `absent` is what to take for it if there is no such object."""
        from kubernetes.client.rest import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return question()
        except ApiException as error:
            # Also what the server answers of a kind that is not installed.
            if error.status == _NOT_FOUND and absent is not _NEEDED:
                return absent
            raise _explained(what, error, creating, replacing) from error
        except (HTTPError, OSError) as error:
            raise _unreachable(self._client.Configuration.get_default_copy().host, error) from error


def connect() -> Argo:
    """The cluster that Metaflow is configured for; nothing is sent yet.

    Raises:
        DeployError: if the package kubernetes is missing or no cluster is configured.
    """
    try:
        from kubernetes.config.config_exception import ConfigException
    except ImportError as error:
        raise DeployError(
            "Deploying needs the package 'kubernetes', which is not installed", fix=f"`{_INSTALL}`"
        ) from error
    try:
        client = kubernetes_client()
    except ConfigException as error:
        raise DeployError(
            f"No Kubernetes cluster is configured here: {error}",
            where="KUBECONFIG, or ~/.kube/config",
            fix="Put a kubeconfig there, or run `outerbounds configure` on Outerbounds",
        ) from error
    workflows = setting("KUBERNETES_NAMESPACE") or "default"
    return Argo(client, workflows, setting("ARGO_EVENTS_SENSOR_NAMESPACE") or workflows)


def _timeout() -> dict[str, Any]:
    return {"_request_timeout": _PATIENCE}


def _found(kind: Kind, metadata: Mapping[str, Any]) -> DeployedObject:
    return DeployedObject(
        kind=kind,
        name=metadata.get("name") or "",
        namespace=metadata.get("namespace") or "",
        version=metadata.get("resourceVersion") or "",
        annotations=metadata.get("annotations") or {},
    )


def _without_nulls(value: Any) -> Any:
    """Leave out what is null, which to the API means no more than what is absent."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value


def _patient(client: Any) -> Any:
    """A client that asks again, a few times, when the server is busy or just being upgraded."""
    from urllib3 import Retry

    settings = client.Configuration.get_default_copy()
    settings.retries = Retry(
        total=_ATTEMPTS - 1,
        connect=1,
        read=1,
        status_forcelist=_OVERLOADED,
        # A write as well: done twice, it says that it was done, or that it is stale.
        allowed_methods=None,
        backoff_factor=_BACKOFF,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    return client.ApiClient(settings)


def _explained(what: str, error: Any, creating: Kind, replacing: Kind) -> DeployError:
    """The error of the client, which has no types, as one of ours."""
    reason = _message(error.body) or error.reason or "no reason given"
    said = f"Kubernetes said {error.status}"
    if error.status == _CONFLICT or (replacing and error.status == _NOT_FOUND):
        return StaleError(
            f"{what}: another deployment or teardown was there first ({reason})",
            fix="Deploy again",
        )
    if error.status == _GONE:
        return _ExpiredError(
            f"{what}: {reason}",
            where=f"{said}, {_ATTEMPTS} times",
            allowed="The listing takes longer than the server remembers it",
            fix="Do it again when the cluster is less busy",
        )
    if error.status in _OVERLOADED:
        return DeployError(
            f"{what}: {reason}",
            where=f"{said}, {_ATTEMPTS} times",
            allowed="The API server is busy, or out of order: nothing is wrong with what was sent",
            fix="Do it again when `kubectl get --raw /readyz` says ok",
        )
    refused = RefusedError(
        f"{what}: {reason}",
        where=said,
        allowed="It would say so again",
        fix=_way_out(error.status, creating, creating or replacing),
    )
    refused.forbidden = error.status in (_UNAUTHORIZED, _FORBIDDEN)
    return refused


def _way_out(status: int, creating: Kind, kind: Kind) -> str:
    if status == _UNAUTHORIZED:
        return "Log in to the cluster again: `kubectl auth whoami` says as whom you are known"
    if status == _FORBIDDEN:
        return "`flowproject check --deploy` says what this user may not do"
    if status == _NOT_FOUND and creating:
        setting = (
            "METAFLOW_ARGO_EVENTS_SENSOR_NAMESPACE"
            if kind == SENSOR
            else "METAFLOW_KUBERNETES_NAMESPACE"
        )
        return (
            f"Create the namespace, or correct {setting}; `flowproject check --deploy` says "
            "whether Argo is installed there"
        )
    if status == _TOO_LARGE:
        return "Make the flow smaller: fewer steps, shorter docstrings, fewer `with` under [deploy]"
    return _TO_CHANGE.get(kind, "`flowproject check --deploy`")


def _message(body: Any) -> str:
    """What the server says in words; nothing if the answer is a proxy's page."""
    try:
        return str(json.loads(body)["message"])
    except (ValueError, TypeError, KeyError):
        return ""


def _unreachable(host: str, error: Exception) -> DeployError:
    cause = getattr(error, "reason", None) or error
    return DeployError(
        f"The Kubernetes cluster does not answer: {type(cause).__name__}",
        where=host,
        allowed="Nothing more was sent",
        fix="Check `kubectl cluster-info`, a VPN, and whether a token has run out",
    )
