"""The one home of Kubernetes: Argo's objects on the cluster that Metaflow is configured for.

Listed, read, written and deleted here, and nowhere decided about. Exceptions of the client end
here: they become `DeployError`.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from flowproject.deploy.objects import KINDS, SENSOR, Found, Kind, Object
from flowproject.errors import DeployError

__all__ = ["Argo", "StaleError", "connect"]

_GROUP: Final = "argoproj.io"
_VERSION: Final = "v1alpha1"
_METADATA_ONLY: Final = (
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
)
"""Names and annotations are a twentieth of a template: a cluster may hold thousands of them."""

_PAGE: Final = 500
_PATIENCE: Final = (10, 60)
"""Seconds to connect, and for an answer."""

_ATTEMPTS: Final = 5
_NOT_FOUND: Final = 404
_CONFLICT: Final = 409
_FORBIDDEN: Final = (401, 403)
_NEEDED: Final = object()
_INSTALL: Final = "python -m pip install kubernetes"


class StaleError(DeployError):
    """The object is not any more what it was when the deployment was planned."""


class Argo:
    """Argo Workflows and Argo Events on a cluster, in the namespaces that Metaflow uses."""

    def __init__(self, client: Any, workflows: str, sensors: str) -> None:
        self._client = client
        self._api = client.CustomObjectsApi()
        self.namespaces: dict[Kind, str] = {
            kind: sensors if kind == SENSOR else workflows for kind in KINDS
        }

    def find(self) -> list[Found]:
        """Every object of every kind that is there; where a kind is not installed there is none."""
        api = self._client.ApiClient()
        api.set_default_header("Accept", _METADATA_ONLY)
        listing = self._client.CustomObjectsApi(api)
        return [found for kind in KINDS for found in self._list(listing, kind)]

    def read(self, kind: Kind, name: str, namespace: str = "") -> dict[str, Any] | None:
        """The whole object, or None if there is none."""
        place = self._place(kind, namespace)
        answer: dict[str, Any] | None = self._ask(
            f"The {KINDS[kind]} {name!r} could not be read",
            lambda: self._api.get_namespaced_custom_object(**place, name=name, **_timeout()),
            absent=None,
        )
        return None if answer is None else _without_nulls(answer)

    def write(self, wanted: Object, version: str | None) -> None:
        """Create the object, or replace the one of that `version`; None replaces any.

        Raises:
            StaleError: if it was written or removed meanwhile.
        """
        for _ in range(_ATTEMPTS):
            current = self._version(wanted) if version is None else version
            try:
                self._put(wanted, current)
            except StaleError:
                if version is not None:
                    raise
            else:
                return
        raise DeployError(
            f"The {KINDS[wanted.kind]} {wanted.name!r} is being written by others all the time",
            where=f"Namespace {wanted.namespace}",
            fix="Deploy again",
        )

    def delete(self, kind: Kind, name: str, namespace: str = "") -> bool:
        """Whether there was such an object to remove."""
        place = self._place(kind, namespace)
        answer = self._ask(
            f"The {KINDS[kind]} {name!r} could not be removed",
            lambda: self._api.delete_namespaced_custom_object(**place, name=name, **_timeout()),
            absent=None,
        )
        return answer is not None

    def knows(self, kind: Kind) -> bool:
        """Whether the cluster has this kind of object at all, which Argo brings."""
        place = self._place(kind)
        return None is not self._ask(
            f"The {KINDS[kind]}s on the cluster could not be listed",
            lambda: self._api.list_namespaced_custom_object(**place, limit=1, **_timeout()),
            absent=None,
        )

    def may(self, verb: str, kind: Kind) -> bool:
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

    def _list(self, listing: Any, kind: Kind) -> Iterator[Found]:
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

    def _version(self, wanted: Object) -> str:
        current = self.read(wanted.kind, wanted.name, wanted.namespace)
        return str(current["metadata"].get("resourceVersion", "")) if current else ""

    def _put(self, wanted: Object, version: str) -> None:
        place = self._place(wanted.kind, wanted.namespace)
        what = f"The {KINDS[wanted.kind]} {wanted.name!r} could not be written"
        if not version:
            self._ask(
                what,
                lambda: self._api.create_namespaced_custom_object(
                    **place, body=wanted.body, **_timeout()
                ),
            )
            return
        body = {**wanted.body, "metadata": {**wanted.body["metadata"], "resourceVersion": version}}
        self._ask(
            what,
            lambda: self._api.replace_namespaced_custom_object(
                **place, name=wanted.name, body=body, **_timeout()
            ),
        )

    def _place(self, kind: Kind, namespace: str = "") -> dict[str, str]:
        return {
            "group": _GROUP,
            "version": _VERSION,
            "namespace": namespace or self.namespaces[kind],
            "plural": kind,
        }

    def _ask(self, what: str, question: Callable[[], Any], *, absent: Any = _NEEDED) -> Any:
        """The cluster's answer; `absent` is what to take for it if there is no such object."""
        from kubernetes.client.rest import ApiException
        from urllib3.exceptions import HTTPError

        try:
            return question()
        except ApiException as error:
            if error.status == _NOT_FOUND and absent is not _NEEDED:
                return absent
            raise _explained(what, error) from error
        except (HTTPError, OSError) as error:
            raise _unreachable(self._client.Configuration.get_default_copy().host, error) from error


def connect() -> Argo:
    """The cluster that Metaflow is configured for; nothing is sent yet.

    Raises:
        DeployError: if the package kubernetes is missing or no cluster is configured.
    """
    try:
        from kubernetes.config.config_exception import ConfigException
        from metaflow.plugins.kubernetes.kubernetes_client import KubernetesClient
    except ImportError as error:
        raise DeployError(
            "Deploying needs the package 'kubernetes', which is not installed", fix=f"`{_INSTALL}`"
        ) from error
    from metaflow.metaflow_config import ARGO_EVENTS_SENSOR_NAMESPACE, KUBERNETES_NAMESPACE

    try:
        client = KubernetesClient().get()
    except ConfigException as error:
        raise DeployError(
            f"No Kubernetes cluster is configured here: {error}",
            where="KUBECONFIG, or ~/.kube/config",
            fix="Put a kubeconfig there, or run `outerbounds configure` on Outerbounds",
        ) from error
    workflows = KUBERNETES_NAMESPACE or "default"
    return Argo(client, workflows, ARGO_EVENTS_SENSOR_NAMESPACE or workflows)


def _timeout() -> dict[str, Any]:
    return {"_request_timeout": _PATIENCE}


def _found(kind: Kind, metadata: Mapping[str, Any]) -> Found:
    return Found(
        kind=kind,
        name=metadata.get("name") or "",
        namespace=metadata.get("namespace") or "",
        version=metadata.get("resourceVersion") or "",
        annotations=metadata.get("annotations") or {},
    )


def _without_nulls(value: Any) -> Any:
    """The same without what is null, which to the API means no more than what is absent."""
    if isinstance(value, Mapping):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value if item is not None]
    return value


def _explained(what: str, error: Any) -> DeployError:  # kubernetes has no types
    reason = _message(error.body) or error.reason or "no reason given"
    if error.status in (_CONFLICT, _NOT_FOUND):
        return StaleError(
            f"{what}: another deployment or teardown was there first ({reason})",
            fix="Deploy again",
        )
    fix = "`flowproject check --deploy`" if error.status in _FORBIDDEN else "Deploy again"
    return DeployError(f"{what}: {reason}", where=f"Kubernetes said {error.status}", fix=fix)


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
