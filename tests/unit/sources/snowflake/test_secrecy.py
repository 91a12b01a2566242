"""No credential gets out: not in a text, not in an error or those behind it, not in a log."""

import json
import logging

import pytest

from flowproject.sources.snowflake import secrecy
from flowproject.sources.snowflake.secrecy import (
    guard_logs,
    keep_secret,
    keep_secrets_of,
    safe,
    scrub,
)

PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----"


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrecy, "_known", set())


@pytest.mark.parametrize(
    "text, said",
    [
        ("token eyJhbGciOi.eyJpc3MiOi.c2lnbmF0dXJl is invalid", "token *** is invalid"),
        ('Snowflake Token="ver:1-hint:92019686956010-ETMsDgAAA=="', 'Snowflake Token="***"'),
        ("https://me:hunter2@proxy/", "https://***@proxy/"),
        ("connect(user=me, password=hunter2)", "connect(user=me, password=***)"),
        ('{"PASSWORD": "hunter2", "x": 1}', '{"PASSWORD": "***", "x": 1}'),
        (f"can't read {PEM} at all", "can't read *** at all"),
        ("Object 'TOKENS' does not exist", "Object 'TOKENS' does not exist"),
    ],
)
def test_what_looks_like_a_secret_is_left_out(text: str, said: str):
    assert safe(text) == said


def test_what_is_known_to_be_one_is_left_out_wherever_it_stands():
    keep_secret(["hunter2", "snow"])
    assert safe("hunter2: (hunter2)") == "***: (***)"
    assert safe("a snowflake in the snow") == "a snowflake in the ***"


def test_every_line_of_a_key_is_one():
    keep_secret([PEM])
    assert safe("broken at hkiG9w0BAQEFAASC") == "broken at ***"


def test_a_secret_is_one_in_json_too():
    odd = 'hun"ter\\2é'
    keep_secret([odd])
    for document in (json.dumps([odd]), json.dumps([odd], ensure_ascii=False)):
        assert safe(document) == '["***"]'


def test_of_a_connection_s_settings_those_are_secret_that_open_it():
    told = {
        "user": "someone",
        "passcode_in_password": True,
        "token_file_path": "/run/there",
        "private_key_file": "/run/key.p8",
        "oauth_token_request_url": "https://login.example.com",
        "retries": 1000,
    }
    keep_secrets_of(told)
    assert safe(str(told)) == str(told)
    hidden = ("password", "PASSCODE", "token", "private_key", "private_key_file_pwd")
    hidden += ("oauth_client_secret", "private_key_passphrase")
    keep_secrets_of({name: f"opens {name}" for name in hidden})
    for name in hidden:
        assert safe(f"({name}: opens {name})") == f"({name}: ***)"


def test_errors_behind_an_error_are_scrubbed_too():
    keep_secret(["hunter2"])
    inner, outer = ValueError("hunter2"), KeyError("x", "hunter2")
    outer.__cause__, inner.__context__ = inner, outer
    inner.msg = "hunter2"  # type: ignore[attr-defined]
    assert scrub(outer) is outer
    assert outer.args == ("x", "***")
    assert (inner.args, vars(inner)) == (("***",), {"msg": "***"})


def test_what_the_connector_logs_is_scrubbed_with_its_tracebacks(caplog: pytest.LogCaptureFixture):
    keep_secret(["hunter2"])
    log = logging.getLogger("snowflake.connector.something")
    guard_logs()
    with caplog.at_level(logging.DEBUG, logger="snowflake"):
        try:
            int("hunter2 again")
        except ValueError:
            log.exception("with %s and %d", "hunter2", 1)
    assert "with *** and 1" in caplog.text
    assert "*** again" in caplog.text
    assert "hunter2" not in caplog.text


def test_warnings_of_the_connector_do_not_appear_where_nobody_asked_for_logs(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(logging.root, "handlers", [])
    guard_logs()
    logging.getLogger("snowflake.connector.network").error("trouble")
    assert capfd.readouterr().err == ""
