"""Snowflake on 127.0.0.1: fakesnow over HTTP, asked through the real connector.

One server for a session, and a database for each test. What fakesnow leaves out and our tests need
stands here: logins that fail, sessions with a number, queries that are cancelled or take too long,
and time travel to tables that a test has kept.
"""

import asyncio
import gzip
import itertools
import json
import logging
import os
import re
import threading
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

import pytest

from tests.connector5 import complete_connector

_SIZES: Final = ("compressedSize", "uncompressedSize")
_PATIENCE: Final = 60.0
_NUMBERS: Final = itertools.count(1)
_AT: Final = re.compile(r"(\w+) AT\(STATEMENT => '([^']*)'\)")
_CANCEL: Final = re.compile(r"SYSTEM\$CANCEL_ALL_QUERIES\((\d+)\)")

SETTINGS: Final = {
    "SNOWFLAKE_ACCOUNT": "fakesnow",
    "SNOWFLAKE_USER": "fake",
    "SNOWFLAKE_PASSWORD": "snow-and-ice",
    "SNOWFLAKE_HOST": "127.0.0.1",
    "SNOWFLAKE_PROTOCOL": "http",
    "SNOWFLAKE_DISABLE_PLATFORM_DETECTION": "true",  # no request to a machine's own address
}
_FOREIGN: Final = (
    "SNOWFLAKE_AUTHENTICATOR",
    "SNOWFLAKE_TOKEN",
    "SNOWFLAKE_PRIVATE_KEY",
    "SNOWFLAKE_PRIVATE_KEY_FILE",
    "SNOWFLAKE_PRIVATE_KEY_PASSPHRASE",
    "SNOWFLAKE_ROLE",
    "SNOWFLAKE_WAREHOUSE",
    "SNOWFLAKE_DATABASE",
    "SNOWFLAKE_SCHEMA",
    "SNOWFLAKE_HOME",
)

# The account's own things. A warehouse that is asleep stays so: AUTO_RESUME = FALSE.
ROLES: Final = ("READER",)
WAREHOUSES: Final = ("SMALL", "ASLEEP")
GOOD_TOKEN: Final = "good-token-0123456789"  # noqa: S105  # opens nothing but this server
OLD_TOKEN: Final = "old-token-0123456789"  # noqa: S105  # the same


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A statement as it arrived: its text, the values bound to it, and who asked."""

    session: int
    sql: str
    bindings: dict[str, Any]


@dataclass(kw_only=True)
class _Session:
    number: int
    database: str
    warehouse: str
    limit: float
    interrupt: Callable[[], None]
    cancelled: bool = False
    overdue: bool = False


@dataclass(kw_only=True)
class Snow:
    """The running server."""

    port: int = 0
    public_key: Any = None
    asked: list[Asked] = field(default_factory=list)
    logins: list[dict[str, Any]] = field(default_factory=list)
    cancelled: list[int] = field(default_factory=list)
    locked: set[str] = field(default_factory=set)
    running: int = 0
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    """By the id of a statement: what tables are called now as they were for it."""
    chunk_rows: int = 0  # of a result, in one piece of it; 0: all rows in one
    _chunks: dict[str, bytes] = field(default_factory=dict)
    _databases: set[str] = field(default_factory=set)
    _sessions: dict[str, _Session] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, str]:
        """The environment in which a source finds this server."""
        return SETTINGS | {"SNOWFLAKE_PORT": str(self.port)}

    def database(self, name: str = "") -> str:
        """The name of a new, empty database, in whose schema PUBLIC tests put their tables."""
        name = name or f"DB_{os.getpid()}_{next(_NUMBERS)}"
        self._databases.add(name)
        self.run(name, "SELECT 1")
        return name

    def run(self, database: str, *statements: str) -> list[Any]:
        """The rows of the last statement, run in the schema PUBLIC of a database."""
        from fakesnow.server import shared_fs

        rows: list[Any] = []
        with closing(shared_fs.connect(database, "PUBLIC")) as connection:
            for statement in statements:
                rows = connection.cursor().execute(statement).fetchall()
        return rows

    def queries(self, database: str) -> list[Asked]:
        """What was asked that names something of a database."""
        return [asked for asked in self.asked if database in asked.sql]

    # ------------------------------------------------------------------ what the real server does

    def _refusal(self, data: dict[str, Any], query: Any) -> tuple[str, str] | None:
        """The number and words with which Snowflake refuses a login; None if it lets it in."""
        known = {"roleName": ROLES, "warehouse": WAREHOUSES, "databaseName": self._databases}
        unknown = {
            what
            for what, names in known.items()
            if (name := query.get(what)) and name.upper() not in names
        }
        if wrong := self._wrong_proof(data):
            return wrong
        if "roleName" in unknown:
            return "390189", (
                f"Role '{query['roleName']}' specified in the connect string does not exist or not "
                "authorized. Contact your local system administrator, or attempt to login with "
                "another role, e.g. PUBLIC."
            )
        if unknown and data["SESSION_PARAMETERS"].get("CLIENT_VALIDATE_DEFAULT_PARAMETERS"):
            word = "warehouse" if "warehouse" in unknown else "database"
            return "390201", f"The requested {word} does not exist or not authorized."
        return None

    def _wrong_proof(self, data: dict[str, Any]) -> tuple[str, str] | None:
        match data.get("AUTHENTICATOR", "SNOWFLAKE"):
            case "OAUTH" if data["TOKEN"] == OLD_TOKEN:
                return "390318", f"OAuth access token expired. [{data['TOKEN']}]"
            case "OAUTH":
                right = data["TOKEN"] == GOOD_TOKEN
                return None if right else ("390303", "Invalid OAuth access token.")
            case "SNOWFLAKE_JWT":
                return (
                    None if self._is_signed(data["TOKEN"]) else ("390144", "JWT token is invalid.")
                )
        given = {"LOGIN_NAME": data.get("LOGIN_NAME"), "PASSWORD": data.get("PASSWORD")}
        right = {"LOGIN_NAME": "fake", "PASSWORD": SETTINGS["SNOWFLAKE_PASSWORD"]}
        return (
            None if given == right else ("390100", "Incorrect username or password was specified.")
        )

    def _is_signed(self, token: str) -> bool:
        import jwt

        try:
            jwt.decode(token, self.public_key, algorithms=["RS256"])
        except jwt.PyJWTError:
            return False
        return True

    async def login(self, request: Any) -> Any:
        """Let in whoever may come in, with a session that has a number."""
        import fakesnow.server
        from starlette.responses import JSONResponse

        data = (await _body(request))["data"]
        self.logins.append(data)
        if data["ACCOUNT_NAME"] != SETTINGS["SNOWFLAKE_ACCOUNT"]:
            return JSONResponse({}, status_code=403)  # the real one: an address that nobody has
        if refusal := self._refusal(data, request.query_params):
            return _failed(*refusal)
        response = await fakesnow.server.login_request(request)
        told = json.loads(response.body)
        token = told["data"]["token"]
        session = _Session(
            number=next(_NUMBERS),
            database=request.query_params.get("databaseName", ""),
            warehouse=request.query_params.get("warehouse", ""),
            limit=float(data["SESSION_PARAMETERS"].get("STATEMENT_TIMEOUT_IN_SECONDS", _PATIENCE)),
            interrupt=fakesnow.server.sessions[token]._duck_conn.interrupt,
        )
        self._sessions[token] = session
        told["data"] |= {
            "sessionId": session.number,
            "masterToken": token,
            "validityInSeconds": 3600,
            "masterValidityInSeconds": 14400,
        }
        return JSONResponse(told)

    async def query(self, request: Any) -> Any:
        """Answer a statement, unless it is cancelled, takes too long, or has no warehouse."""
        import fakesnow.server

        session = self._sessions[fakesnow.server.to_token(request)]
        body = await _body(request)
        sql = body["sqlText"]
        self.asked.append(
            Asked(session=session.number, sql=sql, bindings=body.get("bindings") or {})
        )
        if found := _CANCEL.search(sql):
            return self._cancel(int(found[1]))
        if refusal := self._unwilling(session, sql):
            return _failed(*refusal)
        if _AT.search(sql):
            unknown = [found[2] for found in _AT.finditer(sql) if found[2] not in self.versions]
            if unknown:
                return _failed("000709", f"Statement {unknown[0]} not found", "02000")
            body["sqlText"] = _AT.sub(lambda found: self.versions[found[2]][found[1].upper()], sql)
            request._body = gzip.compress(json.dumps(body).encode())
        session.cancelled = session.overdue = False
        timer = asyncio.get_running_loop().call_later(session.limit, self._time_out, session)
        self.running += 1
        try:
            response = await fakesnow.server.query_request(request)
        finally:
            self.running -= 1
            timer.cancel()
        if session.overdue:
            reached = f"its statement or warehouse timeout of {session.limit:g} second(s)"
            return _failed("000630", f"Statement reached {reached} and was canceled.", "57014")
        if session.cancelled:
            return _failed("000604", "SQL execution canceled", "57014")
        return self._in_chunks(response, request) if self.chunk_rows else response

    def _in_chunks(self, response: Any, request: Any) -> Any:
        """The answer as the real server gives a large one: first rows, and where the others are."""
        import pyarrow as pa
        from starlette.responses import JSONResponse

        told = json.loads(response.body)
        data = told["data"]
        if not data or not data.get("rowsetBase64"):
            return response
        whole = pa.ipc.open_stream(b64decode(data["rowsetBase64"])).read_all()
        starts = range(0, whole.num_rows, self.chunk_rows)
        first, *rest = [_ipc(whole.slice(start, self.chunk_rows)) for start in starts]
        data |= {"rowsetBase64": b64encode(first).decode(), "returned": self.chunk_rows}
        data["chunks"] = []
        for start, chunk in zip(starts[1:], rest, strict=True):
            name = str(next(_NUMBERS))
            self._chunks[name] = chunk
            about = {"url": f"http://{request.url.netloc}/chunks/{name}"}
            about |= {"rowCount": min(self.chunk_rows, whole.num_rows - start)}
            data["chunks"].append(about | dict.fromkeys(_SIZES, len(chunk)))
        return JSONResponse(told)

    async def chunk(self, request: Any) -> Any:
        """The rows of one chunk: the real ones lie in S3, Azure or Google's storage."""
        from starlette.responses import Response

        return Response(self._chunks[request.path_params["name"]])

    def _unwilling(self, session: _Session, sql: str) -> tuple[str, str, str] | None:
        """Why Snowflake would not even begin with a statement."""
        if session.warehouse.upper() == "ASLEEP":
            said = (
                "No active warehouse selected in the current session.  Select an active warehouse"
            )
            return "000606", f"{said} with the 'use warehouse' command.", "57P03"
        if session.database in self.locked:
            [table] = re.findall(r"(?i)\bFROM\s+(\S+)", sql)
            said = (
                f"SQL access control error:\nInsufficient privileges to operate on table '{table}'"
            )
            return "003001", said, "42501"
        return None

    def _cancel(self, number: int) -> Any:
        self.cancelled.append(number)
        for session in self._sessions.values():
            if session.number == number:
                session.cancelled = True
                session.interrupt()
        return _one_value("1 cancelled.")

    def _time_out(self, session: _Session) -> None:
        session.overdue = True
        session.interrupt()


async def _body(request: Any) -> dict[str, Any]:
    body = await request.body()
    if request.headers.get("Content-Encoding") == "gzip" and body[:2] == b"\x1f\x8b":
        body = gzip.decompress(body)
    return dict(json.loads(body))


def _ipc(table: Any) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _failed(code: str, message: str, state: str = "08001") -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse(
        {
            "data": {"errorCode": code, "sqlState": state, "queryId": f"01b2-{next(_NUMBERS)}"},
            "code": code,
            "message": message,
            "success": False,
        }
    )


def _one_value(text: str) -> Any:
    """A result of one row with one text, as JSON: how Snowflake answers what is no query."""
    from starlette.responses import JSONResponse

    column = {"name": "SAID", "type": "text", "nullable": True, "length": 100, "byteLength": 400}
    column |= {"precision": None, "scale": None}
    data = {"rowtype": [column], "rowset": [[text]], "total": 1, "returned": 1}
    data |= {"queryResultFormat": "json", "queryId": f"01b2-{next(_NUMBERS)}"}
    return JSONResponse({"data": data, "success": True})


def teach_md5() -> None:
    """Have fakesnow answer MD5_NUMBER_UPPER64 and ..._LOWER64 as Snowflake documents them."""
    # sqlglot parses both and has no words of DuckDB's for them, whose own read the bytes backwards.
    from sqlglot import exp
    from sqlglot.generators.duckdb import DuckDBGenerator

    for kind, start in ((exp.MD5NumberUpper64, 1), (exp.MD5NumberLower64, 17)):
        DuckDBGenerator.TRANSFORMS[kind] = lambda generator, one, start=start: (
            f"CAST('0x' || substr(md5({generator.sql(one, 'this')}), {start}, 16) AS UBIGINT)"
        )


def _serve(snow: Snow) -> Iterator[Snow]:
    complete_connector()
    import fakesnow.server

    teach_md5()
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Route

    logging.getLogger("fakesnow.server").setLevel(logging.CRITICAL)
    # What never ends takes one core, and not those of the tests beside it.
    fakesnow.server.shared_fs.duck_conn.execute("SET GLOBAL threads = 1")
    own = [
        Route("/session/v1/login-request", snow.login, methods=["POST"]),
        Route("/queries/v1/query-request", snow.query, methods=["POST"]),
        Route("/chunks/{name}", snow.chunk, methods=["GET"]),
    ]
    app = Starlette(routes=[*own, *fakesnow.server.routes])
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="fakesnow", daemon=True)
    thread.start()
    deadline = time.monotonic() + _PATIENCE
    while not server.started:
        assert thread.is_alive(), "fakesnow ended"
        assert time.monotonic() < deadline, "fakesnow does not start"
        time.sleep(0.02)
    snow.port = server.servers[0].sockets[0].getsockname()[1]
    yield snow
    server.should_exit = True
    thread.join(_PATIENCE)


@pytest.fixture(scope="session")
def snow_server() -> Iterator[Snow]:
    """The server, for every test of the session."""
    yield from _serve(Snow())


@pytest.fixture(scope="module")
def snow_settings(snow_server: Snow) -> Iterator[Snow]:
    """The server, and an environment in which a source finds it and nobody's real account."""
    with pytest.MonkeyPatch.context() as patch:
        for name in _FOREIGN:
            patch.delenv(name, raising=False)
        for name, value in snow_server.settings.items():
            patch.setenv(name, value)
        yield snow_server


@pytest.fixture
def snow(snow_settings: Snow) -> Snow:
    """The same, for one test, which may change the environment further."""
    return snow_settings
