"""A look at S3 that fails changes nothing: not the journal, not the other sensors, not the next."""

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import pytest

from flowproject import sensing
from flowproject.config import FilesData, Project, S3Data, Schedule, Sensor
from flowproject.journal import open_store
from flowproject.sensing import ProjectContext, Tick
from flowproject.sources.s3 import bucket as bucket_module
from flowproject.sources.s3 import source
from flowproject.sources.s3.work_queue import ListingOptions
from tests.proxy import DROP, Answer, Plan, Proxy, failure, proxied
from tests.servers import Moto

OBJECTS: Final = 60


class Bus(Protocol):
    events: list[dict[str, Any]]
    payloads: list[dict[str, Any]]


@pytest.fixture
def bucket(moto: Moto) -> str:
    name = moto.bucket()
    moto.fill(name, {f"raw/d{n % 4}/{n:03}": b"1" for n in range(OBJECTS)})
    return name


@pytest.fixture
def proxy(moto: Moto) -> Iterator[Proxy]:
    with proxied(moto.endpoint_url) as proxy:
        yield proxy


@pytest.fixture
def context(
    tmp_path: Path, proxy: Proxy, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> ProjectContext:
    """Two sensors: one on the bucket, one on a folder."""
    monkeypatch.setattr(
        bucket_module, "RetryLimits", partial(bucket_module.RetryLimits, first_pause=0.001)
    )
    options = ListingOptions(at_once=4, page_size=10, span_rows=20)
    monkeypatch.setattr(source, "ListingOptions", lambda: options)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("1")
    objects = S3Data(bucket=bucket, key="raw", endpoint_url=proxy.endpoint_url)
    sensors = {
        "objects": Sensor(name="objects", data=objects, event_name="objects_changed"),
        "files": Sensor(name="files", data=FilesData(path="data"), event_name="files_changed"),
    }
    return ProjectContext(
        project=Project(project_name="demo", sensor=Schedule(), sensors=sensors),
        root=tmp_path,
        store=open_store(str(tmp_path / "store")),
        branch="user.tester",
        run="SensorFlow/1",
    )


def tick(context: ProjectContext) -> dict[str, Tick]:
    return {seen.sensor: seen for seen in sensing.publish(context, sensing.observe(context))}


def journal(context: ProjectContext, sensor: str) -> dict[str, bytes | None]:
    location = context.journal(sensor).location
    return {key: context.store.get(key) for key in context.store.keys(location)}


def on_pages(trouble: Callable[[Answer], Answer], *, after: int = 2) -> Plan:
    """Trouble for every page but the first ones."""
    count = 0

    def plan(asked: Any, forward: Callable[[], Answer]) -> Answer:
        nonlocal count
        count += asked.lists
        return trouble(forward()) if count > after else forward()

    return plan


FAILURES: Final[dict[str, tuple[Callable[[Answer], Answer], str]]] = {
    "cut in the middle": (lambda answer: answer.cut_at(0.5), ""),
    "throttled": (lambda _: failure(503, "SlowDown"), "SlowDown"),
    "dropped": (lambda _: DROP, ""),
    "denied": (lambda _: failure(403, "AccessDenied"), "s3:ListBucket"),
    "bucket gone": (lambda _: failure(404, "NoSuchBucket"), "no bucket"),
    "no XML": (lambda answer: answer.with_body(b"<html></html>"), ""),
}


@pytest.mark.parametrize("why", FAILURES)
def test_a_look_that_fails_half_way_leaves_the_journal_and_the_others_alone(
    context: ProjectContext, proxy: Proxy, bus: Bus, moto: Moto, bucket: str, why: str
) -> None:
    trouble, said = FAILURES[why]
    tick(context)
    before = journal(context, "objects")
    moto.fill(bucket, {"raw/d0/new": b"1"})
    (context.root / "data" / "b.csv").write_text("2")
    proxy.plan = on_pages(trouble)
    failed = tick(context)
    assert failed["objects"].outcome == "failed"
    assert said in failed["objects"].reason
    assert failed["files"].outcome == "changed"
    assert journal(context, "objects") == before
    assert [event["name"].rpartition(".")[2] for event in bus.events] == ["files_changed"]
    proxy.plan = lambda _, forward: forward()
    seen = tick(context)["objects"]
    assert (seen.outcome, seen.counts) == ("changed", {"added": 1, "modified": 0, "removed": 0})
    [item] = bus.payloads[-1]["change"]["sample"]["added"]
    assert item["key"] == "raw/d0/new"


@pytest.mark.usefixtures("bus")
def test_a_first_look_that_fails_is_no_baseline(
    context: ProjectContext, proxy: Proxy, moto: Moto, bucket: str
) -> None:
    proxy.plan = on_pages(lambda _: failure(403, "AccessDenied"))
    assert tick(context)["objects"].outcome == "failed"
    assert journal(context, "objects") == {}
    proxy.plan = lambda _, forward: forward()
    moto.fill(bucket, {"raw/d0/new": b"1"})
    seen = tick(context)["objects"]
    assert (seen.outcome, seen.value) == ("baseline", OBJECTS + 1)


def test_unchanged_looks_write_nothing_and_send_nothing(
    context: ProjectContext, bus: Bus, proxy: Proxy
) -> None:
    tick(context)
    before = journal(context, "objects")
    assert [tick(context)["objects"].outcome for _ in range(3)] == ["unchanged"] * 3
    assert journal(context, "objects") == before
    assert bus.events == []
    assert {asked.method for asked in proxy.asked} == {"GET"}


def sampled(changes: list[dict[str, Any]], kind: str) -> list[str]:
    return [item["key"] for change in changes for item in change["sample"].get(kind, [])]


def test_objects_that_change_while_they_are_listed_are_told_in_the_end_exactly_once(
    context: ProjectContext, proxy: Proxy, bus: Bus, moto: Moto, bucket: str
) -> None:
    tick(context)
    client = moto.client()

    def meanwhile(answer: Answer) -> Answer:
        proxy.plan = lambda _, forward: forward()
        client.put_object(Bucket=bucket, Key="raw/d0/0", Body=b"1")
        client.put_object(Bucket=bucket, Key="raw/d9/0", Body=b"1")
        client.delete_object(Bucket=bucket, Key="raw/d3/003")
        return answer

    proxy.plan = on_pages(meanwhile)
    for _ in range(2):
        tick(context)
    assert tick(context)["objects"].outcome == "unchanged"
    changes = [payload["change"] for payload in bus.payloads]
    assert sorted(sampled(changes, "added")) == ["raw/d0/0", "raw/d9/0"]
    assert sampled(changes, "removed") == ["raw/d3/003"]
    assert sampled(changes, "modified") == []


def test_a_prefix_that_doubles_between_ticks_is_one_exact_change(
    context: ProjectContext, bus: Bus, moto: Moto, bucket: str
) -> None:
    tick(context)
    moto.fill(bucket, {f"raw/d{n % 7}/{n:03}-": b"1" for n in range(OBJECTS)})
    seen = tick(context)["objects"]
    assert seen.counts == {"added": OBJECTS, "modified": 0, "removed": 0}
    assert bus.payloads[0]["value"] == 2 * OBJECTS
    assert tick(context)["objects"].outcome == "unchanged"


def test_a_change_waits_for_its_marker_and_until_it_has_settled(
    context: ProjectContext, bus: Bus, moto: Moto, bucket: str
) -> None:
    patient = replace(context.project.sensors["objects"].data, marker="_SUCCESS", settle=60.0)
    sensors = {"objects": replace(context.project.sensors["objects"], data=patient)}
    context = replace(context, project=replace(context.project, sensors=sensors))
    tick(context)
    moto.fill(bucket, {"raw/d9/new": b"1"})
    assert tick(context)["objects"].outcome == "settling"
    moto.fill(bucket, {"raw/d9/_SUCCESS": b""})
    assert tick(context)["objects"].outcome == "settling"
    long_ago = dt.datetime(2020, 1, 1)  # noqa: DTZ001  # moto's are like this
    for key in ("raw/d9/new", "raw/d9/_SUCCESS"):
        moto.date(bucket, key, long_ago)
    assert tick(context)["objects"].counts == {"added": 2, "modified": 0, "removed": 0}
    assert len(bus.events) == 1


def test_a_secret_is_nowhere_in_what_is_recorded_or_said(
    context: ProjectContext, proxy: Proxy, moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert moto.credentials["AWS_ACCESS_KEY_ID"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-secret-itself")
    tick(context)
    proxy.plan = lambda asked, _: failure(403, "SignatureDoesNotMatch", str(asked.headers))
    reason = tick(context)["objects"].reason
    assert "the-secret-itself" not in reason
    assert moto.credentials["AWS_ACCESS_KEY_ID"] not in reason
    recorded = b"".join(filter(None, journal(context, "objects").values()))
    assert b"the-secret-itself" not in recorded
