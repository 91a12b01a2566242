"""Tells people of an incident: by webhook, Slack, email or a command.

What an incident is, and whether it was told, is decided in `sensing.incidents`. Nothing here has
data in it, and no address is ever shown: those of webhooks and mail servers are secrets.
"""

import json
import os
import smtplib
import ssl
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from flowproject.config.model import Alerts
from flowproject.errors import DeliveryError
from flowproject.secrecy import keep_secret

__all__ = ["Alert", "channels", "tell"]

_FORMAT: Final = 1
# Seconds: an alert is told by a tick, which has more to do, and the next one tries again.
_SECONDS: Final = 10.0
_COMMAND_SECONDS: Final = 30.0
_PORTS: Final = {"smtp": 587, "smtps": 465}
_THIS_MACHINE: Final = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, kw_only=True)
class Alert:
    """What is told of an incident: when it begins, and when it is over."""

    project: str
    branch: str
    sensor: str
    incident: str
    """`failing`, `undelivered` or `silent`."""
    is_over: bool
    since: str
    """When it began, as an ISO moment."""
    at: str
    run: str
    """The run that noticed it."""
    text: str
    """A sentence that says it."""

    @property
    def subject(self) -> str:
        """A line that says it in short."""
        what = "over" if self.is_over else self.incident
        return f"{self.project} ({self.branch}): sensor {self.sensor} {what}"

    @property
    def words(self) -> str:
        """All of it for people."""
        return f"{self.text} Noticed by {self.run or 'a tick'}; `flowproject history {self.sensor}`"

    def to_json(self) -> dict[str, Any]:
        """All of it for machines."""
        return {"v": _FORMAT, **asdict(self)}


def channels(settings: Alerts) -> tuple[str, ...]:
    """The names of the ways that are configured."""
    return tuple(name for name in _WAYS if getattr(settings, _KEYS[name]))


def tell(channel: str, settings: Alerts, alert: Alert, root: Path) -> None:
    """Tell of an alert by one of the ways.

    Raises:
        DeliveryError: if nobody was told, with why; without an address.
    """
    try:
        _WAYS[channel](settings, alert, root)
    except HTTPError as error:
        with error:
            raise _failure(channel, f"the server answered {error.code}") from None
    except subprocess.TimeoutExpired:
        raise _failure(channel, f"it took more than {_COMMAND_SECONDS:g} s") from None
    except smtplib.SMTPException as error:
        # Its words may quote an address or what was sent.
        raise _failure(channel, f"the mail server refused it: {type(error).__name__}") from None
    except (OSError, HTTPException, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise _failure(channel, f"it could not be reached: {why}") from None


def _failure(channel: str, why: str) -> DeliveryError:
    return DeliveryError(
        f"Nobody was told by {channel}: {why}",
        where="flowproject.toml, [alerts]",
        allowed="The next tick tries again",
        fix=f"Check what `{_KEYS[channel]}` names",
    )


def _by_webhook(settings: Alerts, alert: Alert, _: Path) -> None:
    _post(_address("webhook", settings.webhook), {**alert.to_json(), "words": alert.words})


def _by_slack(settings: Alerts, alert: Alert, _: Path) -> None:
    _post(_address("slack", settings.slack), {"text": alert.words})


def _by_email(settings: Alerts, alert: Alert, _: Path) -> None:
    message = EmailMessage()
    message["Subject"] = alert.subject
    message["From"] = settings.email_from
    message["To"] = ", ".join(settings.email_to)
    message.set_content(alert.words)
    server = urlsplit(_address("email", settings.smtp))
    with _mail_server(server) as connection:
        if server.username:
            connection.login(unquote(server.username), unquote(server.password or ""))
        connection.send_message(message)


def _mail_server(server: SplitResult) -> smtplib.SMTP:
    host, safely = server.hostname or "", ssl.create_default_context()
    port = server.port or _PORTS.get(server.scheme, 0)
    if server.scheme not in _PORTS or not host:
        raise _failure("email", "its server is not written smtp://HOST or smtps://HOST")
    if server.scheme == "smtps":
        return smtplib.SMTP_SSL(host, port, timeout=_SECONDS, context=safely)
    connection = smtplib.SMTP(host, port, timeout=_SECONDS)
    connection.ehlo()
    if connection.has_extn("starttls"):
        connection.starttls(context=safely)
    elif server.username and host not in _THIS_MACHINE:
        connection.close()
        raise _failure("email", "its server has no TLS, and would be sent a password in clear")
    return connection


def _by_command(settings: Alerts, alert: Alert, root: Path) -> None:
    # No shell, and nothing of it among the arguments: what it is told comes by its input.
    done = subprocess.run(  # noqa: S603  # the words of the project's own configuration
        settings.command,
        cwd=root,
        input=json.dumps({**alert.to_json(), "words": alert.words}),
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=_COMMAND_SECONDS,
        check=False,
    )
    if done.returncode:
        raise _failure("command", f"it ended with exit code {done.returncode}")


def _address(channel: str, variable: str) -> str:
    address = os.environ.get(variable, "").strip()
    if not address:
        raise _failure(channel, f"the variable {variable} is not set where the tick runs")
    keep_secret([address])
    return address


class _StrictRedirects(HTTPRedirectHandler):
    """A redirect is no answer: to follow it would GET a page and call that told."""

    def redirect_request(self, *_: object) -> None:
        return None


def _post(address: str, document: Mapping[str, Any]) -> None:
    if urlsplit(address).scheme not in ("http", "https"):
        message = "not an address"
        raise ValueError(message)
    body, kind = json.dumps(document).encode(), {"Content-Type": "application/json"}
    request = Request(address, body, kind)  # noqa: S310  # its scheme is checked above
    build_opener(_StrictRedirects).open(request, timeout=_SECONDS).close()


_KEYS: Final = {"webhook": "webhook", "slack": "slack", "email": "email_to", "command": "command"}
_WAYS: Final[Mapping[str, Callable[[Alerts, Alert, Path], None]]] = {
    "webhook": _by_webhook,
    "slack": _by_slack,
    "email": _by_email,
    "command": _by_command,
}
