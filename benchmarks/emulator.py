"""`python -m benchmarks.emulator`: Snowflake's emulator with one large table, for figures.

It prints the environment in which a source finds it, as JSON, and ends with its standard input. The
tokens of the gate, which the emulator does not know, are answered here; they never move.
"""

import gzip
import json
import logging
import sys
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import closing
from typing import Any, Final

import fakesnow.server
import uvicorn
from sqlglot import exp
from sqlglot.generators.duckdb import DuckDBGenerator

__all__ = ["DATABASE", "STATEMENTS", "TABLE"]

DATABASE: Final = "BENCH"
TABLE: Final = f"{DATABASE}.PUBLIC.ORDERS"
STATEMENTS: Final = "/statements"
"""Where the statements are told that arrived since it was asked last, as a list in JSON."""

_QUERY: Final = "/queries/v1/query-request"
_ROWS: Final = """
CREATE TABLE {table} AS SELECT
    number AS order_id,
    'customer ' || (number * 7919 % 9999) AS customer,
    (number * 31337 % 1000000 / 100)::NUMBER(10, 2) AS amount,
    DATEADD(second, number, '2026-01-01'::TIMESTAMP) AS placed_at,
    DATEADD(day, number % 28, '2026-01-01'::DATE) AS due,
    number % 2 = 0 AS paid
FROM (SELECT ROW_NUMBER() OVER (ORDER BY 1) AS number FROM TABLE(GENERATOR(ROWCOUNT => {rows})))
"""
_TOKEN: Final = {"type": "fixed", "precision": 38, "scale": 0, "nullable": True, "length": None}

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]


class _Noted:
    """The emulator, and what it was asked."""

    def __init__(self) -> None:
        self._statements: list[str] = []

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http" or scope["path"] not in (_QUERY, STATEMENTS):
            await fakesnow.server.app(scope, receive, send)
            return
        if scope["path"] == STATEMENTS:
            await _answer(self._statements, send)
            self._statements = []
            return
        body = await _body(receive)
        sql = json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)["sqlText"]
        self._statements.append(sql)
        if "LAST_CHANGE_COMMIT_TIME" in sql:
            await _answer(_tokens(sql.count("?")), send)
            return
        await fakesnow.server.app(scope, _again(body), send)


async def _body(receive: _Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


def _again(body: bytes) -> _Receive:
    async def receive() -> _Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _answer(document: object, send: _Send) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(document).encode()})


def _tokens(number: int) -> dict[str, Any]:
    """The same moment for each table, in the form in which Snowflake answers what is no query."""
    columns = [_TOKEN | {"name": f"TOKEN_{place}", "byteLength": None} for place in range(number)]
    row = ["1764028800000000000"] * number
    data = {"rowtype": columns, "rowset": [row], "total": 1, "returned": 1}
    data |= {"queryResultFormat": "json", "queryId": "01b2-0"}
    return {"data": data, "success": True}


def _teach_md5() -> None:
    """Have the emulator answer MD5_NUMBER_UPPER64 and ..._LOWER64 as Snowflake documents them."""
    # sqlglot parses both and has no words of DuckDB's for them, whose own read the bytes backwards.
    for kind, start in ((exp.MD5NumberUpper64, 1), (exp.MD5NumberLower64, 17)):
        DuckDBGenerator.TRANSFORMS[kind] = lambda generator, one, start=start: (
            f"CAST('0x' || substr(md5({generator.sql(one, 'this')}), {start}, 16) AS UBIGINT)"
        )


def main() -> None:
    """Serve as many rows as the command line says."""
    rows = int(sys.argv[1])
    _teach_md5()
    logging.getLogger("sqlglot").setLevel(
        logging.ERROR
    )  # it warns of plans, which it does not know
    with closing(fakesnow.server.shared_fs.connect(DATABASE, "PUBLIC")) as connection:
        connection.cursor().execute(_ROWS.format(table=TABLE, rows=rows))
    config = uvicorn.Config(_Noted(), host="127.0.0.1", port=0, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    environment = {
        "SNOWFLAKE_ACCOUNT": "fakesnow",
        "SNOWFLAKE_USER": "fake",
        "SNOWFLAKE_PASSWORD": "snow",
        "SNOWFLAKE_HOST": "127.0.0.1",
        "SNOWFLAKE_PORT": str(port),
        "SNOWFLAKE_PROTOCOL": "http",
    }
    print(json.dumps(environment), flush=True)
    sys.stdin.read()  # whoever started this closes it, or is gone


if __name__ == "__main__":
    main()
