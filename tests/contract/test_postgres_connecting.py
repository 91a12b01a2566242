"""How a server is found and reached, and that a password never shows, however it was written."""

import logging
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flowproject.errors import SourceError
from tests.postgres import PASSWORD, READER_PASSWORD, Postgres, Project
from tests.snow_project import everything_said

MARK = "Marked7"


@pytest.fixture
def project(tmp_path: Path, postgres_settings: Postgres) -> Project:
    project = Project(tmp_path, postgres_settings)
    project.write("SELECT CURRENT_USER::text AS role")
    return project


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, postgres: Postgres) -> Postgres:
    """Nothing in the environment says where the server is."""
    for name in postgres.settings:
        monkeypatch.delenv(name, raising=False)
    return postgres


def role(project: Project, **data: str) -> object:
    return project.source(**data).query("it", {})[0]["role"]


def test_the_environment_is_libpq_s_own(project: Project):
    assert role(project) == "postgres"


def test_an_address_without_a_password_takes_that_of_the_environment(
    project: Project, alone: Postgres, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PGPASSWORD", READER_PASSWORD)
    assert role(project, url=alone.url.replace("postgres@", "reader@")) == "reader"


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
@pytest.mark.parametrize("encoded", ["open%20sesame%2F100%25", "open sesame/100%"])
def test_a_whole_address_may_stand_in_the_environment(
    project: Project,
    alone: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    encoded: str,
):
    address = f"{scheme}://postgres:{encoded}@127.0.0.1:{alone.port}/postgres?sslmode=disable"
    monkeypatch.setenv("DATABASE_URL", address)
    assert role(project) == "postgres"
    monkeypatch.setenv("DATABASE_URL", address.replace("127.0.0.1", "127.0.0.1:1,127.0.0.1"))
    assert role(project) == "postgres"


def test_a_password_in_the_configuration_is_refused_and_not_shown(project: Project):
    for url in (
        f"postgresql://postgres:{MARK}@127.0.0.1/postgres",
        f"postgresql://127.0.0.1/postgres?user=postgres&password={MARK}",
    ):
        with pytest.raises(SourceError, match=r"has a password in it.*PGPASSWORD") as failed:
            role(project, url=url)
        assert MARK not in everything_said(failed.value)


WRITTEN = [
    "postgresql://postgres:{0}@127.0.0.1:{1}/postgres",
    "postgresql://postgres:{0}/x@127.0.0.1:{1}/postgres",
    "postgresql://postgres:x/{0}@127.0.0.1:{1}/postgres",
    "postgresql://postgres:{0}%@127.0.0.1:{1}/postgres",
    "postgresql://postgres:%{0}@127.0.0.1:{1}/postgres",
    "postgresql://postgres:{0}%zz@127.0.0.1:{1}/postgres",
    "postgresql://postgres:{0} x@127.0.0.1:{1}/postgres",
    "postgresql://postgres:x {0}@127.0.0.1:{1}/postgres",
    "postgresql://postgres:x@{0}@127.0.0.1:{1}/postgres",
    "postgresql://postgres:{0}@x@127.0.0.1:{1}/postgres",
    "postgresql://postgres:x:{0}@127.0.0.1:{1}/postgres",
    "postgresql://postgres:{0}?x@127.0.0.1:{1}/postgres",
    "postgresql://postgres:x?{0}@127.0.0.1:{1}/postgres",
    "postgresql://postgres:x#{0}@127.0.0.1:{1}/postgres",
    "postgresql://postgres:x&{0}@127.0.0.1:{1}/postgres",
    "postgresql://postgres:x'{0}\\@127.0.0.1:{1}/postgres",
    "postgresql://postgres:{0}",
    "postgresql://postgres:{0}127.0.0.1:{1}/postgres",
    "postgresql://postgres:x/{0}",
    "postgresql://{0}:x:y@127.0.0.1:{0}/postgres",
    "postgresql://127.0.0.1:{1}/postgres?user=postgres&password={0}",
    "postgresql://127.0.0.1:{1}/postgres?user=postgres&password={0}%",
    "postgresql://127.0.0.1:{1}/postgres?user=postgres&password=x {0}",
    "postgresql://127.0.0.1:{1}/postgres?user=postgres&PASSWORD={0}",
    "postgres:{0}@127.0.0.1:{1}/postgres",
    "{0}",
    "host=127.0.0.1 port={1} user=postgres password={0}",
    "host=127.0.0.1 port={1} user=postgres password='{0}",
    "mysql://postgres:{0}@127.0.0.1:{1}/postgres",
    "postgresql:/postgres:{0}@127.0.0.1:{1}/postgres",
]


@pytest.mark.parametrize("written", WRITTEN)
def test_a_password_never_shows_however_it_is_written(
    project: Project,
    alone: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    written: str,
):
    monkeypatch.setenv("DATABASE_URL", written.format(MARK, alone.port))
    with caplog.at_level(logging.DEBUG), pytest.raises(SourceError) as failed:
        role(project)
    out, err = capfd.readouterr()
    said = [everything_said(failed.value), caplog.text, out, err]
    assert MARK not in "\n".join(said)
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(SourceError) as failed:
        role(project, url=written.format(MARK, alone.port))
    assert MARK not in everything_said(failed.value)


def test_the_form_of_an_address_is_told_where_one_can_t_be_read(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DATABASE_URL", f"postgres:{MARK}@127.0.0.1/postgres")
    with pytest.raises(SourceError, match="with USER:PASSWORD@ before HOST") as failed:
        role(project)
    assert "***" not in str(failed.value)


def test_a_wrong_password_is_told_with_what_to_do(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PGPASSWORD", MARK)
    with pytest.raises(SourceError, match=r"authentication failed.*Correct PGUSER") as failed:
        role(project)
    assert MARK not in everything_said(failed.value)


def test_a_file_of_passwords_is_libpq_s_own_business(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    file = tmp_path / "pgpass"
    file.write_text(f"127.0.0.1:*:*:postgres:{PASSWORD}\n")
    file.chmod(0o600)
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", str(file))
    assert role(project) == "postgres"
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    with pytest.raises(SourceError, match=r"no password supplied.*PGPASSWORD"):
        role(project)


def test_nobody_there_no_such_database_or_service_are_told(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    with pytest.raises(SourceError, match=r'database "nosuch" does not exist.*PGDATABASE'):
        role(project, url=project.server.url.removesuffix("postgres") + "nosuch")
    with pytest.raises(SourceError, match=r"Connection refused.*Correct the address"):
        role(project, url="postgresql://postgres@127.0.0.1:1/postgres")
    monkeypatch.setenv("PGSERVICE", "nosuch")
    with pytest.raises(SourceError, match=r'definition of service "nosuch" not found'):
        role(project)


def test_a_server_that_lets_nobody_in_is_given_up_in_time(project: Project):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(SourceError, match=r"did not let us in within 0\.3 s"):
            role(project, url=f"postgresql://x@127.0.0.1:{port}/x", timeout=0.3)


def test_without_the_driver_it_says_what_to_install(tmp_path: Path):
    code = (
        "import sys; sys.modules['adbc_driver_postgresql'] = None\n"
        "from pathlib import Path\n"
        "from flowproject.config.data import PostgresData\n"
        "from flowproject.sources import open_source\n"
        "Path('sql').mkdir(); Path('sql/it.sql').write_text('SELECT 1')\n"
        "open_source(PostgresData(query='it'), Path()).observe()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert 'install "adbc-driver-postgresql>=1.13,<2"' in run.stderr


@pytest.mark.usefixtures("postgres_settings")
def test_a_look_that_finds_nothing_does_not_import_pandas():
    pytest.importorskip("pandas")
    script = (
        "import sys\n"
        "from flowproject.config.data import PostgresData\n"
        "from flowproject.sources.postgres.connection import connect\n"
        "session = connect(PostgresData(query='it'))\n"
        "said = session.rows('SELECT $1::text AS a, $2::text AS b', ['fünf', None])\n"
        "assert said == [{'a': 'fünf', 'b': None}], said\n"
        "print('pandas' in sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert run.stdout.strip() == "False", run.stdout + run.stderr
