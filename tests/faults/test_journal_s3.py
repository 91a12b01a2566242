"""A journal on S3 when the network, the server or the settings fail: nothing lost, plain words."""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
from metaflow.metaflow_config import DATATOOLS_CLIENT_PARAMS

from flowproject import aws
from flowproject.changes.difference import Difference
from flowproject.errors import JournalError
from flowproject.journal import Head, Store, open_store
from tests.journals import entry, journal_on
from tests.proxy import DROP, HANG, Answer, Asked, Plan, Proxy, failure, proxied
from tests.servers import Moto

SLOW_DOWN = failure(503, "SlowDown", "Please reduce your request rate.")
SECOND = dt.timedelta(seconds=1)


@pytest.fixture(autouse=True)
def proxy(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A line to moto that can fail; Metaflow is set to go through it."""
    with proxied(moto.endpoint_url) as proxy:
        monkeypatch.setitem(DATATOOLS_CLIENT_PARAMS, "endpoint_url", proxy.endpoint_url)
        yield proxy


@pytest.fixture
def root(moto: Moto) -> str:
    return f"s3://{moto.bucket()}/root"


@pytest.fixture
def store(root: str) -> Store:
    return open_store(root)


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch, root: str) -> Store:
    """A store that gives up soon."""
    monkeypatch.setattr(aws, "_RETRYING", SECOND)
    monkeypatch.setattr(aws, "_SILENCE", SECOND)
    return open_store(root)


def first(answer: Answer, *, count: int = 1, after: bool = False) -> Plan:
    """The first requests get this answer; `after` says whether the server does its work first."""
    seen: list[int] = []

    def plan(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        seen.append(asked.number)
        if len(seen) > count:
            return forward()
        if after:
            forward()
        return answer

    return plan


def always(answer: Answer) -> Plan:
    return lambda _asked, _forward: answer


def failed(question: Callable[[], object]) -> str:
    with pytest.raises(JournalError) as caught:
        question()
    return str(caught.value)


@pytest.mark.parametrize("answer", [failure(500, "InternalError"), SLOW_DOWN, DROP])
def test_an_entry_that_was_created_although_the_answer_failed_is_ours(
    store: Store, proxy: Proxy, answer: Answer
) -> None:
    plan = first(answer, after=True)
    # What is written at the same time has tests of its own.
    proxy.plan = lambda asked, forward: (
        plan(asked, forward) if "/entries/" in asked.target else forward()
    )
    recorded = journal_on(store).record(entry(1), None, Difference(), Head())
    creations = [asked for asked in proxy.asked if "/entries/" in asked.target]
    assert [asked.method for asked in creations] == ["PUT", "PUT", "GET"]
    assert journal_on(store).head().entry == recorded


@pytest.mark.parametrize("answer", [SLOW_DOWN, failure(500, "InternalError"), DROP])
def test_a_store_that_fails_for_a_moment_is_asked_again(
    store: Store, proxy: Proxy, answer: Answer
) -> None:
    for number, ask in enumerate((store.exists, store.get, store.open, store.keys, store.delete)):
        store.put("key", b"content")
        proxy.asked.clear()
        proxy.plan = first(answer, count=2)
        ask("key")
        assert len(proxy.asked) == 3, number
    proxy.plan = first(answer, count=2)
    assert store.create("other", b"content")


def test_a_body_that_breaks_off_is_read_on(store: Store, proxy: Proxy) -> None:
    content = bytes(range(256)) * 4000
    store.put("key", content)
    cut = iter([0.3, 0.6])
    proxy.plan = lambda _, forward: forward().cut_at(next(cut, 2.0))
    assert store.get("key") == content


@pytest.mark.parametrize(
    "answer, reason",
    [
        (SLOW_DOWN, "SlowDown: Please reduce your request rate. (http"),
        (DROP, "error sending request"),
        (HANG, "TimedOut"),
        (Answer(status=502, body=b"<html>Bad gateway</html>"), "the server answered 502 Bad Gat"),
    ],
)
def test_a_store_that_goes_on_failing_is_one_error_within_a_bounded_time(
    hasty: Store, proxy: Proxy, answer: Answer, reason: str
) -> None:
    proxy.plan = always(answer)
    began = time.monotonic()
    said = failed(lambda: hasty.get("key"))
    assert time.monotonic() - began < 60  # obstore by itself goes on for three minutes
    assert reason in said
    assert "nothing was lost or advanced" in said.lower()
    assert "<" not in said


def test_the_time_for_one_request_is_bounded_to_about_half_a_minute() -> None:
    longest = aws._RETRYING + aws._SILENCE
    assert longest <= dt.timedelta(seconds=35)
    assert aws._CONNECT < aws._RETRYING


def test_a_server_that_is_down_is_named(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "_RETRYING", SECOND)
    with proxied("http://127.0.0.1") as gone:
        address = gone.endpoint_url
    monkeypatch.setitem(DATATOOLS_CLIENT_PARAMS, "endpoint_url", address)
    assert f"Connection refused ({address}, after" in failed(lambda: open_store(root).get("key"))


def test_a_login_page_is_not_taken_for_an_empty_journal(store: Store, proxy: Proxy) -> None:
    proxy.plan = always(Answer(status=200, body=b"<html>Log in</html>"))
    assert "gave no ETag" in failed(journal_on(store).head)
    assert "ETag" in failed(lambda: store.put("key", b""))


def test_a_missing_bucket_is_not_taken_for_an_empty_journal() -> None:
    store = open_store("s3://no-such-bucket/root")
    for ask in (store.get, store.keys, store.delete, lambda key: store.put(key, b"")):
        said = failed(partial(ask, "key"))
        assert "NoSuchBucket: The specified bucket does not exist" in said
    assert "METAFLOW_DATASTORE_SYSROOT_S3" in failed(journal_on(store).head)


def test_a_refusal_names_the_permissions_that_are_needed(store: Store, proxy: Proxy) -> None:
    proxy.plan = always(failure(403, "AccessDenied", "Access Denied"))
    said = failed(lambda: store.put("key", b""))
    assert "AccessDenied: Access Denied" in said
    assert "s3:PutObject" in said


def test_wrong_credentials_are_said_to_be_so_and_never_shown(store: Store, proxy: Proxy) -> None:
    answer = failure(403, "SignatureDoesNotMatch", "The signature does not match.")
    secret = b"<AWSAccessKeyId>tester</AWSAccessKeyId><StringToSign>an-open-secret</StringToSign>"
    proxy.plan = always(answer.with_body(answer.body.replace(b"</Error>", secret + b"</Error>")))
    said = failed(lambda: store.get("key"))
    assert "SignatureDoesNotMatch" in said
    assert "AWS_PROFILE" in said
    assert "tester" not in said
    assert "an-open-secret" not in said
    proxy.plan = always(Answer(status=403))
    assert "AWS_PROFILE" in failed(lambda: store.exists("key")), "a HEAD is answered without words"


def test_a_bucket_in_another_region_is_found_there(store: Store, proxy: Proxy) -> None:
    store.put("key", b"content")

    def plan(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        headers = {name.lower(): value for name, value in asked.headers.items()}
        there = "/eu-west-1/s3/" in headers["authorization"]
        answer = forward() if there else failure(301, "PermanentRedirect")
        return replace(answer, headers={**answer.headers, "x-amz-bucket-region": "eu-west-1"})

    proxy.plan = plan
    assert store.get("key") == b"content"
    proxy.asked.clear()
    assert store.get("key") == b"content"
    assert len(proxy.asked) == 1, "it is looked for once"


def test_a_region_that_helps_nothing_is_an_error_and_no_loop(store: Store, proxy: Proxy) -> None:
    region = {"x-amz-bucket-region": "eu-west-1"}
    proxy.plan = always(Answer(status=301, headers=region))
    assert "incorrectly configured region" in failed(lambda: store.get("key"))
    assert len(proxy.asked) < 10


def test_credentials_are_asked_for_again_when_they_run_out(
    proxy: Proxy, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Changing:
        count = 0

        def get_frozen_credentials(self) -> object:
            Changing.count += 1
            return type(
                "Frozen", (), {"access_key": f"K{self.count}", "secret_key": "s", "token": "t"}
            )

    monkeypatch.setattr(aws, "client_credentials", lambda *_, **__: Changing())
    monkeypatch.setattr(aws, "_LIFETIME", dt.timedelta(0))
    store = open_store(root)
    for _ in range(3):
        store.put("key", b"")
        time.sleep(0.15)  # obstore asks at most every 100 ms
    used = [asked.headers["authorization"].partition("Credential=")[2][:2] for asked in proxy.asked]
    # The first is used up by whoever works out which form of address the bucket has.
    assert used == ["K2", "K3", "K4"]


@pytest.mark.parametrize("encryption", ["AES256", "aws:kms"])
def test_what_is_written_is_encrypted_as_metaflow_says(
    moto: Moto, proxy: Proxy, root: str, monkeypatch: pytest.MonkeyPatch, encryption: str
) -> None:
    monkeypatch.setattr("metaflow.metaflow_config.S3_SERVER_SIDE_ENCRYPTION", encryption)
    store = open_store(root)
    store.create("one", b"")
    store.put_file("two", BytesIO(bytes(11 << 20)))
    bucket = root.split("/")[2]
    for key in ("root/one", "root/two"):
        head = moto.client().head_object(Bucket=bucket, Key=key)
        assert head["ServerSideEncryption"] == encryption
    assert any("uploads" in asked.query for asked in proxy.asked)


def test_the_environment_does_not_go_before_metaflows_endpoint(
    proxy: Proxy, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "false")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    store = open_store(root)
    store.put("key", b"content")
    assert store.get("key") == b"content"
    assert all("authorization" in asked.headers for asked in proxy.asked)


def test_a_large_file_arrives_although_parts_of_it_fail(
    store: Store, proxy: Proxy, tmp_path: Path
) -> None:
    content = bytes(range(256)) * (3 << 14)  # 12 MB: three parts
    (tmp_path / "file").write_bytes(content)
    proxy.plan = first(SLOW_DOWN, count=3)
    with (tmp_path / "file").open("rb") as file:
        store.put_file("key", file)
    reader = store.open("key")
    assert reader is not None
    assert reader.read() == content
    reader.seek(-256, 2)
    assert reader.read() == bytes(range(256))
