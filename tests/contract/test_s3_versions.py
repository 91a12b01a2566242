"""Objects that arrived carry the id of the very version that was seen, where a bucket has them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowproject.changes.observation import Observation, Past
from flowproject.config.data import S3Data
from flowproject.sources import open_source
from flowproject.sources.s3 import versions
from tests.observations import remembered
from tests.proxy import Answer, Asked, Proxy, failure, proxied
from tests.servers import Moto

pytestmark = pytest.mark.usefixtures("aws")


@pytest.fixture
def proxy(moto: Moto) -> Iterator[Proxy]:
    with proxied(moto.endpoint_url) as running:
        yield running


class Lake:
    """A bucket, and looks at it through a proxy."""

    def __init__(self, moto: Moto, proxy: Proxy, *, versioned: bool = True, **data: str) -> None:
        self.client = moto.client()
        self.proxy = proxy
        self.bucket = moto.bucket(versioned=versioned)
        self.data = {"key": "raw", **data}

    def put(self, key: str, content: str) -> str:
        put = self.client.put_object(Bucket=self.bucket, Key=key, Body=content.encode())
        return str(put.get("VersionId", ""))

    def look(self, before: Observation | None = None) -> Observation:
        data = S3Data(bucket=self.bucket, endpoint_url=self.proxy.endpoint_url, **self.data)
        past: Past | None = remembered(before) if before else None
        return open_source(data, Path()).observe(past)


def ids(seen: Observation) -> dict[str, object]:
    assert seen.difference is not None
    return {item.key: item.data.get("version_id") for item in seen.difference.arrived}


def test_what_arrived_has_the_ids_of_its_versions(moto: Moto, proxy: Proxy) -> None:
    lake = Lake(moto, proxy)
    for key in ("raw/a", "raw/b", "raw/é +%", "raw2/x"):
        lake.put(key, "1")
    before = lake.look()
    given = {
        key: lake.put(key, "2")
        for key in ("raw/a", "raw/é +%", "raw/new/1", "raw/new/2", "raw/z", "raw/new/10")
    }
    lake.client.delete_object(Bucket=lake.bucket, Key="raw/b")
    after = lake.look(before)
    assert ids(after) == given
    assert after.difference
    assert [item.data.get("version_id") for item in after.difference.removed] == [None]
    assert all(old.data.get("version_id") is None for old, _ in after.difference.modified)


def test_objects_side_by_side_take_few_requests(moto: Moto, proxy: Proxy) -> None:
    lake = Lake(moto, proxy)
    before = lake.look()
    given = {key: lake.put(key, "1") for key in (f"raw/{number:03}" for number in range(60))}
    proxy.asked.clear()
    assert ids(lake.look(before)) == given
    assert len(proxy.asked) <= 4


def test_many_versions_of_a_neighbour_do_not_hide_a_version(
    moto: Moto, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(moto, proxy)
    before = lake.look()
    for number in range(30):
        lake.put("raw/0", str(number))
    given = lake.put("raw/1", "1")
    monkeypatch.setattr(versions, "_PAGE", "5")
    assert ids(lake.look(before))["raw/1"] == given


def test_an_object_that_is_another_one_by_now_has_no_id(moto: Moto, proxy: Proxy) -> None:
    lake = Lake(moto, proxy)
    before = lake.look()
    lake.put("raw/a", "1")

    def overwrite(asked: Asked, forward: Callable[[], Answer]) -> Answer:
        if "versions" in asked.query:
            lake.client.delete_objects(
                Bucket=lake.bucket,
                Delete={
                    "Objects": [
                        {"Key": one["Key"], "VersionId": one["VersionId"]}
                        for one in lake.client.list_object_versions(Bucket=lake.bucket)["Versions"]
                    ]
                },
            )
            lake.put("raw/a", "2")
        return forward()

    proxy.plan = overwrite
    assert ids(lake.look(before)) == {"raw/a": None}


@pytest.mark.parametrize("asked_for", ["versioning", "versions"])
def test_a_look_that_may_not_see_versions_goes_without(
    moto: Moto, proxy: Proxy, asked_for: str
) -> None:
    lake = Lake(moto, proxy)
    before = lake.look()
    lake.put("raw/a", "1")
    refusal = failure(403, "AccessDenied")
    proxy.plan = lambda asked, forward: refusal if asked_for in asked.query else forward()
    assert ids(lake.look(before)) == {"raw/a": None}


def test_a_bucket_without_versions_is_asked_once_and_only_about_a_change(
    moto: Moto, proxy: Proxy
) -> None:
    lake = Lake(moto, proxy, versioned=False)
    before = lake.look()
    unchanged = lake.look(before)
    assert not any("version" in str(asked.query) for asked in proxy.asked)
    lake.put("raw/a", "1")
    assert ids(lake.look(unchanged)) == {"raw/a": None}
    assert sum("version" in str(asked.query) for asked in proxy.asked) == 1


def test_only_new_objects_and_one_object_have_ids_too(moto: Moto, proxy: Proxy) -> None:
    lake = Lake(moto, proxy, check_mode="files_new")
    lake.put("raw/1", "1")
    before = lake.look()
    given = lake.put("raw/2", "1")
    assert ids(lake.look(before)) == {"raw/2": given}

    lake.data = {"key": "raw/2", "check_mode": "file_etag"}
    assert lake.look().items is not None
    [only] = lake.look().items.values()
    assert only.data["version_id"] == given
