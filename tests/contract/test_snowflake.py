"""Snowflake through its own connector, against an emulator: values, logins, limits, failures."""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from base64 import b64decode
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from flowproject.changes.canonical import Json, dumps
from flowproject.changes.observation import Observation
from flowproject.cli import main
from flowproject.config.data import DuckDBData, SnowflakeData
from flowproject.errors import QueryError, SourceError
from flowproject.sources import Source, open_source
from flowproject.sources.snowflake.connect import connect
from tests.proxy import DROP, Answer, Asked, Proxy, proxied
from tests.snow import GOOD_TOKEN, OLD_TOKEN, SETTINGS, Snow

ROOT = Path(__file__).parents[2]
CONNECTOR = int(version("snowflake-connector-python").partition(".")[0])
NEVER = "SELECT COUNT(*) FROM TABLE(GENERATOR(ROWCOUNT => 1000000000000)) WHERE SEQ8() % 7 = 3"
SECONDS = 20.0
COLUMN = {"nullable": True, "length": None, "byteLength": None, "precision": 38}
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

    def ask(self, text: str, **params: Any) -> list[dict[str, Json]]:
        self.write(text)
        return self.source().query("it", params)


@pytest.fixture
def project(tmp_path: Path, snow: Snow) -> Project:
    return Project(tmp_path, snow)


def wait_until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# -------------------- values


@pytest.mark.parametrize(
    "expression, value",
    [
        ("NULL", None),
        ("TRUE", True),
        ("7", 7),
        ("9223372036854775807", 2**63 - 1),
        ("1.10::NUMBER(4, 2)", 1.1),
        ("1.00::NUMBER(4, 2)", 1),
        ("0.1::FLOAT", 0.1),
        ("'é'", "é"),
        ("'2024-02-29'::DATE", "2024-02-29"),
        ("'01:02:03.000004'::TIME", "01:02:03.000004"),
        ("'2024-01-01 12:00:00.5'::TIMESTAMP_NTZ", "2024-01-01T12:00:00.500000"),
        ("'9999-12-31 00:00:00'::TIMESTAMP_NTZ", "9999-12-31T00:00:00"),
        ("'2024-01-01 12:00:00'::TIMESTAMP_LTZ", "2024-01-01T12:00:00+00:00"),
        ("'2024-01-01 12:00:00 +0200'::TIMESTAMP_TZ", "2024-01-01T10:00:00+00:00"),
        ("TO_BINARY('00FF', 'HEX')", "AP8="),
        ("""PARSE_JSON('{"b": 1.10, "a": [1, null]}')""", {"a": [1, None], "b": 1.1}),
        ("OBJECT_CONSTRUCT('b', 1, 'a', 'x')", {"a": "x", "b": 1}),
    ],
)
def test_values_through_the_connector(project: Project, expression: str, value: Json):
    assert dumps(project.look(f"SELECT {expression} AS v").value) == dumps(value)


def test_the_same_file_gives_the_same_rows_as_on_duckdb(project: Project):
    text = """
        SELECT n AS id, n / 4 AS share, n > 1 AS more, 'é' || n AS name,
               DATEADD('day', n, '2024-01-01'::DATE)::DATE AS day,
               DATEADD('hour', n, '2024-01-01 00:30:00'::TIMESTAMP) AS moment,
               CASE WHEN n = 2 THEN NULL ELSE n END AS gap
        FROM (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3)
    """
    seen = project.look(text, key=("id",))
    duckdb = DuckDBData(query="it", key=("id",), dialect="snowflake")
    expected = open_source(duckdb, project.root).observe()
    assert {key: item.data for key, item in (seen.items or {}).items()} == {  # type: ignore[attr-defined]
        key: item.data
        for key, item in (expected.items or {}).items()  # type: ignore[attr-defined]
    }
    assert seen.fingerprint == expected.fingerprint


def test_an_observation_says_what_ran_and_what_it_cost(project: Project):
    seen = project.look("SELECT 1 AS n", key=("N",))
    assert seen.query == "SELECT 1 AS n"
    assert (seen.cost.rows, seen.cost.requests) == (1, 1)
    assert seen.cost.seconds > 0
    assert len(str(seen.cost.to_json()["query_id"])) == 36


def test_what_is_no_select_is_watched_all_the_same(project: Project):
    project.run("CREATE TABLE watched (id INT)")
    seen = project.look("SHOW TABLES", key=("name",))
    assert list(seen.items or {}) == ["WATCHED"]  # type: ignore[call-overload]


def test_an_answer_without_arrow_is_read_as_well(project: Project, snow: Snow):
    """Snowflake answers SHOW in JSON; the emulator does not."""
    kinds = {"created_on": "timestamp_ltz", "name": "text", "rows": "fixed", "options": "variant"}
    data = {
        "rowtype": [
            {"name": name, "type": kind, **COLUMN, "scale": 9 if "time" in kind else 0}
            for name, kind in kinds.items()
        ],
        "rowset": [["1704067200.500000000", "IT", "3", '{"b": 1.10}'], [None] * 4],
        "total": 2,
        "returned": 2,
        "queryResultFormat": "json",
        "queryId": "01b2",
        "parameters": [{"name": "TIMEZONE", "value": "America/New_York"}],
    }
    body = json.dumps({"data": data, "success": True}).encode()
    headers = {"Content-Type": "application/json"}
    with proxied(snow.url) as proxy, through(proxy):
        proxy.plan = on_queries(lambda _: Answer(status=200, headers=headers, body=body))
        assert project.ask("SHOW TABLES") == [
            {
                "created_on": "2024-01-01T00:00:00.500000+00:00",
                "name": "IT",
                "rows": 3,
                "options": {"b": 1.1},
            },
            dict.fromkeys(kinds),
        ]


def test_preview_and_check_show_what_the_server_knows_the_query_by(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(project.root)
    (project.root / ".metaflow").mkdir()
    (project.root / "flowproject.toml").write_text(
        f"""
project_name = "demo"
[data]
type = "snowflake"
query = "it"
database = "{project.database}"
"""
    )
    project.write("SELECT 7 AS n")
    assert main(["preview"]) == 0
    header, row = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert header[-1] == "query id"
    assert len(row[-1]) == 36
    assert main(["check", "--connect"]) == 0
    assert "snowflake: answered in" in capsys.readouterr().out


# -------------------- sizes


@pytest.mark.parametrize(
    "text, value",
    [
        ("SELECT 1 AS n WHERE FALSE", []),
        ("SELECT NULL AS n", None),
        ("SELECT 1 AS n UNION ALL SELECT 2", [{"n": 1}, {"n": 2}]),
    ],
)
def test_a_result_may_have_any_shape(project: Project, text: str, value: Json):
    assert project.look(text).value == value


def test_too_many_rows_are_refused_before_they_are_read(project: Project):
    text = "SELECT SEQ8() AS n FROM TABLE(GENERATOR(ROWCOUNT => 1000001))"
    with pytest.raises(QueryError, match=r"has 1,000,001 rows, more than 1,000,000.*row_limit"):
        project.look(text, key=("n",))
    with pytest.raises(QueryError, match=r"more than 1,000 rows.*key = "):
        project.look("SELECT SEQ8() AS n FROM TABLE(GENERATOR(ROWCOUNT => 1001))")


def test_a_million_rows_are_a_table(project: Project):
    project.write("SELECT SEQ8() AS n FROM TABLE(GENERATOR(ROWCOUNT => 1000000))")
    table = project.source().query_arrow("it", {})
    assert (table.num_rows, table.column_names) == (1_000_000, ["n"])


def test_a_result_in_many_chunks_is_one_result(project: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(project.snow, "chunk_rows", 10)
    text = "SELECT SEQ8() AS n, 'x' || SEQ8() AS name FROM TABLE(GENERATOR(ROWCOUNT => 95))"
    seen = project.look(text, key=("n",))
    assert seen.value == 95
    project.write(text)
    assert project.source().query_arrow("it", {}).num_rows == 95


# -------------------- parameters


@pytest.mark.parametrize("value", [None, 1, True, "x", "'; DROP TABLE t; --", ":x ?", "é\n"])
def test_a_parameter_is_a_value_and_never_sql(project: Project, value: Json):
    assert project.ask("SELECT :value AS v", value=value) == [{"v": value}]
    [asked] = [asked for asked in project.snow.asked if asked.sql.startswith("SELECT ?")][-1:]
    assert asked.sql.split() == ["SELECT", "?", "AS", "v"]
    assert list(asked.bindings) == ["1"]


def test_a_parameter_may_stand_in_many_places_and_rows_keep_their_order(project: Project):
    rows = project.ask(
        "SELECT n, :word || n AS w FROM (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3) "
        "WHERE n >= :least AND :word <> '' ORDER BY n DESC",
        word="o'x",
        least=2,
    )
    assert rows == [{"n": 3, "w": "o'x3"}, {"n": 2, "w": "o'x2"}]


@pytest.mark.parametrize("value", [[1, 2], (1, 2), {"a": 1}, object()])
def test_a_value_that_can_not_be_bound_is_an_error(project: Project, value: Any):
    with pytest.raises(QueryError, match=r":value|object.*sql/it\.sql"):
        project.ask("SELECT :value AS v", value=value)


def test_a_table_has_the_engine_s_own_types(project: Project):
    project.write(
        "SELECT 1.50::NUMBER(10, 2) AS price, '2024-01-01'::DATE AS day, :word AS word, "
        "'2024-01-01 12:00:00'::TIMESTAMP_NTZ AS moment"
    )
    table = project.source().query_arrow("it", {"word": "x"})
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds["price"].startswith("decimal128(10, 2")
    assert (kinds["day"], kinds["word"]) == ("date32[day]", "string")
    assert kinds["moment"].startswith("timestamp[")


def test_a_table_without_rows_has_columns_all_the_same(project: Project):
    project.write(
        "SELECT 1.50::NUMBER(10, 2) AS price, 'x' AS word, 1 AS n, "
        "'2024-01-01 12:00:00'::TIMESTAMP_LTZ AS moment WHERE FALSE"
    )
    table = project.source().query_arrow("it", {})
    assert table.num_rows == 0
    assert {field.name: str(field.type) for field in table.schema} == {
        "price": "decimal128(10, 2)",
        "word": "string",
        "n": "int64",
        "moment": "timestamp[ns, tz=UTC]",
    }


# -------------------- wrong queries


@pytest.mark.parametrize(
    "text, message",
    [
        ("SELECT 1; SELECT 2", "2 statements"),
        ("DELETE FROM t", "does not only look"),
        ("SELEC 1", r"line 1, column"),
        ("SELECT :since", r"has no parameters.*:since.*sql/it\.sql, line 1, column 8"),
    ],
)
def test_a_check_finds_it_without_a_connection(
    project: Project, monkeypatch: pytest.MonkeyPatch, text: str, message: str
):
    monkeypatch.delenv("SNOWFLAKE_ACCOUNT")
    project.write(text)
    with pytest.raises(QueryError, match=message):
        project.source().check()


@pytest.mark.parametrize(
    "text", ["DELETE FROM t", "CREATE TABLE t (a INT)", "-- x\nUPDATE t SET a = 1"]
)
def test_what_does_not_only_look_is_never_sent(project: Project, text: str):
    project.write(text)
    before = len(project.snow.asked)
    for look in (project.source().observe, lambda: project.source().query("it", {})):
        with pytest.raises(QueryError, match="does not only look"):
            look()
    assert len(project.snow.asked) == before


@pytest.mark.parametrize(
    "text, error, message",
    [
        ("SELECT * FROM nosuch", SourceError, r"(?i)nosuch does not exist.*GRANT SELECT"),
        ("SELECT 'x'::INT AS n", QueryError, r"'x'.*sql/it\.sql"),
        ("SELECT 1 AS a, 2 AS A", QueryError, "2 columns named 'a'"),
    ],
)
def test_a_query_that_fails_says_where(
    project: Project, text: str, error: type[Exception], message: str
):
    with pytest.raises(error, match=message):
        project.look(text)


def test_a_place_that_snowflake_names_is_shown_in_the_file(project: Project, snow: Snow):
    told = "SQL compilation error: error line 2 at position 9\ninvalid identifier 'NOSUCH'"
    text = "\n\nSELECT id, :word,\n     x + nosuch FROM it"
    with proxied(snow.url) as proxy:
        proxy.plan = on_queries(lambda _: snowflake_says("000904", told, "42000"))
        project.write(text)
        with through(proxy), pytest.raises(QueryError) as failed:
            project.source().query("it", {"word": "w"})
    assert "invalid identifier 'NOSUCH'" in str(failed.value)
    assert "sql/it.sql, line 4, column 10" in str(failed.value)
    assert str(failed.value).splitlines()[-1].index("^") == 4 + 9


# -------------------- ways to connect


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


@pytest.fixture(scope="module")
def key_pair(snow_settings: Snow) -> rsa.RSAPrivateKey:
    """A key whose public half is the user's."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    snow_settings.public_key = key.public_key()
    return key


def pem(key: rsa.RSAPrivateKey, passphrase: str = "") -> str:
    cipher = (
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption()
    )
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, cipher).decode()


@pytest.mark.parametrize(
    "way", ["text", "one line", "text and passphrase", "file", "file and passphrase"]
)
def test_a_key_pair_opens_the_door(
    project: Project, key_pair: rsa.RSAPrivateKey, monkeypatch: pytest.MonkeyPatch, way: str
):
    passphrase = "open sesame" if "passphrase" in way else ""
    text = pem(key_pair, passphrase)
    monkeypatch.delenv("SNOWFLAKE_PASSWORD")
    monkeypatch.setenv("SNOWFLAKE_PRIVATE_KEY_PASSPHRASE", passphrase)
    if "file" in way:
        file = project.root / "key.p8"
        file.write_text(text)
        file.chmod(0o600)
        monkeypatch.setenv("SNOWFLAKE_PRIVATE_KEY_FILE", str(file))
    else:
        monkeypatch.setenv(
            "SNOWFLAKE_PRIVATE_KEY", text.replace("\n", "\\n") if "line" in way else text
        )
    assert project.look("SELECT 1").value == 1
    assert project.snow.logins[-1]["AUTHENTICATOR"] == "SNOWFLAKE_JWT"
    assert "PASSWORD" not in project.snow.logins[-1]


def test_an_oauth_token_opens_the_door_without_a_user(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("SNOWFLAKE_PASSWORD")
    monkeypatch.delenv("SNOWFLAKE_USER")
    monkeypatch.setenv("SNOWFLAKE_TOKEN", GOOD_TOKEN)
    assert project.look("SELECT 1").value == 1


def test_every_connection_says_who_it_is_and_keeps_to_limits(project: Project):
    project.look("SELECT 1", timeout=12.3, warehouse="SMALL", role="READER")
    said = project.snow.logins[-1]["SESSION_PARAMETERS"]
    assert said["QUERY_TAG"] == "flowproject"
    assert int(said["STATEMENT_TIMEOUT_IN_SECONDS"]) == 13
    assert said["TIMEZONE"] == "UTC"


def test_what_the_configuration_says_goes_before_the_environment(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SNOWFLAKE_DATABASE", "NOSUCH")
    monkeypatch.setenv("SNOWFLAKE_ROLE", "READER")
    assert project.look("SELECT 1").value == 1
    monkeypatch.setenv("SNOWFLAKE_DATABASE", project.database)
    monkeypatch.setenv("SNOWFLAKE_SCHEMA", "PUBLIC")
    project.run("CREATE TABLE it (id INT)")
    project.write("SELECT COUNT(*) AS n FROM it")
    assert project.source(database="", schema="").observe().value == 0


@pytest.mark.timeout(60)
def test_a_connection_has_a_name_in_snowflake_s_own_file(project: Project, snow: Snow):
    home = project.root / "home"
    home.mkdir()
    file = home / "connections.toml"
    settings = {
        name.removeprefix("SNOWFLAKE_").lower(): value
        for name, value in snow.settings.items()
        if "PLATFORM" not in name
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    file.write_text("\n".join(["[work]", *lines]))
    file.chmod(0o600)
    project.write("SELECT 1")
    script = f"""
from pathlib import Path
from flowproject.config.data import SnowflakeData
from flowproject.errors import SourceError
from flowproject.sources import open_source
for name in ("work", "wrok"):
    data = SnowflakeData(query="it", connection=name, database={project.database!r})
    try:
        print(open_source(data, Path({str(project.root)!r})).observe().value)
    except SourceError as error:
        print(error)
"""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SNOWFLAKE_")
    }
    environment |= {"SNOWFLAKE_HOME": str(home), "SNOWFLAKE_DISABLE_PLATFORM_DETECTION": "true"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    good, wrong = done.stdout.strip().splitlines()
    assert good == "1"
    assert "'wrok'" in wrong
    assert "['work']" in wrong or CONNECTOR > 4  # 5 doesn't say what there is
    assert "connections.toml" in wrong
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.skipif(bool(find_spec("outerbounds")), reason="Outerbounds is installed")
def test_an_integration_without_outerbounds_is_an_error_that_says_how(project: Project):
    with pytest.raises(SourceError, match=r"Outerbounds distribution.*install outerbounds"):
        project.look("SELECT 1", integration="lake")


def test_an_integration_connects_as_outerbounds_does(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    import metaflow
    import snowflake.connector

    told: list[str] = []

    class Snowflake:
        """Outerbounds' class: it gets a token for an integration, and connects with it."""

        def __init__(
            self, user: str = "", role: str = "", integration: str = "", **rest: Any
        ) -> None:
            told.append(integration)
            if integration != "lake":
                raise RuntimeError(f"Secret not found: {integration} token={GOOD_TOKEN}")
            login = {"user": user, "role": role, "token": GOOD_TOKEN, "authenticator": "oauth"}
            place = {"account": "fakesnow", "host": "127.0.0.1", "protocol": "http"}
            port = project.snow.port
            self.cn = snowflake.connector.connect(**login, **place, port=port, **rest)

    monkeypatch.setattr(metaflow, "Snowflake", Snowflake, raising=False)
    assert project.look("SELECT 1", integration="lake").value == 1
    with pytest.raises(SourceError, match="integration 'pond'") as failed:
        project.look("SELECT 1", integration="pond")
    assert told == ["lake", "pond"]
    assert GOOD_TOKEN not in everything_said(failed.value)


# -------------------- no way to connect


def everything_said(error: BaseException | None) -> str:
    """The text of an error and of all those behind it."""
    said: list[str] = []
    while error is not None:
        said += [str(error), repr(error.args), repr(vars(error))]
        error = error.__cause__ or error.__context__
    return "\n".join(said)


def test_without_settings_every_place_that_was_searched_is_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    for name in ("ACCOUNT", "USER", "PASSWORD"):
        monkeypatch.delenv(f"SNOWFLAKE_{name}")
    with pytest.raises(SourceError) as failed:
        project.look("SELECT 1")
    said = str(failed.value)
    places = [said.index(place) for place in ("`integration`", "`connection`", "environment")]
    assert places == sorted(places)
    assert "SNOWFLAKE_ACCOUNT, SNOWFLAKE_USER, SNOWFLAKE_PASSWORD not set" in said


WRONG: dict[str, tuple[dict[str, str], dict[str, str], str]] = {
    "account": ({"SNOWFLAKE_ACCOUNT": "nosuch"}, {}, r"myorg-myaccount"),
    "user": ({"SNOWFLAKE_USER": "nobody"}, {}, "Incorrect username or password.*SNOWFLAKE_USER"),
    "password": ({"SNOWFLAKE_PASSWORD": "hunter2-and-3"}, {}, "Incorrect username or password"),
    "role": ({}, {"role": "NOSUCH"}, "Role 'NOSUCH'.*not exist or not authorized.*GRANT ROLE"),
    "warehouse": ({}, {"warehouse": "NOSUCH"}, "requested warehouse does not exist.*GRANT USAGE"),
    "database": ({}, {"database": "NOSUCH"}, "requested database does not exist.*`database`"),
    "expired token": ({"SNOWFLAKE_TOKEN": OLD_TOKEN}, {}, "token expired.*new one"),
    "other token": ({"SNOWFLAKE_TOKEN": "some-token-0123"}, {}, "Invalid OAuth access token"),
    "key": ({"SNOWFLAKE_PRIVATE_KEY": "no key"}, {}, "private key can't be read.*PEM"),
    "key file": ({"SNOWFLAKE_PRIVATE_KEY_FILE": "/nosuch/key.p8"}, {}, "nosuch/key.p8"),
    "suspended": ({}, {"warehouse": "ASLEEP"}, "No active warehouse.*AUTO_RESUME.*RESUME"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_one_clear_error_without_a_secret(
    project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, what: str
):
    environment, data, message = WRONG[what]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.DEBUG), pytest.raises(SourceError, match=message) as failed:
        project.look("SELECT 1", **data)
    said = everything_said(failed.value) + caplog.text
    for secret in (PASSWORD, "hunter2-and-3", OLD_TOKEN, "some-token-0123"):
        assert secret not in said


def test_what_goes_well_tells_no_secret_to_the_log(
    project: Project, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.DEBUG):
        assert project.look("SELECT 1").value == 1
    [token] = [
        token
        for token, session in project.snow._sessions.items()
        if session.number == project.snow.asked[-1].session
    ]
    assert "snowflake.connector" in {record.name.rpartition(".")[0] for record in caplog.records}
    assert PASSWORD not in caplog.text
    assert token not in caplog.text


def test_a_key_that_is_not_the_user_s_is_an_error(
    project: Project,
    key_pair: rsa.RSAPrivateKey,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    text = pem(rsa.generate_private_key(public_exponent=65537, key_size=2048))
    assert text != pem(key_pair)
    monkeypatch.setenv("SNOWFLAKE_PRIVATE_KEY", text)
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(SourceError, match="RSA_PUBLIC_KEY") as failed,
    ):
        project.look("SELECT 1")
    said = everything_said(failed.value) + caplog.text
    assert not [line for line in text.splitlines()[1:-1] if line in said]
    assert "eyJ" not in said


def test_without_the_connector_the_command_that_installs_it_is_said(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "snowflake.connector", None)
    with pytest.raises(SourceError, match=r"not installed.*pip install .snowflake-connector"):
        project.look("SELECT 1")


def test_a_server_that_nobody_reaches_is_an_error_within_the_limit(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("SNOWFLAKE_PORT", "1")
    with pytest.raises(SourceError, match=r"can't be connected to|longer than 1 s"):
        project.look("SELECT 1", timeout=1.0)


# -------------------- never ending


def test_a_query_that_takes_too_long_is_cancelled_on_the_server(project: Project):
    with pytest.raises(SourceError, match=r"longer than 0.5 s, and was cancelled.*timeout in"):
        project.look(NEVER, timeout=0.5)
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

    data = SnowflakeData(query="it", database=project.database, schema="PUBLIC", timeout=1.0)
    connection = connect(data)
    with pytest.raises(Error, match="timeout of 1 second|timed out after 1s"):
        connection.cursor().execute(NEVER, timeout=10)
    connection.close()


@pytest.mark.timeout(60)
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


# -------------------- the network fails


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
        with pytest.raises(SourceError, match=r"(longer than 1 s|Invalid Snowflake).*sql/it\.sql"):
            project.look("SELECT 1", timeout=1.0)


def test_a_session_that_has_expired_is_an_error(project: Project):
    with proxied(project.snow.url) as proxy, through(proxy):
        said = "Authentication token has expired.  The user must authenticate again."
        proxy.plan = on_queries(lambda _: snowflake_says("390114", said, "08001"))
        with pytest.raises(SourceError, match="must authenticate again|re-authentication required"):
            project.look("SELECT 1")


def test_the_answer_of_a_binary_is_bytes(project: Project):
    assert b64decode(str(project.look("SELECT TO_BINARY('00FF', 'HEX') AS b").value)) == b"\x00\xff"
