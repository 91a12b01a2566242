"""No credential gets out: not in a text, not in an error or those behind it, not in a log."""

import io
import json
import logging
import sys
import time
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.errors import QueryError
from flowproject.secrecy import (
    guard_logs,
    guard_output,
    hide,
    keep_secret,
    keep_secrets_of,
    keep_secrets_of_environment,
    safe,
    scrub,
)

PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text, said",
    [
        ("token eyJhbGciOi.eyJpc3MiOi.c2lnbmF0dXJl is invalid", "token *** is invalid"),
        ('Snowflake Token="ver:1-hint:92019686956010-ETMsDgAAA=="', 'Snowflake Token="***"'),
        ("https://me:hunter2@proxy/", "https://***@proxy/"),
        ("connect(user=me, password=hunter2)", "connect(user=me, password=***)"),
        ('{"PASSWORD": "hunter2", "x": 1}', '{"PASSWORD": "***", "x": 1}'),
        (f"can't read {PEM} at all", "can't read *** at all"),
        ("https://h/a?sig=hunter2&x=1 is gone", "https://h/a?*** is gone"),
        ("ATTACH 'dbname=x password=hunter2 host=y'", "ATTACH 'dbname=x password=*** host=y'"),
        ("(TYPE s3, KEY_ID 'a', SECRET 'hun''ter')", "(TYPE s3, KEY_ID 'a', SECRET '***')"),
        ("AWS_SECRET_KEY = 'hunter2' x", "AWS_SECRET_KEY = '***' x"),
        ("... user me identified by 'hunter2", "... user me identified by '***'"),
        ("MASTER_KEY=>$hunter2)", "MASTER_KEY=>***)"),
        ("{'password': 'hunter2'}", "{'password': '***'}"),
    ],
)
def test_what_looks_like_a_secret_is_left_out(text: str, said: str):
    assert safe(text) == said


@pytest.mark.parametrize(
    "text",
    [
        "Object 'TOKENS' does not exist",
        "unexpected token 'x' at 3",
        "password = :password",
        "private_key_file=/run/key.p8",
        "what is it? a date",
        "abfss://container@account/x",
    ],
)
def test_what_does_not_look_like_one_stays(text: str):
    assert safe(text) == text


@settings(max_examples=60, deadline=1000)
@given(st.lists(st.sampled_from([*"ab-=:'\"?@/. \n", "password", "://"])).map("".join))
def test_masking_again_changes_nothing(text: str):
    assert safe(safe(text)) == safe(text)


def test_long_texts_take_no_long_time():
    for piece in (
        "a-",
        "password",
        "password=",
        "'",
        "://a",
        "?a",
        "-----BEGIN ",
        "eyJ",
        "token '",
    ):
        text = piece * (200_000 // len(piece))
        start = time.process_time()
        safe(text)
        assert time.process_time() - start < 2, piece


def test_the_environment_says_what_is_secret_and_what_is_not(monkeypatch: pytest.MonkeyPatch):
    for name, value in {
        "WAREHOUSE_PASSWORD": "correct-horse",
        "AZURE_STORAGE_CONNECTION_STRING": "AccountName=x;stays-here",
        "DATABASE_URL": "postgres://me:battery-staple@host/db",
        "CANCEL_TOKEN": "true",
        "PWD": "/home/somebody",
        "TOKENIZERS_PARALLELISM": "parallel-or-not",
        "AWS_ACCESS_KEY_ID": "AKIA-who-I-am",
    }.items():
        monkeypatch.setenv(name, value)
    keep_secrets_of_environment()
    assert hide("correct-horse, battery-staple") == "***, ***"
    assert hide("AccountName=x;stays-here") == "***"
    same = "true /home/somebody parallel-or-not AKIA-who-I-am"
    assert safe(same) == same


def test_an_error_of_ours_holds_none_nor_do_those_behind_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WAREHOUSE_PASSWORD", "correct-horse")
    opens = "correct-horse"
    try:
        int(opens)
    except ValueError as error:
        ours = QueryError("SELECT 1 -- password = 'hunter2'", where=str(error))
        ours.__cause__ = error
    assert str(ours).startswith("SELECT 1 -- password = '***'")
    shown = "".join(traceback.format_exception(ours))
    assert "with base 10: '***'" in shown
    assert "correct-horse" not in shown


def test_what_a_process_prints_holds_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WAREHOUSE_PASSWORD", "correct-horse")
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    guard_output()
    guard_output()
    sys.stdout.write("opened with correct-horse")
    sys.stderr.writelines(["correct-horse\n", "https://me:x@host\n"])
    assert out.getvalue() == "opened with ***"
    assert err.getvalue() == "***\nhttps://***@host\n"
    assert not sys.stdout.isatty()


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
    guard_logs("snowflake")
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
    guard_logs("snowflake")
    logging.getLogger("snowflake.connector.network").error("trouble")
    assert capfd.readouterr().err == ""
