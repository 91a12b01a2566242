"""The network to Snowflake fails, or Snowflake does: an error, and never half a result."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flowproject.errors import SourceError
from tests.proxy import DROP, HANG, Answer, Asked, proxied
from tests.snow_project import (
    CONNECTOR,
    SECONDS,
    Project,
    on_queries,
    snowflake_says,
    through,
    wait_until,
)

ROOT = Path(__file__).parents[2]


def test_a_server_that_nobody_reaches_is_an_error_within_the_limit(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SNOWFLAKE_PORT", "1")
    with pytest.raises(SourceError, match=r"can't be connected to|did not let us in within 1 s"):
        project.look("SELECT 1", timeout=1.0)


def test_a_login_that_hangs_is_not_taken_for_a_query(project: Project):
    with proxied(project.snow.url) as proxy, through(proxy):
        proxy.plan = lambda asked, forward: HANG if "login" in asked.target else forward()
        with pytest.raises(SourceError) as failed:
            project.look("SELECT 1", timeout=0.3, warehouse="SMALL")
    assert "did not let us in within 0.3 s" in str(failed.value)
    assert "SNOWFLAKE_ACCOUNT and so on, warehouse 'SMALL'" in str(failed.value)
    assert "cancelled" not in str(failed.value)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connector that gives up at the first failure of a download; it would try for minutes."""
    if CONNECTOR == 4:
        monkeypatch.setattr("snowflake.connector.result_batch.MAX_DOWNLOAD_RETRY", 1)


CUTS: dict[str, Callable[[Answer], Answer]] = {
    "reset": lambda _: DROP,
    "cut": lambda answer: answer.cut_at(0.5),
    "cut unseen": lambda answer: answer.cut_unseen(len(answer.body) // 2),
    "server error": lambda _: Answer(status=500),
    "expired address": lambda _: Answer(status=403, body=b"<Error>Request has expired</Error>"),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("form", ["rows", "table"])
def test_a_connection_that_is_lost_in_the_middle_of_a_fetch_is_an_error(
    project: Project, monkeypatch: pytest.MonkeyPatch, how: str, form: str
):
    monkeypatch.setattr(project.snow, "chunk_rows", 1000)
    project.write(
        "SELECT SEQ8() AS n, 'some text ' || SEQ8() AS t FROM TABLE(GENERATOR(ROWCOUNT => 5000))"
    )
    chunks: list[str] = []

    def plan(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        if "/chunks/" not in asked.target:
            return forward()
        chunks.append(asked.target)
        return CUTS[how](forward()) if len(chunks) > 2 else forward()

    with proxied(project.snow.url) as proxy, through(proxy):
        proxy.plan = plan
        source = project.source()
        ask = source.query if form == "rows" else source.query_arrow
        with pytest.raises(SourceError, match=r"sql/it\.sql"):
            ask("it", {})
        proxy.plan = lambda _, forward: forward()
        assert len(ask("it", {})) == 5000
    assert len(chunks) > 2


@pytest.mark.parametrize("how", [DROP, Answer(status=503), Answer(status=200, body=b"<html>")])
def test_a_query_whose_answer_never_arrives_ends_with_the_limit(project: Project, how: Answer):
    with proxied(project.snow.url) as proxy, through(proxy):
        proxy.plan = on_queries(lambda _: how)
        said, limit = project.too_long("SELECT 1", 2.0)
    assert re.search(rf"(longer than {limit:.0f} s|Invalid Snowflake).*sql/it\.sql", said)


def test_a_session_that_has_expired_is_an_error(project: Project):
    with proxied(project.snow.url) as proxy, through(proxy):
        said = "Authentication token has expired.  The user must authenticate again."
        proxy.plan = on_queries(lambda _: snowflake_says("390114", said, "08001"))
        with pytest.raises(SourceError, match="must authenticate again|re-authentication required"):
            project.look("SELECT 1")


CHILD = """
import sys
from pathlib import Path
from flowproject.config.data import SnowflakeData
from flowproject.sources import open_source
database, root = sys.argv[1:]
data = SnowflakeData(query="it", key=("n",), database=database, schema="PUBLIC")
open_source(data, Path(root)).observe()
"""


def test_a_download_that_hangs_does_not_keep_the_process_alive(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(project.snow, "chunk_rows", 50)
    project.write("SELECT SEQ8() AS n FROM TABLE(GENERATOR(ROWCOUNT => 500))")
    asks = [sys.executable, "-c", CHILD, project.database, str(project.root)]
    with proxied(project.snow.url) as proxy, through(proxy):
        proxy.plan = lambda asked, forward: HANG if "/chunks/" in asked.target else forward()
        process = subprocess.Popen(asks, cwd=ROOT, stderr=subprocess.PIPE)
        wait_until(lambda: any("/chunks/" in asked.target for asked in proxy.asked))
        process.send_signal(signal.SIGINT)
        try:
            _, said = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert b"KeyboardInterrupt" in said
