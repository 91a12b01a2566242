"""Every way into Snowflake, and what is said where none leads in: never a secret."""

import json
import logging
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from flowproject.errors import SourceError
from tests.snow import GOOD_TOKEN, OLD_TOKEN, Snow
from tests.snow_project import CONNECTOR, PASSWORD, Project, everything_said

ROOT = Path(__file__).parents[2]


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
    "warehouse": ({}, {"warehouse": "NOSUCH"}, "warehouse does not exist.*'NOSUCH'.*GRANT USAGE"),
    "database": ({}, {"database": "NOSUCH"}, "database does not exist.*'NOSUCH'.*`database`"),
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
