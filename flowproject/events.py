"""The one home of Metaflow's `ArgoEvent`: putting an event on the bus, or saying that it failed.

The bus is Argo Events' webhook on a cluster and the local loop on a laptop; both get the same
HTTP POST. What an event says is decided in `changes.payload`.
"""

import os
from collections.abc import Mapping
from http.client import InvalidURL
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from metaflow.exception import MetaflowException

from flowproject.changes.canonical import Json
from flowproject.errors import DeliveryError

__all__ = ["bus_address", "full_name", "publish", "shown"]

_ATTEMPTS: Final = 4
_FIRST_WAIT: Final = 0.5
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500


def bus_address() -> str:
    """Where events go, or an empty string if no bus is configured.

    Raises:
        DeliveryError: if none is configured inside a deployed workflow, which can't be meant.
    """
    from metaflow.metaflow_config import ARGO_EVENTS_WEBHOOK_URL

    if not ARGO_EVENTS_WEBHOOK_URL and os.environ.get("ARGO_WORKFLOW_TEMPLATE"):
        raise DeliveryError(
            "No event bus is configured, so no change can be delivered",
            where="METAFLOW_ARGO_EVENTS_WEBHOOK_URL is empty in this workflow",
            fix="`metaflow configure kubernetes`, then deploy again",
        )
    return str(ARGO_EVENTS_WEBHOOK_URL or "")


def full_name(event_name: str, *, project: str, branch: str) -> str:
    """The name that an event has on the bus: a branch never starts the flows of another."""
    from metaflow.plugins.namespaced_events import _make_namespaced_event_name

    return str(_make_namespaced_event_name(event_name, project, branch))


def publish(name: str, payload: Mapping[str, Json]) -> None:
    """Put an event on the bus, under its full name.

    Refused connections are tried again by Metaflow; timeouts, 429 and server errors here, with
    exponential backoff and jitter, a bounded number of times.

    Raises:
        DeliveryError: if the bus has not taken it.
    """
    import stamina
    from metaflow.integrations import ArgoEvent

    event = ArgoEvent(name=name, url=bus_address())
    try:
        for attempt in stamina.retry_context(
            on=_is_transient, attempts=_ATTEMPTS, wait_initial=_FIRST_WAIT
        ):
            with attempt:
                event.publish(payload=dict(payload), ignore_errors=False)
    except MetaflowException as error:
        raise DeliveryError(
            f"The event {name!r} was not taken by the bus: {_reason(error)}",
            where=f"Bus {shown(bus_address())}",
            allowed="The change is recorded; it keeps its id and is delivered by the next tick",
            fix="Check that the bus is up",
        ) from error


def _is_transient(error: Exception) -> bool:
    cause = error.__context__
    if isinstance(cause, HTTPError):
        return cause.code == _TOO_MANY_REQUESTS or cause.code >= _SERVER_ERROR
    if isinstance(cause, URLError):
        return isinstance(cause.reason, TimeoutError)
    return isinstance(cause, TimeoutError | ConnectionError)


def _reason(error: Exception) -> Any:  # whatever the cause says of itself
    cause = error.__context__
    if isinstance(cause, InvalidURL):
        return "its address is malformed"  # the cause would quote a password in it
    if isinstance(cause, URLError) and not isinstance(cause, HTTPError):
        return cause.reason
    return cause or error


def shown(address: str) -> str:
    """The address without what may be a secret in it: user, password and query."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
