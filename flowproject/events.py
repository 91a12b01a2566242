"""Puts an event on the bus, or says that it failed.

The bus is Argo Events' webhook on a cluster and the local loop on a laptop; both get the same
HTTP POST, which says what Metaflow's `ArgoEvent` would say. What an event says of a change is
decided in `changes.payload`.
"""

import os
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http.client import HTTPException, InvalidURL
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener
from uuid import uuid4

from flowproject.changes.canonical import Json
from flowproject.changes.payload import ascii_json
from flowproject.errors import DeliveryError
from flowproject.metaflow_internals import argo
from flowproject.metaflow_internals.settings import setting

__all__ = ["bus_address", "full_name", "publish", "ready_event", "shown", "turn_event"]

# A tick waits for no more than a few seconds: what the bus does not take now, the next tick sends.
_ATTEMPTS: Final = 4
_FIRST_WAIT: Final = 0.5
_SECONDS: Final = 60
_THIS_MACHINE: Final = ("127.0.0.1", "localhost", "::1")
# Argo Events answers "success"; whatever else is at the address may answer without end.
_LONGEST_ANSWER: Final = 64 * 1024
_REDIRECT: Final = 300
_CLIENT_ERROR: Final = 400
_SIGN_IN_FIRST: Final = (401, 403, 407)
_TOO_MANY_REQUESTS: Final = 429
_SERVER_ERROR: Final = 500

_SIGN_IN: Final = (
    "A sign-in may stand before the bus: set METAFLOW_ARGO_EVENTS_WEBHOOK_AUTH=service if it takes "
    "Metaflow's headers, or METAFLOW_ARGO_EVENTS_WEBHOOK_URL to the bus' own address"
)


def bus_address() -> str:
    """Where events go, or an empty string if no bus is configured.

    Raises:
        DeliveryError: if none is configured inside a deployed workflow, which can't be meant.
    """
    address = str(setting("ARGO_EVENTS_WEBHOOK_URL") or "")
    if not address and os.environ.get("ARGO_WORKFLOW_TEMPLATE"):
        raise DeliveryError(
            "No event bus is configured, so no change can be delivered",
            where="METAFLOW_ARGO_EVENTS_WEBHOOK_URL is empty in this workflow",
            fix="`metaflow configure kubernetes`, then deploy again",
        )
    return address


def full_name(event_name: str, *, project: str, branch: str) -> str:
    """The name that an event has on the bus: a branch never starts the flows of another."""
    return argo.event_name(event_name, project=project, branch=branch)


def turn_event(event_name: str, flow: str) -> str:
    """The event that tells one flow, which takes changes in order, that it is its turn."""
    return f"{event_name}_for_{flow}"


def ready_event(flow: str) -> str:
    """The event by which a flow that looks says that it may be started by a push again."""
    return f"{flow}_is_ready"


def publish(name: str, payload: Mapping[str, Json], *, bus: str = "") -> None:
    """Put an event on the bus, under its full name; `bus` is another than the configured one.

    It says what Metaflow's `ArgoEvent` says, in signs that nothing on the way to a run takes for
    its own. Refused connections, timeouts, 429 and server errors are tried again, with exponential
    backoff and jitter, a bounded number of times.

    Raises:
        DeliveryError: if the bus has not taken it: only a 2xx to the POST itself says so.
    """
    import stamina

    # Once, for all attempts: a bus that got the event twice sees one id.
    body = _body(name, payload)
    address = bus or bus_address()
    try:
        for attempt in stamina.retry_context(
            on=_is_transient, attempts=_ATTEMPTS, wait_initial=_FIRST_WAIT
        ):
            with attempt:
                _reach(address, body)
    # Of urllib's errors the first is also the second, and both are OSErrors: in this order.
    except HTTPError as error:
        raise _failure(name, address, _answer(error), fix=_fix(error)) from error
    except _NotTheBusError as error:
        raise _failure(name, address, str(error), fix=_SIGN_IN) from error
    except (OSError, HTTPException, ValueError) as error:
        raise _failure(name, address, _reason(error), fix="Check that the bus is up") from error


class _NotTheBusError(Exception):
    """Something before the bus took the POST for itself."""


class _NoRedirect(HTTPRedirectHandler):
    """A redirect is no answer of the bus: to follow it would GET a page and call that sent."""

    def redirect_request(self, *_: object) -> None:
        return None


def _body(name: str, payload: Mapping[str, Json]) -> bytes:
    now = time.time()
    fields: dict[str, Json] = {
        "name": name,
        "id": str(uuid4()),
        "timestamp": int(now),
        "utc_date": datetime.fromtimestamp(now, UTC).strftime("%Y%m%d"),
        # Sensors that Metaflow makes for @trigger let through only what says this.
        "generated-by-metaflow": True,
        **payload,
    }
    # Not every server between here and a run reads UTF-8 as such; escapes are read by all.
    return ascii_json({"name": name, "payload": fields}).encode("ascii")


def _reach(address: str, body: bytes) -> None:
    """Post the event; a bus that can't be reached is asked as often as Metaflow would ask it."""
    import stamina

    attempts = max(1, setting("SERVICE_RETRY_COUNT"))
    # A connection that was refused has sent nothing: it may be tried as often as Metaflow does.
    for attempt in stamina.retry_context(
        on=_is_unreachable, attempts=attempts, wait_initial=_FIRST_WAIT
    ):
        with attempt:
            _post(address, body)


def _post(address: str, body: bytes) -> None:
    by_service = setting("ARGO_EVENTS_WEBHOOK_AUTH") == "service"
    service = setting("SERVICE_HEADERS") if by_service else {}
    headers = {"Content-Type": "application/json", **service}
    request = Request(address, method="POST", headers=headers, data=body)  # noqa: S310  # it is configured
    try:
        with build_opener(_NoRedirect, *_direct(address)).open(request, timeout=_SECONDS) as answer:
            answer.read(_LONGEST_ANSWER)
            # A sign-in page answers 200: taken for the bus, every change would be lost without a
            # word.
            if answer.headers.get_content_type() == "text/html":
                raise _NotTheBusError("a page was answered, and an event bus answers none")
    except HTTPError as error:
        # It holds the connection, and is kept in what is raised from it.
        error.close()
        raise


def _direct(address: str) -> list[ProxyHandler]:
    """No proxy can reach this machine's own bus."""
    return [ProxyHandler({})] if urlsplit(address).hostname in _THIS_MACHINE else []


def _is_transient(error: Exception) -> bool:
    if isinstance(error, HTTPError):
        return error.code == _TOO_MANY_REQUESTS or error.code >= _SERVER_ERROR
    if isinstance(error, URLError):
        # The bus may have taken it: sent again it has the same id, and is received once.
        return isinstance(error.reason, TimeoutError)
    return isinstance(error, TimeoutError | ConnectionError)


def _is_unreachable(error: Exception) -> bool:
    return (
        isinstance(error, URLError)
        and not isinstance(error, HTTPError)
        and not isinstance(error.reason, TimeoutError)
    )


def _failure(name: str, address: str, reason: object, *, fix: str) -> DeliveryError:
    return DeliveryError(
        f"The event {name!r} was not taken by the bus: {reason}",
        where=f"Bus {shown(address)}",
        allowed="The change is recorded; it keeps its id and is delivered by the next tick",
        fix=fix,
    )


def _answer(error: HTTPError) -> str:
    location = error.headers.get("Location") if _is_redirect(error) else None
    return f"{error} (it points to {shown(location)})" if location else str(error)


def _fix(error: HTTPError) -> str:
    sign_in = _is_redirect(error) or error.code in _SIGN_IN_FIRST
    return _SIGN_IN if sign_in else "Check that the bus is up"


def _is_redirect(error: HTTPError) -> bool:
    return _REDIRECT <= error.code < _CLIENT_ERROR


def _reason(error: Exception) -> object:
    if isinstance(error, InvalidURL | ValueError):
        return "its address is malformed"  # the error would quote a password in it
    return error.reason if isinstance(error, URLError) else error


def shown(address: str) -> str:
    """The address without what may be a secret in it: user, password and query."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
