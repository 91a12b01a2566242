"""What networks, servers and rights do to a listing: the answer is exact, or it is an error."""

import datetime as dt
import re
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote_plus

import pytest

from flowproject.changes.observation import Observation
from flowproject.config.data import S3Data
from flowproject.errors import SourceError
from flowproject.sources import open_source
from flowproject.sources.s3 import bucket as bucket_module
from flowproject.sources.s3 import source
from flowproject.sources.s3.work_queue import ListingOptions
from tests.observations import remembered
from tests.proxy import DROP, Answer, Asked, Plan, Proxy, failure, proxied
from tests.servers import CREDENTIALS, Moto, S3Server

FOLDERS: Final = 6
EACH: Final = 15
PAGE: Final = 8
SECONDS: Final = 30.0
SLOW_DOWN: Final = failure(503, "SlowDown", "Please reduce your request rate.")


@pytest.fixture
def bucket(moto: Moto) -> str:
    """A bucket with six folders of fifteen objects, and two objects beside them."""
    name = moto.bucket()
    moto.fill(name, {f"raw/d{n % FOLDERS}/{n:03}": b"1" for n in range(FOLDERS * EACH)})
    moto.fill(name, {"raw2/x": b"1", "other": b"1"})
    return name


@pytest.fixture
def proxy(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    options = ListingOptions(at_once=4, page_size=PAGE, span_rows=2 * PAGE)
    monkeypatch.setattr(source, "ListingOptions", lambda: options)
    with proxied(moto.endpoint_url) as proxy:
        yield proxy


def look(proxy: Proxy, bucket: str, past: Observation | None = None, **keys: Any) -> Observation:
    data = S3Data(**{"bucket": bucket, "key": "raw", "endpoint_url": proxy.endpoint_url, **keys})
    return open_source(data, Path()).observe(remembered(past) if past else None)


def truth(moto: Moto, bucket: str, prefix: str = "raw/") -> dict[str, str]:
    """Every key with its ETag, as boto3 lists it."""
    pages = moto.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    entries = [entry for page in pages for entry in page.get("Contents", [])]
    return {entry["Key"]: entry["ETag"].strip('"') for entry in entries}


def told(seen: Observation) -> dict[str, str]:
    assert seen.items is not None
    return {item.key: str(item.data["etag"]) for item in seen.items.values()}


def at_page(number: int, trouble: Callable[[Answer], Answer], *, times: int = 1) -> Plan:
    """Trouble for so many requests for pages, from this one on."""
    count = 0

    def plan(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        nonlocal count
        if not asked.lists:
            return forward()
        count += 1
        return trouble(forward()) if number <= count < number + times else forward()

    return plan


def in_folder(name: str, trouble: Callable[[Answer], Answer]) -> Plan:
    """Trouble for every page that has an object of this folder."""

    def plan(_: Asked, forward: Callable[[], Answer]) -> Answer:
        answer = forward()
        return trouble(answer) if f"<Key>raw/{name}/".encode() in answer.body else answer

    return plan


TROUBLES: Final[dict[str, Callable[[Answer], Answer]]] = {
    "a body cut in the middle": lambda answer: answer.cut_at(0.5),
    "a body cut at once": lambda answer: answer.cut_at(0.0),
    "a body that ends too early": lambda answer: answer.cut_unseen(len(answer.body) // 2),
    "a body that ends after a row": lambda answer: answer.cut_unseen(
        answer.body.index(b"</Contents>") + len(b"</Contents>")
    ),
    "an empty body": lambda answer: answer.with_body(b""),
    "a dropped connection": lambda _: DROP,
    "slow down": lambda _: SLOW_DOWN,
    "slow down, and when": lambda _: failure(503, "SlowDown", **{"Retry-After": "0"}),
    "internal error": lambda _: failure(500, "InternalError"),
    "bad gateway": lambda _: Answer(status=502, body=b"<html>Bad Gateway</html>"),
    "gateway timeout": lambda _: Answer(status=504),
    "too many requests": lambda _: failure(429, "TooManyRequests"),
    "request timeout": lambda _: failure(400, "RequestTimeout"),
}


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("trouble", TROUBLES)
def test_trouble_that_passes_is_waited_out_and_nothing_is_missed(
    moto: Moto, proxy: Proxy, bucket: str, trouble: str, number: int
) -> None:
    proxy.plan = at_page(number, TROUBLES[trouble])
    seen = look(proxy, bucket)
    assert told(seen) == truth(moto, bucket)
    assert len(proxy.pages) >= FOLDERS * EACH / PAGE + 1


@pytest.mark.parametrize("trouble", ["a body cut in the middle", "slow down"])
def test_trouble_in_the_second_look_makes_no_change(
    moto: Moto, proxy: Proxy, bucket: str, trouble: str
) -> None:
    before = look(proxy, bucket)
    proxy.plan = at_page(2, TROUBLES[trouble], times=2)
    after = look(proxy, bucket, before)
    assert after.fingerprint == before.fingerprint
    assert told(after) == truth(moto, bucket)


def _twice(times: int) -> Plan:
    """Whoever asks for what comes after a page gets that page again, so many times."""
    served: dict[str, Answer] = {}
    repeated = 0

    def plan(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        nonlocal repeated
        if not asked.lists:
            return forward()
        after = asked.query.get("continuation-token", asked.query.get("start-after", ""))
        if after in served and repeated < times:
            repeated += 1
            return served[after]
        answer = forward()
        if found := re.findall(rb"<Key>([^<]*)</Key>", answer.body):
            served[unquote_plus(found[-1].decode())] = answer
        if found := re.findall(rb"<NextContinuationToken>([^<]*)<", answer.body):
            served[found[0].decode()] = answer
        return answer

    return plan


@pytest.mark.parametrize("times", [1, 2])
def test_a_page_that_comes_twice_counts_once(
    moto: Moto, proxy: Proxy, bucket: str, times: int
) -> None:
    proxy.plan = _twice(times)
    seen = look(proxy, bucket)
    assert told(seen) == truth(moto, bucket)
    assert seen.value == FOLDERS * EACH
    proxy.plan = _twice(times)
    again = look(proxy, bucket, seen)
    assert again.fingerprint == seen.fingerprint


def test_a_server_that_repeats_a_page_for_ever_is_an_error_and_no_loop(
    proxy: Proxy, bucket: str
) -> None:
    proxy.plan = _twice(1_000_000)
    with pytest.raises(SourceError):
        look(proxy, bucket)
    assert len(proxy.asked) < 100


def test_an_answer_to_another_question_is_not_taken_for_one_to_this(
    moto: Moto, proxy: Proxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = ListingOptions(at_once=1, page_size=PAGE, span_rows=2 * PAGE)
    monkeypatch.setattr(source, "ListingOptions", lambda: alone)
    answers: list[Answer] = []

    def listen(_: Asked, forward: Callable[[], Answer]) -> Answer:
        answers.append(forward())
        return answers[-1]

    proxy.plan = listen
    before = look(proxy, bucket)
    proxy.plan = at_page(2, lambda _: answers[4])
    after = look(proxy, bucket, before)
    assert told(after) == truth(moto, bucket)


@pytest.mark.usefixtures("quick")
def test_one_range_that_is_always_throttled_fails_the_whole_look(proxy: Proxy, bucket: str) -> None:
    proxy.plan = in_folder("d3", lambda _: SLOW_DOWN)
    started = time.monotonic()
    with pytest.raises(SourceError, match=re.escape(bucket)) as caught:
        look(proxy, bucket)
    assert "SlowDown" in str(caught.value) or "503" in str(caught.value)
    assert time.monotonic() - started < SECONDS


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting between two tries takes no time; how long it takes is tested where it is decided."""
    quickly = partial(bucket_module.RetryLimits, first_pause=0.001)
    monkeypatch.setattr(bucket_module, "RetryLimits", quickly)


# ---------------------------------------------------------------------------------- rights, absence

REFUSED: Final = {
    "no right": (failure(403, "AccessDenied", "Access Denied"), "s3:ListBucket"),
    "no such key": (failure(403, "InvalidAccessKeyId"), "credentials|access key"),
    "a wrong secret": (failure(403, "SignatureDoesNotMatch"), "credentials|secret"),
    "a page of a proxy": (
        Answer(status=200, headers={"Content-Type": "text/html"}, body=b"<html>Log in</html>"),
        "endpoint_url",
    ),
    "a page of a proxy that forbids": (Answer(status=403, body=b"<html>No</html>"), "403|refuse"),
    "some other XML": (Answer(status=200, body=b"<Some><Contents/></Some>"), "endpoint_url"),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("why", REFUSED)
def test_what_is_refused_is_an_error_that_says_why_and_never_the_secret(
    proxy: Proxy, bucket: str, why: str
) -> None:
    answer, said = REFUSED[why]
    proxy.plan = lambda _, __: answer
    with pytest.raises(SourceError, match=f"(?is){said}") as caught:
        look(proxy, bucket)
    text = str(caught.value)
    assert bucket in text or proxy.endpoint_url in text
    assert CREDENTIALS["AWS_SECRET_ACCESS_KEY"] not in text
    assert CREDENTIALS["AWS_ACCESS_KEY_ID"] not in text
    assert len(proxy.asked) <= (3 if answer.status == 403 else 8)


@pytest.mark.parametrize("mode", ["files_metadata", "files_new", "file_size"])
def test_a_right_that_is_taken_away_names_the_action_that_is_missing(
    proxy: Proxy, bucket: str, mode: str
) -> None:
    # A HEAD has no body, so that the status is all there is.
    denied = failure(403, "AccessDenied", "Access Denied")
    proxy.plan = lambda asked, _: Answer(status=403) if asked.method == "HEAD" else denied
    action = "s3:GetObject" if mode == "file_size" else "s3:ListBucket"
    with pytest.raises(SourceError, match=action):
        look(proxy, bucket, check_mode=mode)


@pytest.mark.parametrize("mode", ["files_metadata", "files_new", "file_size", "file_etag"])
def test_a_bucket_that_does_not_exist_is_an_error_that_names_it(proxy: Proxy, mode: str) -> None:
    with pytest.raises(SourceError, match="nobodys-bucket"):
        look(proxy, "nobodys-bucket", check_mode=mode)
    assert len(proxy.asked) <= 3


def test_an_object_that_does_not_exist_is_an_observation(proxy: Proxy, bucket: str) -> None:
    seen = look(proxy, bucket, key="raw/none", check_mode="file_size")
    assert seen.value is None
    assert seen.items is not None
    assert len(seen.items) == 0
    assert len(proxy.asked) <= 2


def test_one_object_costs_one_head_and_downloads_nothing(proxy: Proxy, bucket: str) -> None:
    seen = look(proxy, bucket, key="raw/d0/000", check_mode="file_size")
    assert seen.value == 1
    assert [asked.method for asked in proxy.asked] == ["HEAD"]
    assert seen.cost.requests == 1


def test_credentials_that_are_really_wrong_are_refused_by_a_server_that_checks_them(
    rclone: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket = rclone.bucket()
    data = S3Data(bucket=bucket, endpoint_url=rclone.endpoint_url)
    assert open_source(data, Path()).observe().value == 0
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
    with pytest.raises(SourceError, match=bucket) as caught:
        open_source(data, Path()).observe()
    assert "another-secret" not in str(caught.value)


def test_no_credentials_at_all_are_an_error_that_says_where_they_were_looked_for(
    proxy: Proxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SourceError, match="credentials") as caught:
        look(proxy, bucket)
    assert "AWS_PROFILE" in str(caught.value)
    assert proxy.asked == []


@pytest.mark.usefixtures("quick")
def test_a_server_that_is_not_there_is_an_error_that_names_it(proxy: Proxy, bucket: str) -> None:
    nobody = "http://127.0.0.1:9"
    started = time.monotonic()
    with pytest.raises(SourceError, match=re.escape(nobody)):
        look(proxy, bucket, endpoint_url=nobody)
    assert time.monotonic() - started < SECONDS


def test_cancelling_ends_the_wait_between_two_tries(proxy: Proxy, bucket: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    later = failure(503, "SlowDown", **{"Retry-After": "50"})
    proxy.plan = lambda _, __: later
    data = S3Data(bucket=bucket, key="raw", endpoint_url=proxy.endpoint_url)
    looking = open_source(data, Path())
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(looking.observe)
        deadline = time.monotonic() + SECONDS
        while not proxy.asked:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        started = time.monotonic()
        looking.cancel()
        with pytest.raises(SourceError, match="told to stop"):
            running.result(SECONDS)
    assert time.monotonic() - started < SECONDS


# ------------------------------------------------------------------------------------------ extents


def test_an_empty_prefix_is_a_state_like_any_other(proxy: Proxy, bucket: str) -> None:
    seen = look(proxy, bucket, key="nothing/here")
    assert seen.value == 0
    assert told(seen) == {}
    assert len(proxy.asked) == 1
    again = look(proxy, bucket, seen, key="nothing/here")
    assert again.fingerprint == seen.fingerprint


def test_no_key_means_the_whole_bucket(moto: Moto, proxy: Proxy, bucket: str) -> None:
    seen = look(proxy, bucket, key="")
    assert told(seen) == truth(moto, bucket, "")
    assert seen.value == FOLDERS * EACH + 2


@pytest.mark.parametrize(
    "written", ["s3://{}", "s3://{}/", "s3://{}/raw", "s3://{}/raw/", "{}/raw"]
)
def test_a_bucket_may_be_written_as_an_address(
    moto: Moto, proxy: Proxy, bucket: str, written: str
) -> None:
    key = "" if "raw" in written else "raw"
    assert told(look(proxy, written.format(bucket), key=key)) == truth(moto, bucket)


def test_an_unchanged_look_asks_for_each_page_once(proxy: Proxy, bucket: str) -> None:
    before = look(proxy, bucket)
    proxy.asked.clear()
    after = look(proxy, bucket, before)
    assert after.fingerprint == before.fingerprint
    pages = -(-FOLDERS * EACH // PAGE)
    assert pages <= len(proxy.asked) <= pages + 4


# ------------------------------------------------------------------------------------ moving things


def test_a_prefix_that_doubles_between_two_looks_is_seen_whole(
    moto: Moto, proxy: Proxy, bucket: str
) -> None:
    before = look(proxy, bucket)
    old = truth(moto, bucket)
    moto.fill(bucket, {f"raw/d{n % 9}/{n:03}+": b"2" for n in range(FOLDERS * EACH)})
    after = look(proxy, bucket, before)
    assert told(after) == truth(moto, bucket)
    assert after.value == 2 * FOLDERS * EACH
    assert after.difference is not None
    assert {item.key for item in after.difference.added} == truth(moto, bucket).keys() - old.keys()
    assert (len(after.difference.modified), len(after.difference.removed)) == (0, 0)
    third = look(proxy, bucket, after)
    assert third.fingerprint == after.fingerprint


def test_objects_that_change_while_they_are_listed_are_right_in_the_next_look(
    moto: Moto, proxy: Proxy, bucket: str
) -> None:
    before = look(proxy, bucket)
    client = moto.client()

    def meanwhile(answer: Answer) -> Answer:
        client.delete_object(Bucket=bucket, Key="raw/d0/000")
        client.put_object(Bucket=bucket, Key="raw/d0/0000", Body=b"1")
        client.put_object(Bucket=bucket, Key="raw/d2/002", Body=b"2")
        client.delete_object(Bucket=bucket, Key="raw/d5/005")
        client.put_object(Bucket=bucket, Key="raw/d9/new", Body=b"1")
        return answer

    proxy.plan = at_page(3, meanwhile)
    during = look(proxy, bucket, before)
    after = look(proxy, bucket, during)
    assert told(after) == truth(moto, bucket)
    fresh = look(proxy, bucket)
    assert after.fingerprint == fresh.fingerprint


def test_objects_that_all_go_away_are_all_removed(moto: Moto, proxy: Proxy, bucket: str) -> None:
    before = look(proxy, bucket)
    client = moto.client()
    for key in truth(moto, bucket):
        client.delete_object(Bucket=bucket, Key=key)
    after = look(proxy, bucket, before)
    assert (after.value, told(after)) == (0, {})
    assert after.difference is not None
    assert after.difference.counts == {"added": 0, "modified": 0, "removed": FOLDERS * EACH}


def test_a_server_that_begins_to_list_in_another_order_makes_no_change(
    moto: Moto, proxy: Proxy, bucket: str
) -> None:
    before = look(proxy, bucket)
    proxy.plan = lambda _, forward: _backwards(forward())
    after = look(proxy, bucket, before)
    assert after.fingerprint == before.fingerprint
    assert told(after) == truth(moto, bucket)


def test_a_server_that_begins_to_write_its_rows_in_another_way_makes_no_change(
    moto: Moto, proxy: Proxy, bucket: str
) -> None:
    before = look(proxy, bucket)
    moto.client().delete_object(Bucket=bucket, Key="raw/d1/001")
    proxy.plan = lambda _, forward: _rewritten(forward())
    after = look(proxy, bucket, before)
    assert told(after) == truth(moto, bucket)
    assert after.difference is not None
    assert [item.key for item in after.difference.removed] == ["raw/d1/001"]
    assert after.difference.counts == {"added": 0, "modified": 0, "removed": 1}


def _backwards(answer: Answer) -> Answer:
    """The same page, its last row first."""
    rows = re.findall(rb"<Contents>.*?</Contents>", answer.body, re.DOTALL)
    before, _, rest = answer.body.partition(b"<Contents>")
    after = rest.rpartition(b"</Contents>")[2]
    return answer.with_body(before + b"".join(reversed(rows)) + after) if rows else answer


def _rewritten(answer: Answer) -> Answer:
    """The same page with something new in each row, and its elements in another order."""
    row = rb"<Contents>(<Key>.*?</Key>)(.*?)(<ETag>.*?</ETag>)(.*?)</Contents>"
    new = rb"<Contents><Colour>blue</Colour>\3\n\4\2\1</Contents>"
    return answer.with_body(re.sub(row, new, answer.body, flags=re.DOTALL))


# ------------------------------------------------------------------------------------------- clocks


@pytest.mark.parametrize("minutes", [-10, 10, 60])
def test_a_clock_that_is_off_is_no_reason_to_fail(
    moto: Moto, proxy: Proxy, bucket: str, minutes: int
) -> None:
    proxy.clock = time.time() + minutes * 60
    proxy.plan = lambda asked, forward: _too_skewed(asked, proxy.clock or 0) or forward()
    seen = look(proxy, bucket)
    assert told(seen) == truth(moto, bucket)
    assert len(proxy.asked) <= FOLDERS * EACH / PAGE * 2 + 20


def test_a_clock_that_can_not_be_right_is_an_error(proxy: Proxy, bucket: str) -> None:
    proxy.plan = lambda _, __: failure(403, "RequestTimeTooSkewed", Date=formatdate(usegmt=True))
    with pytest.raises(SourceError, match="(?i)clock|time"):
        look(proxy, bucket)
    assert len(proxy.asked) < 20


def _too_skewed(asked: Asked, now: float) -> Answer | None:
    """What a server says whose clock is more than five minutes away from the client's."""
    said = next(value for name, value in asked.headers.items() if name.lower() == "x-amz-date")
    signed = dt.datetime.strptime(said, "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    skewed = abs(signed.timestamp() - now) > 300
    return failure(403, "RequestTimeTooSkewed", "The difference is too large.") if skewed else None
