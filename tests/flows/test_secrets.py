"""Marked secrets in every input, and a search of everything that comes out."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from flowproject.dev.messages import RunFinished
from tests.flows.served_page import JSON, paged
from tests.project_folder import ProjectFolder, Ran

IN_SQL = "planted-in-sql-0001"
IN_ADDRESS = "planted-in-the-address-0002"
IN_ENVIRONMENT = "planted-in-the-environment-0003"
IN_SQL_THAT_WORKS = "planted-in-sql-that-works-0004"
IN_ADDRESS_IN_SQL = "planted-in-an-address-in-sql-0005"
IN_PROXY = "planted-in-the-address-of-a-proxy-0006"
PLANTED = (
    IN_SQL,
    IN_ADDRESS,
    IN_ENVIRONMENT,
    IN_SQL_THAT_WORKS,
    IN_ADDRESS_IN_SQL,
    IN_PROXY,
)

CONFIG = """project_name = "secrets"

[sensors.broken]
data = { type = "duckdb", query = "broken" }

[sensors.works]
first = "fire"
data = { type = "duckdb", query = "works" }

[sensors.files]
first = "fire"
data = { type = "files", path = "data" }
"""
BROKEN = f"FROM range(3) AS t(n) WHERE no_such_column = n AND 'x' <> 'password={IN_SQL} user=me'"
WORKS = f"""-- as in https://me:{IN_ADDRESS_IN_SQL}@warehouse.example/
SELECT count(*) AS n FROM range(3) AS t(n) WHERE 'password={IN_SQL_THAT_WORKS} user=me' <> 'x'
"""  # noqa: S608
LEAKY = """import os

from metaflow import step

from flowproject import BaseFlow


class LeakyFlow(BaseFlow):
    @step
    def start(self):
        print("opening with", os.environ["WAREHOUSE_PASSWORD"])
        print("through", os.environ["WAREHOUSE_PROXY"])
        self.next(self.end)

    @step
    def end(self):
        address = "https://me:%s@host" % os.environ["WAREHOUSE_PASSWORD"]
        raise RuntimeError(address) from ValueError(os.environ["WAREHOUSE_PASSWORD"])


if __name__ == "__main__":
    LeakyFlow()
"""


@pytest.fixture(scope="module")
def project(new_project: Callable[..., ProjectFolder]) -> ProjectFolder:
    found = new_project(CONFIG)
    (found.root / "sql").mkdir(exist_ok=True)
    (found.root / "sql" / "broken.sql").write_text(BROKEN)
    (found.root / "sql" / "works.sql").write_text(WORKS)
    (found.root / "data").mkdir(exist_ok=True)
    (found.root / "data" / "a.csv").write_text("1")
    (found.root / "leakyflow.py").write_text(LEAKY)
    found.environment["WAREHOUSE_PASSWORD"] = IN_ENVIRONMENT
    found.environment["WAREHOUSE_PROXY"] = f"http://me:{IN_PROXY}@proxy.example:3128"
    # Nobody listens there, so that handing over the event fails.
    bus = f"http://me:{IN_ADDRESS}@127.0.0.1:1/event"
    found.environment["METAFLOW_ARGO_EVENTS_WEBHOOK_URL"] = bus
    return found


def kept(root: Path) -> dict[str, bytes]:
    """Every file of the datastore and the journal, artifacts, cards and logs among them."""
    files = {str(one): one.read_bytes() for one in root.rglob("*") if one.is_file()}
    return {
        name: gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
        for name, content in files.items()
    }


def found_in(project: ProjectFolder, *ran: Ran) -> list[str]:
    """Where a planted secret stands that should not."""
    said = [f"said: {line}" for one in ran for line in one.lines]
    places = [line for line in said if any(secret in line for secret in PLANTED)]
    for name, content in kept(project.root / ".metaflow").items():
        places += [name for secret in PLANTED if secret.encode() in content]
    return places


def test_a_sensors_run_lets_no_secret_out(project: ProjectFolder) -> None:
    """Not of a SQL line that is quoted or of a query that is kept, nor of a bus's address."""
    ran = project.run("sensorflow.py")
    assert ran.code == 1
    assert "no_such_column" in ran.text
    assert "'password=*** user=me'" in ran.text
    assert "was not taken by the bus" in ran.text
    shown = [
        project.python("-m", "flowproject", *command)
        for command in (["preview"], ["check"], ["history", "--json"])
    ]
    shown.append(project.python("-m", "flowproject", "why", f"SensorFlow/{ran.run_id}"))
    assert "no_such_column" in shown[0].text
    recorded = {one["sensor"]: one for one in json.loads(shown[2].text)}
    assert recorded.keys() == {"files", "works"}
    assert found_in(project, ran, *shown) == []


def test_a_run_of_a_users_flow_prints_and_keeps_no_secret_of_the_environment(
    project: ProjectFolder,
) -> None:
    ran = project.run("leakyflow.py")
    assert "opening with ***" in ran.text
    # In what is red Metaflow takes stars for markup, and leaves them out.
    assert "through http://***@proxy.example:3128" in ran.text
    assert re.search(r"RuntimeError: https://\**@host", ran.text)
    assert re.search(r"ValueError: ?\**$", ran.text, re.MULTILINE)
    assert found_in(project, ran) == []


def test_a_configuration_with_a_password_in_an_address_is_refused(project: ProjectFolder) -> None:
    """It would be an artifact of every run, and an environment variable of every pod."""
    written = (project.root / "flowproject.toml").read_text()
    address = f"https://me:{IN_ADDRESS}@minio.example"
    s3 = f'[data]\ntype = "s3"\nbucket = "b"\nendpoint_url = "{address}"\n'
    (project.root / "flowproject.toml").write_text(f'project_name = "secrets"\n{s3}')
    try:
        for command in (["-m", "flowproject", "check"], ["sensorflow.py", "run"]):
            refused = project.python(*command)
            assert refused.code
            assert "has a user or a password in it" in refused.text
            assert "@minio.example' has a user" in refused.text
            assert IN_ADDRESS not in refused.text
    finally:
        (project.root / "flowproject.toml").write_text(written)


@pytest.mark.usefixtures("warm_children")
def test_the_page_of_the_loop_shows_none(
    project: ProjectFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.root)
    for name in ("WAREHOUSE_PASSWORD", "WAREHOUSE_PROXY"):
        monkeypatch.setenv(name, project.environment[name])
    monkeypatch.setenv("METAFLOW_DATASTORE_SYSROOT_LOCAL", str(project.root))
    monkeypatch.setenv("PYTHONPATH", project.environment["PYTHONPATH"])
    with paged(project.root, every=600.0) as asker:
        form = asker.html("/actions/run?flow=LeakyFlow").text
        [token] = re.findall(r'name="token" value="([^"]+)"', form)
        started = asker.client.post(
            "/actions/run", data={"token": token, "flow": "LeakyFlow"}, headers=JSON
        )
        assert started.status_code == 200, started.text
        asker.loop.wait(RunFinished, 2)
        waiting, pages = ["/"], dict[str, str]()
        while waiting and len(pages) < 40:
            address = waiting.pop(0)
            pages[address] = asker.html(address).text
            links = re.findall(r'href="(/[^"#?]*)', pages[address])
            waiting += [one for one in dict.fromkeys(links) if one not in (*pages, *waiting)]
    everything = "\n".join(pages.values())
    assert "no_such_column" in everything
    assert "opening with ***" in everything
    assert [name for name in pages if any(one in pages[name] for one in PLANTED)] == []
