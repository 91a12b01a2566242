"""Decide who may ask the page, and what a browser may do with the answer.

The page shows text of strangers (keys, SQL, error messages) and acts on its owner's machine, where
other pages are open: each request must come from this page itself, and nothing that is shown may
run.
"""

import hmac
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from flowproject.dev.server import LOOPBACK

__all__ = ["CARD_HEADERS", "Guard"]

_COOKIE: Final = "flowproject"
# In a Host header these have no business: they would move the end of the name when it is taken
# apart.
_ODD: Final = frozenset("/?#@\\")
_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": _CSP,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
CARD_HEADERS: Final[Mapping[str, str]] = {
    # A card carries scripts of its own, and whatever its flow put there. In a sandbox it has an
    # origin of its own: it reads nothing of the page, and reaches nothing outside itself.
    "Content-Security-Policy": (
        "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; "
        "style-src 'unsafe-inline'; img-src data: blob:; font-src data:; frame-ancestors 'self'"
    )
}


class Guard:
    """Lets requests of the page itself pass, and adds the headers that keep a browser strict.

    With a token, whoever asks must have shown it once: it comes with the address, and then in a
    cookie. Without one the host must be this machine's own name, for a page elsewhere may have its
    name resolved to this address.
    """

    def __init__(self, application: ASGIApp, *, token: str = "") -> None:
        self._application = application
        self._token = token
        self._session = secrets.token_urlsafe(24)
        """What the cookie holds: it goes to whatever else is served on this machine."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, or refuse it."""
        # The application has no routes for WebSockets, so it refuses those by itself.
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal:
            await refusal(scope, receive, _strict(send, scope))
            return
        await self._application(scope, receive, _strict(send, scope))

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _ODD & set(host) or not (self._token or _name(host) in LOOPBACK):
            return _no(f"the host {host!r} is not this machine's own name")
        if _is_foreign(scope["method"], headers):
            return _no("it comes from another page")
        return self._stranger(scope, headers) if self._token else None

    def _stranger(self, scope: Scope, headers: Headers) -> Response | None:
        """Answer who has not shown the token; send on who just did."""
        # Cookies know no ports: two loops on one machine must not take each other's.
        _, port = scope["server"] or ("", 0)
        name = f"{_COOKIE}-{port}"
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        if _same(query.pop("token", ""), self._token):
            path = f"/{scope['path'].lstrip('/')}" + (f"?{urlencode(query)}" if query else "")
            answer = RedirectResponse(path, status_code=303)
            # Lax, not strict: a link to the page, the first one above all, may stand elsewhere.
            answer.set_cookie(name, self._session, httponly=True, samesite="lax")
            return answer
        if _same(_cookie(headers.get("cookie", ""), name), self._session):
            return None
        return _no("open the address with the token, as the terminal shows it")


def _is_foreign(method: str, headers: Headers) -> bool:
    """Whether another page is behind the request, other than by a link that a person followed."""
    origin = headers.get("origin")
    # Scheme apart: a proxy in front may speak TLS, and the host is what tells pages from each
    # other.
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        return True
    # What no browser sends is a program (curl, a script): it can't be made to ask by another page.
    site = headers.get("sec-fetch-site", "same-origin")
    followed = (
        method == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )
    return site not in {"same-origin", "none"} and not followed


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _cookie(text: str, name: str) -> str:
    try:
        found = SimpleCookie(text).get(name)
    except CookieError:
        return ""
    return found.value if found else ""


def _same(given: str, secret: str) -> bool:
    # In a time that does not tell how many letters were right.
    return hmac.compare_digest(given.encode(), secret.encode())


def _no(reason: str) -> Response:
    return PlainTextResponse(f"This request is refused: {reason}.\n", status_code=403)


def _strict(send: Send, scope: Scope) -> Send:
    """Sends the answer with the strict headers, where the answer has none of its own."""
    versioned = scope["path"].startswith("/static/") and scope["query_string"].startswith(b"v=")
    more = {"Cache-Control": "max-age=31536000, immutable"} if versioned else {}

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, text in {**_HEADERS, **more}.items():
                # A card has a policy of its own, which lets its scripts run in a sandbox.
                headers.setdefault(name, text)
        await send(message)

    return sent
