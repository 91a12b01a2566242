"""Turns failures of Snowflake and its connector into errors of ours that tell what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from flowproject.config.data import SnowflakeData
from flowproject.errors import FlowprojectError, QueryError, SourceError
from flowproject.secrecy import safe, scrub
from flowproject.sources import version_gone
from flowproject.sql import Query

__all__ = ["connecting", "explained", "locked_out", "overdue"]

_POSITION: Final = re.compile(r"\bline (\d+) at position (\d+)")
_PREFIX: Final = re.compile(r"^\d{6} \([^)]*\): (?:[0-9a-f-]{36}: )?")
_BLANK: Final = " \t\n\r"

# The server's own numbers, from the connector's source and from Snowflake's documentation.
_KEY_PAIR: Final = (
    "The user's RSA_PUBLIC_KEY belongs to another private key, or this machine's clock is wrong",
    "Set it: ALTER USER ... SET RSA_PUBLIC_KEY = '...'",
)
_TOKEN: Final = ("Tokens live for minutes or hours", "Get a new one into SNOWFLAKE_TOKEN")
_LOGIN: Final[dict[int, tuple[str, str]]] = {
    390100: (
        "User and password are checked together: either may be the wrong one",
        "Correct SNOWFLAKE_USER or SNOWFLAKE_PASSWORD",
    ),
    390144: _KEY_PAIR,
    390189: (
        "A role must exist, and be granted to the user",
        "Correct `role`, or have it granted: GRANT ROLE ... TO USER ...",
    ),
    390201: (
        "It must exist, and the role must have the privilege USAGE on it",
        "Correct `warehouse`, `database` or `schema`, or have it granted: GRANT USAGE ON ...",
    ),
    390197: ("A machine has no second factor", "Use a key pair: SNOWFLAKE_PRIVATE_KEY"),
    390303: _TOKEN,
    390318: _TOKEN,
    390422: ("A network policy decides who may connect", "Have this machine's address allowed"),
    **dict.fromkeys(range(394300, 394307), _KEY_PAIR),
}
_UNKNOWN_ACCOUNT: Final = frozenset([250001, 290403, 290404, 540001])  # 540001: 4.x, at HTTP 403
_NOBODY: Final = re.compile(r"\berror status: 40[34]\b")  # the same in 5.x, in words only
_SESSION: Final = range(390000, 400000)
_NO_OBJECT: Final = frozenset([2003, 2043, 3001, 90105, 90106])
_NO_WAREHOUSE: Final = frozenset([606, 90073])
_NO_VERSION: Final = frozenset([707, 709])  # beyond the retention of a table; an unknown statement
_CANCELLED: Final = 604
_OVERDUE: Final = 630


@contextmanager
def connecting(data: SnowflakeData) -> Iterator[None]:
    """Turn what is raised inside into an error that says where it was tried to connect."""
    # Scrubbed, because the connector's errors quote what they were given, tokens included.
    try:
        yield
    except FlowprojectError:
        raise
    except Exception as error:  # noqa: BLE001  # Outerbounds' own have no class in common
        raise _no_connection(data, error) from scrub(error)


@contextmanager
def explained(query: Query) -> Iterator[None]:
    """Turn what the connector raises inside into an error that names the file, and the place in it.

    A result that breaks off raises what the network or Arrow raises: OSError or ValueError.
    """
    from snowflake.connector import Error

    try:
        yield
    except FlowprojectError:
        raise
    except Error as error:
        raise _failure(query, error) from scrub(error)
    except (OSError, ValueError) as error:
        raise SourceError(
            f"The connection to Snowflake was lost: {safe(str(error))}", where=query.file
        ) from scrub(error)


def overdue(query: Query, seconds: float) -> SourceError:
    """The error of a query that was cancelled because its time was over."""
    return SourceError(
        f"The query took longer than {seconds:g} s, and was cancelled on the server",
        where=f"{query.file}, timeout in [data] of flowproject.toml",
        fix="Make the query cheaper, choose a larger `warehouse`, or raise `timeout`",
    )


def locked_out(data: SnowflakeData) -> SourceError:
    """The error of a connection that was not opened before the time was over."""
    return SourceError(
        f"Snowflake did not let us in within {data.timeout:g} s",
        where=_place(data),
        allowed="No query was asked",
        fix="Let this machine reach the account's address, or raise `timeout` in [data]",
    )


def _no_connection(data: SnowflakeData, error: Exception) -> SourceError:
    number, said = _number(error), _said(error)
    allowed, fix = _LOGIN.get(number, ("", ""))
    if number in _UNKNOWN_ACCOUNT or _NOBODY.search(said):
        allowed = "An account is named without .snowflakecomputing.com: myorg-myaccount"
        fix = "Correct the account, or let this machine reach the address"
    return SourceError(
        f"Snowflake can't be connected to: {said}", where=_place(data), allowed=allowed, fix=fix
    )


def _place(data: SnowflakeData) -> str:
    """The way of connecting, and what `[data]` asks for beside it."""
    if data.integration:
        way = f"the Outerbounds integration {data.integration!r}"
    elif data.connection:
        way = f"the connection {data.connection!r} of connections.toml"
    else:
        way = "what the environment says, SNOWFLAKE_ACCOUNT and so on"
    names = ("role", "warehouse", "database", "schema")
    asked = [f"{name} {value!r}" for name in names if (value := getattr(data, name))]
    return ", ".join([f"Tried with {way}", *asked])


def _failure(query: Query, error: Any) -> FlowprojectError:
    number, said = _number(error), f"Snowflake: {_said(error)}"
    query_id = getattr(error, "sfqid", None)
    where = f"{query.file}, query id {query_id}" if query_id else query.file
    if number in _SESSION:
        allowed, fix = _LOGIN.get(number, ("The next tick logs in anew", ""))
        return SourceError(said, where=where, allowed=allowed, fix=fix)
    if number in _NO_VERSION:
        return version_gone(said, where)
    if number in _NO_OBJECT:
        return SourceError(
            said,
            where=where,
            allowed="What does not exist, and what the role may not see, look the same",
            fix="Correct the name, `database` or `schema`, or have it granted: GRANT SELECT ON ...",
        )
    if number in _NO_WAREHOUSE:
        return SourceError(
            said,
            where=where,
            allowed="The role needs USAGE on the warehouse. One that is suspended must resume by "
            "itself (AUTO_RESUME = TRUE)",
            fix="Set `warehouse` in [data], or start it: ALTER WAREHOUSE ... RESUME",
        )
    if number in (_CANCELLED, _OVERDUE):
        return SourceError(
            said,
            where=where,
            allowed="An administrator may have cancelled it, or set a STATEMENT_TIMEOUT_IN_SECONDS "
            "for the account or the warehouse",
        )
    return _wrong_query(query, error, said, where)


def _wrong_query(query: Query, error: Any, said: str, where: str) -> FlowprojectError:
    from snowflake.connector.errors import DataError, IntegrityError, ProgrammingError

    if not isinstance(error, ProgrammingError | DataError | IntegrityError):
        return SourceError(
            said,
            where=where,
            allowed="The network, or Snowflake itself, failed: the next tick asks again",
        )
    if place := _POSITION.search(said):
        query_id = f" (query id {error.sfqid})" if getattr(error, "sfqid", None) else ""
        at = _position(query, int(place[1]), int(place[2]))
        return query.error(f"{said}{query_id}", at=at)
    return QueryError(said, where=where)


def _position(query: Query, line: int, column: int) -> int:
    """Where in the file a place is that Snowflake names."""
    # A parameter is as long there as here, because its `?` is filled up with blanks.
    text = query.text
    start = len(text) - len(text.lstrip(_BLANK))  # the connector cuts it off
    for _ in range(line - 1):
        start = text.find("\n", start) + 1 or len(text)
    return min(start + column, len(text))


def _number(error: Exception) -> int:
    return getattr(error, "errno", None) or 0


def _said(error: Exception) -> str:
    """The message, without the numbers that the connector puts before it, on one line."""
    # `raw_msg` first: `msg` has the number and the id in it, which stand in our own words already.
    text = getattr(error, "raw_msg", None) or getattr(error, "msg", None) or str(error)
    lines = _PREFIX.sub("", text).replace("SQL compilation error:", "").split("\n")
    return safe(" ".join(line.strip() for line in lines if line.strip())).rstrip(".")
