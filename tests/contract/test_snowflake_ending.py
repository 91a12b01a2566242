"""A query on Snowflake that takes too long or that nobody waits for ends on the server, too."""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from flowproject.config.data import SnowflakeData
from flowproject.errors import SourceError
from flowproject.sources.snowflake.connection import connect
from tests.proxy import Answer, Asked, proxied
from tests.snow_project import NEVER, SECONDS, Project, through, wait_until

ROOT = Path(__file__).parents[2]


def test_a_query_that_takes_too_long_is_cancelled_on_the_server(project: Project):
    said, limit = project.too_long(NEVER, 2.0)
    assert re.search(rf"longer than {limit:.0f} s, and was cancelled.*timeout in", said)
    wait_until(lambda: project.snow.running == 0)
    assert project.snow.cancelled


def test_a_query_that_is_cancelled_from_another_thread_ends_on_the_server(project: Project):
    project.write(NEVER)
    source, errors = project.source(), []

    def ask() -> None:
        try:
            source.query("it", {})
        except SourceError as error:
            errors.append(str(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    wait_until(lambda: project.snow.running == 1)
    source.cancel()
    thread.join(SECONDS)
    assert errors == ["The source was told to stop before it was done."]
    wait_until(lambda: project.snow.running == 0)


def test_the_server_ends_a_query_by_itself_if_nobody_is_left_to_cancel_it(project: Project):
    from snowflake.connector import Error

    data = SnowflakeData(query="it", database=project.database, schema="PUBLIC", timeout=3.0)
    connection = connect(data)
    with pytest.raises(Error, match="timeout of 3 second|timed out after 3s"):
        connection.cursor().execute(NEVER, timeout=10)
    connection.close()


def test_ctrl_c_ends_the_query_on_the_server_too(project: Project):
    project.write(NEVER)
    script = f"""
from pathlib import Path
from flowproject.config.data import SnowflakeData
from flowproject.sources import open_source
data = SnowflakeData(query="it", database={project.database!r}, schema="PUBLIC")
open_source(data, Path({str(project.root)!r})).query("it", {{}})
"""
    before = len(project.snow.cancelled)
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stderr=subprocess.PIPE)
    wait_until(lambda: project.snow.running == 1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=SECONDS)
    assert b"KeyboardInterrupt" in said
    wait_until(lambda: project.snow.running == 0)
    assert len(project.snow.cancelled) > before


def test_a_query_that_somebody_else_cancels_is_an_error(project: Project):
    text = f"{NEVER} AND '{project.database}' <> ''"
    project.write(text)
    errors: list[str] = []

    def ask() -> None:
        try:
            project.source().query("it", {})
        except SourceError as error:
            errors.append(str(error))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    wait_until(lambda: project.snow.running == 1)
    [session] = {asked.session for asked in project.snow.asked if asked.sql == text}

    def ended() -> bool:
        project.snow._cancel(session)  # more than once: DuckDB may not have begun yet
        return bool(errors)

    wait_until(ended)
    assert "SQL execution canceled" in errors[0]


def test_a_table_that_nobody_waits_for_any_more_is_not_downloaded(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(project.snow, "chunk_rows", 10)
    project.write("SELECT SEQ8() AS n FROM TABLE(GENERATOR(ROWCOUNT => 1000))")
    source, chunks = project.source(), []

    def plan(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        if "/chunks/" in asked.target:
            chunks.append(asked.target)
            source.cancel()
        return forward()

    with proxied(project.snow.url) as proxy, through(proxy):
        proxy.plan = plan
        with pytest.raises(SourceError, match="told to stop"):
            source.query_arrow("it", {})
        wait_until(lambda: not any(thread.name == "snowflake" for thread in threading.enumerate()))
    assert len(chunks) == 1
