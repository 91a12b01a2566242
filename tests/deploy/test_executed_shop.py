"""A project of another kind, deployed and run: what is told in the order of the tests.

Its flows lie in `shop/`: sensors on S3, listeners of one and of two, a loop over the change, a
branch, retries, secrets, events of others, the end of another flow.
"""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.cluster import SECONDS
from tests.deploy.conftest import Argo, Repository
from tests.servers import Moto

FLOWS = Path(__file__).parent / "shop"
pytestmark = pytest.mark.timeout(1200)  # pods are slow where much else runs
TOLD = re.compile(r"^(?:\[MFLOG.*?\])?TOLD (.*)$", re.MULTILINE)


class Shop:
    """A deployed project, the bucket that it watches, and its runs."""

    def __init__(
        self, repository: Repository, argo: Argo, moto: Moto, bucket: str, volume: Path
    ) -> None:
        self.repository = repository
        self.argo = argo
        self.moto = moto
        self.bucket = bucket
        self.volume = volume

    def put(self, *keys: str) -> None:
        for key in keys:
            self.moto.client().put_object(Bucket=self.bucket, Key=f"raw/{key}", Body=b"x")

    def runs(self, flow: str) -> list[dict[str, Any]]:
        return self.argo.runs(f"shop.prod.{flow}")

    def newest(self, flow: str, number: int) -> dict[str, Any]:
        """The newest of so many runs; what was sent last may still be on its way to a Sensor."""
        deadline = time.monotonic() + SECONDS
        while len(runs := self.runs(flow)) < number and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(runs) == number
        return runs[-1]

    def succeeded(self, flow: str, number: int = 1) -> dict[str, Any]:
        """The same, which has succeeded."""
        run = self.newest(flow, number)
        assert run["status"]["phase"] == "Succeeded", self.argo.told(run)
        return run

    def told(self, workflow: dict[str, Any], step: str = "start") -> list[str]:
        """What the flow told the test."""
        return TOLD.findall(self.argo.log(workflow, step))


@pytest.fixture(scope="module")
def shop(
    new_repository: Callable[..., Repository],
    argo: Argo,
    moto: Moto,
    tmp_path_factory: pytest.TempPathFactory,
) -> Shop:
    repository = new_repository(flows=False)
    bucket, volume = moto.bucket(), tmp_path_factory.mktemp("volume")
    for file in FLOWS.iterdir():
        text = file.read_text().replace("{bucket}", bucket).replace("{volume}", str(volume))
        (repository.root / file.name).write_text(text)
    moto.secret("shop/token", {"SHOP_TOKEN": "sesame"})
    repository.commit("a shop")
    deployed = repository.flowproject("deploy")
    assert deployed.code == 0, deployed.out + deployed.err
    return Shop(repository, argo, moto, bucket, volume)


def test_a_run_that_is_killed_goes_on_as_the_same_run(shop: Shop) -> None:
    shop.put("orders/1", "stock/1")
    shop.argo.controller.submit_cron("shop.prod.sensorflow")
    shop.succeeded("sensorflow")
    [killed] = shop.runs("orderflow")
    assert killed["status"]["phase"] == "Failed"
    assert "exit code 137" in json.dumps(killed["status"]["nodes"])
    shop.argo.controller.retry(killed["metadata"]["name"])
    assert shop.told(shop.succeeded("orderflow")) == ["1 1 ['raw/orders/1'] 1 2026-01-01 1.5"]


def test_a_listener_of_two_sensors_gets_both_and_does_all_its_work(shop: Shop) -> None:
    run = shop.succeeded("bothflow")
    seen = ["raw/orders/1 in attempt 1", "raw/stock/1 in attempt 0"]
    assert shop.told(run, "end") == [f"['orders', 'stock'] {seen} 6"]
    attempts = [
        (node["displayName"], node["phase"])
        for node in run["status"]["nodes"].values()
        if re.fullmatch(r"item\(\d\)", node["displayName"])
    ]
    failed, *others = sorted(attempts)
    assert failed == ("item(0)", "Failed")
    assert others == [("item(0)", "Succeeded"), ("item(1)", "Succeeded")]


def test_the_same_change_delivered_twice_has_one_effect(shop: Shop) -> None:
    [first] = shop.runs("orderflow")
    [sent] = [
        one["value"]
        for one in first["spec"]["arguments"]["parameters"]
        if "orders_changed" in one["value"]
    ]
    shop.argo.publish(f'{{"name": "orders_changed", "payload": {sent}}}'.encode())
    second = shop.succeeded("orderflow", 2)
    assert shop.told(second) == []
    assert "This run does nothing: change 1" in shop.argo.log(second, "start")


def test_a_replay_is_taken_by_one_more_run(shop: Shop) -> None:
    replayed = shop.repository.flowproject("replay", "orders/1", "--production")
    assert replayed.code == 0, replayed.err
    third = shop.succeeded("orderflow", 3)
    assert shop.told(third) == ["1 2 ['raw/orders/1'] 1 2026-01-01 1.5"]


def test_an_event_of_others_fills_parameters_and_its_run_starts_the_next(shop: Shop) -> None:
    payload = {"name": "vendor.feed", "date": "2026-02-03", "n": 7, "more": {"a": [1]}}
    shop.argo.publish(json.dumps({"name": "vendor.feed", "payload": payload}).encode())
    vendor = shop.succeeded("vendorflow")
    assert shop.told(vendor) == ["2026-02-03 7 {'a': [1]} vendor.feed"]
    [pathspec] = shop.told(shop.succeeded("afterflow"))
    assert pathspec.startswith(f"VendorFlow/argo-{vendor['metadata']['name']}/start/")


def test_changes_in_order_wait_behind_a_run_that_failed(shop: Shop) -> None:
    assert shop.told(shop.succeeded("ledgerflow")) == ["1 ['raw/stock/1']"]
    for looks, key in ((2, "stock/2"), (3, "stock/3")):
        shop.put(key)
        shop.argo.controller.submit_cron("shop.prod.sensorflow")
        shop.succeeded("sensorflow", looks)
    failed = shop.newest("ledgerflow", 2)
    assert failed["status"]["phase"] == "Failed"
    history = shop.repository.flowproject("history", "stock", "--production", "--json")
    newest, second, _ = json.loads(history.out)
    assert newest["delivery"]["behind"] == {"LedgerFlow": 2}
    assert second["delivery"]["holds"] == [3]
    plan = shop.repository.flowproject("deploy", "--plan")
    assert "3 waits behind change 2" in " ".join(plan.out.split())
    (shop.volume / "mended").touch()
    shop.argo.controller.retry(failed["metadata"]["name"])
    third = shop.succeeded("ledgerflow", 3)
    assert shop.told(third) == ["3 ['raw/stock/3']"], "the run that was tried again told it"


def test_a_push_has_its_sensor_looked_at_and_no_other(shop: Shop) -> None:
    *_, scheduled = shop.runs("sensorflow")
    assert "stock: " in shop.argo.log(scheduled, "start")
    payload = {"name": "uploads.orders", "key": "{{secret}}"}
    shop.argo.publish(json.dumps({"name": "uploads.orders", "payload": payload}).encode())
    pushed = shop.succeeded("sensorflow", 4)
    log = shop.argo.log(pushed, "start")
    assert "orders: unchanged" in log
    assert "stock: " not in log
    assert "secret" not in json.dumps(pushed["spec"]["arguments"])
