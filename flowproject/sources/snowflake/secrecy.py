"""Credentials stay here: they are taken out of every text that leaves this package, logs included.

What is known to be one is taken out wherever it stands; what only looks like one, by its looks.
"""

import json
import logging
import re
import threading
import traceback
from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["guard_logs", "keep_secret", "keep_secrets_of", "safe", "scrub"]

_HIDDEN: Final = "***"
_SHORTEST: Final = 4  # of a shorter word nobody could say where it is meant
_SECRET_NAME: Final = re.compile(
    r"(?i)(?!.*_(?:file|in_password|path|url)$).*(?:pass|pwd|token|secret|private_key$)"
)
_LOOKS_SECRET: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"  # a JSON Web Token
    r"|\bver:\d+-hint:[^\s\"',}]+"  # a session's token
    r"|(?i:(?<=password=)|(?<=passcode=)|(?<=token=)|(?<=secret=))[^\s\"'&,})]+"
    r"|(?i:(?<=\"password\": \")|(?<=\"token\": \")|(?<=\"passcode\": \"))[^\"]+"
    r"|(?<=://)[^\s/@'\"]+(?=@)",  # https://USER:PASSWORD@host
    re.DOTALL,
)

_known: set[str] = set()
_lock: Final = threading.Lock()


def keep_secret(values: Iterable[str]) -> None:
    """Take these values out of every text from now on, also as JSON spells them.

    Of a key in several lines, each line is one.
    """
    lines = [line.strip() for value in values for line in [value, *value.splitlines()]]
    in_json = [json.dumps(line, ensure_ascii=way)[1:-1] for line in lines for way in (True, False)]
    with _lock:
        _known.update(form for form in lines + in_json if len(form) >= _SHORTEST)


def keep_secrets_of(settings: Mapping[str, object]) -> None:
    """The same for what is secret among the settings of a connection, by their names."""
    keep_secret(
        value
        for name, value in settings.items()
        if isinstance(value, str) and _SECRET_NAME.match(name)
    )


def safe(text: str) -> str:
    """The text without what is, or may be, a secret: it ends up in logs, cards and the journal."""
    with _lock:
        known = sorted(_known, key=len, reverse=True)
    for secret in known:
        # A password may be a word: as a part of a longer one it is not the password.
        text = re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", _HIDDEN, text)
    return _LOOKS_SECRET.sub(_HIDDEN, text)


def scrub(error: BaseException) -> BaseException:
    """The error, after secrets were taken out of it and of every error behind it."""
    seen: set[int] = set()
    behind: list[BaseException | None] = [error]
    while behind:
        one = behind.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        _scrub_one(one)
        behind += [one.__cause__, one.__context__]
    return error


def guard_logs() -> None:
    """Let nothing that the connector logs hold a secret, nor reach a terminal that asked for none.

    Called whenever a connection is opened: loggers come into being as modules are imported.
    """
    names = [name for name in logging.root.manager.loggerDict if _is_connectors(name)]
    for name in ["snowflake", *names]:
        logging.getLogger(name).addFilter(_GUARD)
    # Without any handler Python writes warnings to stderr: retries, with their tracebacks.
    if not logging.getLogger("snowflake").handlers:
        logging.getLogger("snowflake").addHandler(logging.NullHandler())


class _Guard(logging.Filter):
    """Lets every record pass, after secrets were taken out of it."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = safe(record.getMessage()), ()
        if record.exc_info and record.exc_info[0]:
            record.exc_text = safe("".join(traceback.format_exception(*record.exc_info)).rstrip())
            record.exc_info = None
        return True


_GUARD: Final = _Guard()


def _is_connectors(name: str) -> bool:
    return name == "snowflake" or name.startswith("snowflake.")


def _scrub_one(error: BaseException) -> None:
    error.args = tuple(safe(arg) if isinstance(arg, str) else arg for arg in error.args)
    for name, value in list(vars(error).items()):
        if isinstance(value, str):
            setattr(error, name, safe(value))
