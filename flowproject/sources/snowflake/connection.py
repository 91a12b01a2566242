"""Opens a connection to Snowflake, and cancels what runs in it.

Where to connect says an Outerbounds integration, `connections.toml`, or the environment.
"""

import logging
import math
import os
from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from flowproject.config.data import SnowflakeData
from flowproject.errors import SourceError
from flowproject.secrecy import guard_logs, keep_secret, keep_secrets_of, safe
from flowproject.sources.snowflake.failures import connecting
from flowproject.sources.snowflake.results import exact_converter

if TYPE_CHECKING:
    from snowflake.connector import SnowflakeConnection

__all__ = ["cancel_queries", "connect", "session"]

_INSTALL: Final = 'python -m pip install "snowflake-connector-python>=4.1,<6"'
_INSTALL_OUTERBOUNDS: Final = "python -m pip install outerbounds"
_LOGIN_SECONDS: Final = 60

_log = logging.getLogger(__name__)

_PLACES: Final = {
    "SNOWFLAKE_ACCOUNT": "account",
    "SNOWFLAKE_USER": "user",
    "SNOWFLAKE_PASSWORD": "password",
    "SNOWFLAKE_AUTHENTICATOR": "authenticator",
    "SNOWFLAKE_TOKEN": "token",
    "SNOWFLAKE_PRIVATE_KEY": "private_key",
    "SNOWFLAKE_PRIVATE_KEY_FILE": "private_key_file",
    "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE": "private_key_file_pwd",
    "SNOWFLAKE_ROLE": "role",
    "SNOWFLAKE_WAREHOUSE": "warehouse",
    "SNOWFLAKE_DATABASE": "database",
    "SNOWFLAKE_SCHEMA": "schema",
    "SNOWFLAKE_HOST": "host",
    "SNOWFLAKE_PORT": "port",
    "SNOWFLAKE_PROTOCOL": "protocol",
}
_RENAMED_IN: Final = 5
_RENAMED: Final = {
    "network_timeout": ("query_timeout", "request_timeout"),
    "private_key_file_pwd": ("private_key_password",),
}
_PROOFS: Final = ("password", "token", "private_key", "private_key_file")


def connect(data: SnowflakeData, *, anew: bool = False) -> "SnowflakeConnection":
    """An open connection; whoever takes it closes it.

    With `anew` Snowflake runs what it is asked, even if it still has the same query's result.

    Raises:
        SourceError: if the connector is not installed, if nothing says where to connect, or if
            Snowflake does not let us in.
    """
    connector = _connector()
    guard_logs("snowflake")
    with connecting(data):
        options = _worded(_options(data, anew=anew), connector.__version__)
        if _major(connector.__version__) < _RENAMED_IN:  # 5 makes Arrow of JSON by itself
            options["converter_class"] = exact_converter()
        if data.integration:
            connection = _integration()(integration=data.integration, **options).cn
        elif data.connection:
            _keep_secrets_of(data.connection)
            connection = connector.connect(connection_name=data.connection, **options)
        else:
            found = _worded(_environment(os.environ), connector.__version__)
            connection = connector.connect(**found | options)
    return connection  # type: ignore[no-any-return]  # Outerbounds' and the connector's are Any


def session(connection: "SnowflakeConnection") -> dict[str, str]:
    """Describe what decides a result and its costs besides the query: user, role, and so on."""
    # Of the connection and not of the configuration: a user's defaults stand in the account.
    names = ("account", "host", "user", "role", "warehouse", "database", "schema")
    return {name: str(getattr(connection, name)) for name in names}


def _connector() -> Any:
    """Snowflake's module, imported no earlier than a query needs it."""
    # It is slow to import, and an extra: most projects have none.
    try:
        import snowflake.connector
    except ImportError as error:
        raise SourceError(
            f"Snowflake's connector is not installed ({error})", fix=f"Install it: {_INSTALL}"
        ) from error
    return snowflake.connector


def _integration() -> Any:
    """What Outerbounds' distribution of Metaflow connects with; Metaflow itself has none."""
    try:
        from metaflow import Snowflake
    except ImportError as error:
        raise SourceError(
            "`integration` needs the Outerbounds distribution, and this Metaflow is not it",
            where="flowproject.toml, integration in [data]",
            allowed="Elsewhere use `connection`, or SNOWFLAKE_ACCOUNT and so on in the environment",
            fix=f"Remove metaflow, and install it: {_INSTALL_OUTERBOUNDS}",
        ) from error
    return Snowflake


def _keep_secrets_of(name: str) -> None:
    """Let nothing out of what Snowflake's own file says of a connection, if it says anything."""
    from snowflake.connector.config_manager import CONFIG_MANAGER

    named = cast("Mapping[str, Mapping[str, object]]", CONFIG_MANAGER["connections"])
    keep_secrets_of(named.get(name, {}))


def _options(data: SnowflakeData, *, anew: bool) -> dict[str, Any]:
    """What every connection is opened with, over what the way of connecting says."""
    named = {"warehouse": data.warehouse, "role": data.role}
    named |= {"database": data.database, "schema": data.schema}
    seconds = math.ceil(data.timeout)
    return {name: value for name, value in named.items() if value} | {
        "paramstyle": "qmark",  # bound by the server; the default is pasted in here
        "arrow_number_to_decimal": True,  # the default makes floats of decimals
        "login_timeout": min(_LOGIN_SECONDS, seconds),
        "network_timeout": seconds,  # the default tries a failing request again for ever
        "session_parameters": {
            # A result must not depend on who asks: DuckDB is told the same.
            "TIMEZONE": "UTC",
            # The server ends what it was not told to cancel, because the task was killed.
            "STATEMENT_TIMEOUT_IN_SECONDS": seconds,
            # A warehouse or database that is not there is said now, not by the first query.
            "CLIENT_VALIDATE_DEFAULT_PARAMETERS": True,
            # By this an account's QUERY_HISTORY tells what our queries cost.
            "QUERY_TAG": "flowproject",
            # No word about errors to anyone but the account itself.
            "CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False,
            # A result that is still there costs no warehouse.
            "USE_CACHED_RESULT": not anew,
        },
    }


def _worded(options: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The options as this version of the connector calls them."""
    # 5 warns of the names that 4 has, and a warning in the log of each run hides others.
    if _major(version) < _RENAMED_IN:
        return dict(options)
    renamed = {new: value for old, value in options.items() for new in _RENAMED.get(old, (old,))}
    # What is left open is a warning. Nothing of ours runs on without its session.
    return renamed | {"enable_server_session_keep_alive_auto_detection": False}


def _major(version: str) -> int:
    return int(version.partition(".")[0])


def _environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """The settings that the environment holds, in the connector's own words."""
    found = {
        setting: environment[name] for name, setting in _PLACES.items() if environment.get(name)
    }
    keep_secrets_of(found)
    _check_complete(found)
    if "private_key" in found:
        passphrase = found.pop("private_key_file_pwd", "")
        keep = {"private_key": _key(found["private_key"], passphrase)}
        return {**found, **keep, "authenticator": "SNOWFLAKE_JWT"}
    if "private_key_file" in found:
        return {**found, "authenticator": "SNOWFLAKE_JWT"}
    if "token" in found:
        return {"authenticator": "OAUTH", **found}
    return found


def _check_complete(found: Mapping[str, str]) -> None:
    missing = [] if "account" in found else ["SNOWFLAKE_ACCOUNT"]
    if "user" not in found and "token" not in found:
        missing.append("SNOWFLAKE_USER")
    if not any(proof in found for proof in _PROOFS) and "authenticator" not in found:
        missing.append("SNOWFLAKE_PASSWORD")
    if missing:
        raise SourceError(
            f"Nothing says how to connect to Snowflake: {', '.join(missing)} not set",
            where="Looked for `integration` in [data] of flowproject.toml, then for `connection` "
            "there, then in the environment",
            allowed="Instead of a password: SNOWFLAKE_PRIVATE_KEY, SNOWFLAKE_PRIVATE_KEY_FILE, or "
            "SNOWFLAKE_TOKEN. In a step, Metaflow's @secrets can set all of them",
            fix='Set them, or name a connection of connections.toml: connection = "..."',
        )


def _key(text: str, passphrase: str) -> bytes:
    """The private key in the one form that every version of the connector takes: PKCS #8, DER."""
    from cryptography.hazmat.primitives import serialization

    pem = text.replace("\\n", "\n").encode()  # how a key in several lines is often put into one
    try:
        key = serialization.load_pem_private_key(pem, passphrase.encode() or None)
    except (TypeError, ValueError) as error:
        raise SourceError(
            f"The private key can't be read: {safe(str(error))}",
            where="SNOWFLAKE_PRIVATE_KEY in the environment",
            allowed="It is the text of a PEM file, its first line being -----BEGIN ... KEY-----; "
            "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE opens it if it is encrypted",
        ) from None
    der = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    keep_secret([b64encode(der).decode()])
    return der


def cancel_queries(connection: "SnowflakeConnection") -> None:
    """Cancel what runs in the session, from a second cursor."""
    # As docs.snowflake.com/en/user-guide/querying-cancel-statements says; dbt does the same. The
    # cursor's own `abort_query` wants the id of a query, which may not have one yet.
    from snowflake.connector import Error

    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT SYSTEM$CANCEL_ALL_QUERIES({int(connection.session_id)})")
    except (Error, OSError, TypeError, AttributeError) as error:  # it may have been closed since
        _log.warning("A query could not be cancelled: %s", safe(str(error)))
