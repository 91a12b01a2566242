"""A project on an emulated Snowflake, and what its tests say to the server and of its answers."""

import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from flowproject.changes.canonical import Json
from flowproject.changes.observation import Observation
from flowproject.config.data import SnowflakeData
from flowproject.errors import SourceError
from flowproject.sources import Source, open_source
from tests.proxy import Answer, Asked, Proxy
from tests.snow import SETTINGS, Snow

CONNECTOR = int(version("snowflake-connector-python").partition(".")[0])
NEVER = "SELECT COUNT(*) FROM TABLE(GENERATOR(ROWCOUNT => 1000000000000)) WHERE SEQ8() % 7 = 3"
SECONDS = 60.0  # for what starts an interpreter on a machine that has much else to do
PASSWORD = SETTINGS["SNOWFLAKE_PASSWORD"]


class Project:
    """A folder with SQL files, and a database of its own on the server."""

    def __init__(self, root: Path, snow: Snow) -> None:
        self.root, self.snow = root, snow
        self.database = snow.database()
        (root / "sql").mkdir()

    def write(self, text: str, name: str = "it") -> None:
        (self.root / "sql" / f"{name}.sql").write_text(text)

    def run(self, *statements: str) -> list[Any]:
        return self.snow.run(self.database, *statements)

    def source(self, **data: Any) -> Source:
        own = {"query": "it", "database": self.database, "schema": "PUBLIC"}
        return open_source(SnowflakeData(**(own | data)), self.root)

    def look(self, text: str, **data: Any) -> Observation:
        self.write(text)
        return self.source(**data).observe()

    def too_long(self, text: str, seconds: float) -> tuple[str, float]:
        """What is said of a query that takes longer than a limit, and the limit.

        A login counts, too, and takes its time on a busy machine: if that was all, the limit grows.
        """
        while True:
            with pytest.raises(SourceError) as failed:
                self.look(text, timeout=seconds)
            if "did not let us in" not in str(failed.value) or seconds > SECONDS:
                return str(failed.value), seconds
            seconds *= 2

    def ask(self, text: str, **params: Any) -> list[dict[str, Json]]:
        self.write(text)
        return self.source().query("it", params)


def wait_until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def snowflake_says(code: str, message: str, state: str = "") -> Answer:
    """A failure as Snowflake's server words it."""
    data = {"errorCode": code, "sqlState": state, "queryId": "01b2c3d4-0000-0000-0000-000000000001"}
    body = {"data": data, "code": code, "message": message, "success": False}
    return Answer(
        status=200, headers={"Content-Type": "application/json"}, body=json.dumps(body).encode()
    )


def on_queries(trouble: Callable[[Answer], Answer]) -> Any:
    """Trouble for every query; logins and all else pass."""

    def plan(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        return trouble(forward()) if "query-request" in asked.target else forward()

    return plan


class through:  # noqa: N801  # reads as what it does
    """Sources find the proxy where the server would be."""

    def __init__(self, proxy: Proxy) -> None:
        self._port = proxy.endpoint_url.rpartition(":")[2]
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> None:
        self._patch.setenv("SNOWFLAKE_PORT", self._port)

    def __exit__(self, *_: object) -> None:
        self._patch.undo()


def everything_said(error: BaseException | None) -> str:
    """The text of an error and of all those behind it."""
    said: list[str] = []
    while error is not None:
        said += [str(error), repr(error.args), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(said)
