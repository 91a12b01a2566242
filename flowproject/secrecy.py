"""Takes credentials out of what others may read, in this one place.

Messages, logs, artifacts, comments and reports go through it. What is known to be a secret is taken
out wherever it stands; what only looks like one, by its looks. Data is not: what a source holds
reaches the journal and the flows as it is.
"""

import json
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import unquote

__all__ = [
    "covered",
    "guard_logs",
    "guard_output",
    "hide",
    "keep_password",
    "keep_secret",
    "keep_secrets_of",
    "keep_secrets_of_environment",
    "safe",
    "scrub",
]

_HIDDEN: Final = "***"
_SHORTEST: Final = 4  # of a shorter word nobody could say where it is meant
_SHORTEST_OF_ENVIRONMENT: Final = 8  # where names are others' choice: `CANCEL_TOKEN=true`
_SECRET_NAME: Final = re.compile(
    r"(?i)(?!.*_(?:file|in_password|path|url)$).*(?:pass|pwd|token|secret|private_key$)"
)
_SECRET_VARIABLE: Final = re.compile(
    r"(?i)(?:.*_)?(?:password|passwd|passphrase|passcode|pwd|secret|token|connection_string"
    r"|(?:access|account|api|auth|encryption|master|private|secret|signing|storage)_?key)"
)
_NO_SECRETS: Final = frozenset({"PWD", "OLDPWD"})  # folders, on every Unix
_IN_ADDRESS: Final = re.compile(r"://[^\s/@:'\"]*:([^\s/@'\"]+)@")

_WORD: Final = (
    r"(?:(?:access|account|api|auth|encryption|master|private|secret|signing)[_-]?key"
    r"|password|passwd|passphrase|passcode|pwd|secret|token|credentials?)"
)
_QUOTED: Final = r"'(?:[^'\n]|'')*+'?|\"(?:[^\"\\\n]|\\.)*+\"?"
_LOOKS_SECRET: Final = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\beyJ[\w-]+\.[\w-]+\.[\w-]*"  # a JSON Web Token
    r"|\bver:\d+-hint:[^\s\"',}]+"  # a session's token of Snowflake
    r"|(?<=://)(?<!abfs://)(?<!abfss://)[^\s/@'\"]+(?=@)"  # https://USER:PASSWORD@host
    r"|(?<=\?)[\w.~%+-]+=[^\s'\"]+"  # https://host/path?SIGNATURE
    # password=..., PASSWORD => '...', "token": "..."
    rf"|(?P<key>(?i:{_WORD})\d{{0,3}}[\"'`]?\s{{0,4}}(?:=>|:=|=(?!=)|:(?=\s{{0,4}}[\"']))\s{{0,4}})"
    rf"(?P<value>{_QUOTED}|(?!:\w)[^\s\"'&,;)}}\]]+)"
    # SQL: SECRET '...', IDENTIFIED BY '...'; a parser's "unexpected token 'x'" is none
    r"|(?P<clause>(?i:(?<!unexpected )(?<!invalid )(?:password|passcode|secret|token|"
    r"identified\s{1,4}by))\s{1,4})(?P<literal>'(?:[^'\n]|'')*+'?)",
    re.DOTALL,
)

# Of the process, and not of a connection: an error of one may quote what another uses.
_known: set[str] = set()
_lock: Final = threading.Lock()


def keep_secret(values: Iterable[str]) -> None:
    """Take these values out of every text from now on, also as JSON spells them.

    Of a key in several lines, each line is one.
    """
    lines = [line.strip() for value in values for line in [value, *value.splitlines()]]
    # A secret in an artifact or a payload is spelled as JSON spells it, with escapes.
    in_json = [json.dumps(line, ensure_ascii=way)[1:-1] for line in lines for way in (True, False)]
    # Sensors are looked at side by side.
    with _lock:
        _known.update(form for form in lines + in_json if len(form) >= _SHORTEST)


def keep_password(password: str) -> None:
    """Keep secret the password of an address, of which a driver may show a part.

    That is what stands between two signs that mean something there.
    """
    parts = re.split(r"[/@?#:\s%&]", password)
    keep_secret(filter(None, [password, unquote(password), *map(unquote, parts)]))


def keep_secrets_of(settings: Mapping[str, object]) -> None:
    """Keep secret what is so among the settings of a connection, by their names."""
    keep_secret(
        value
        for name, value in settings.items()
        if isinstance(value, str) and _SECRET_NAME.match(name)
    )


def keep_secrets_of_environment() -> None:
    """Keep secret what is so in the environment, by the names of variables.

    Also the passwords in addresses, such as that of a proxy.
    """
    for name, value in os.environ.items():
        if len(value) < _SHORTEST_OF_ENVIRONMENT or value in _known:
            continue
        if _SECRET_VARIABLE.fullmatch(name) and name not in _NO_SECRETS:
            keep_secret([value])
        elif "://" in value and "@" in value:
            keep_secret(_IN_ADDRESS.findall(value))


def hide(text: str) -> str:
    """The text without what is known to be a secret; all else is as it was."""
    with _lock:
        # The longest first: of one that has another in it, the rest would stay.
        known = sorted(_known, key=len, reverse=True)
    for secret in known:
        if secret in text:
            # A password may be a word: as a part of a longer one it is not the password.
            text = re.sub(rf"(?<![^\W_]){re.escape(secret)}(?![^\W_])", _HIDDEN, text)
    return text


def safe(text: str) -> str:
    """The text without what is, or looks like, a secret: for messages, logs and cards."""
    return _LOOKS_SECRET.sub(_hidden, hide(text))


def covered(text: str) -> str:
    """The text as long as it was, with a `*` for each sign of what `safe` takes out of it.

    For who shows a part of it: of a secret that is cut, nobody could say that it is one.
    """
    with _lock:
        known = [*_known]
    spans = [one.span() for secret in known for one in re.finditer(re.escape(secret), text)]
    spans += [_secret_part(found) for found in _LOOKS_SECRET.finditer(text)]
    signs = list(text)
    for start, end in spans:
        signs[start:end] = ["\n" if sign == "\n" else "*" for sign in signs[start:end]]
    return "".join(signs)


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
        # A traceback shows both, and an exception may be its own cause in a circle.
        behind += [one.__cause__, one.__context__]
    return error


def guard_output() -> None:
    """Let this process print no secret from here on, tracebacks included.

    The end of what a container printed stands in its Workflow's status, for whoever may read that.
    """
    keep_secrets_of_environment()
    # Twice in one process would mask twice, and slow every print.
    if not isinstance(sys.stdout, _Output):
        sys.stdout = _Output(sys.stdout)
    if not isinstance(sys.stderr, _Output):
        sys.stderr = _Output(sys.stderr)


def guard_logs(name: str) -> None:
    """Let nothing that a library logs hold a secret, nor reach a terminal that asked for none.

    To be called again as modules are imported: their loggers come into being then.
    """
    names = [one for one in logging.root.manager.loggerDict if one.startswith(f"{name}.")]
    for one in [name, *names]:
        logging.getLogger(one).addFilter(_GUARD)
    # Without any handler Python writes warnings to stderr: retries, with their tracebacks.
    if not logging.getLogger(name).handlers:
        logging.getLogger(name).addHandler(logging.NullHandler())


class _Output:
    """A stream that takes secrets out of what is written to it, and is otherwise as it was."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(safe(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Guard(logging.Filter):
    """Lets every record pass, after secrets were taken out of it."""

    def filter(self, record: logging.LogRecord) -> bool:
        # Joined first: a secret may come to stand in the text by one of its arguments.
        record.msg, record.args = safe(record.getMessage()), ()
        if record.exc_info and record.exc_info[0]:
            record.exc_text = safe("".join(traceback.format_exception(*record.exc_info)).rstrip())
            record.exc_info = None
        return True


_GUARD: Final = _Guard()


def _hidden(found: re.Match[str]) -> str:
    """What stands in the place of what looks like a secret: its name, and its quotes, stay."""
    kept = found["key"] or found["clause"]
    if not kept:
        return _HIDDEN
    value = found["value"] or found["literal"]
    quote = value[0] if value[0] in "'\"" else ""
    return f"{kept}{quote}{_HIDDEN}{quote}"


def _secret_part(found: re.Match[str]) -> tuple[int, int]:
    """Where what looks like a secret begins and ends, without its name."""
    name = "value" if found["key"] else "literal" if found["clause"] else 0
    return found.span(name)


def _scrub_one(error: BaseException) -> None:
    error.args = tuple(safe(arg) if isinstance(arg, str) else arg for arg in error.args)
    # Clients keep the statement or the address beside the message, and pickles take it along.
    for name, value in list(vars(error).items()):
        if isinstance(value, str):
            setattr(error, name, safe(value))
