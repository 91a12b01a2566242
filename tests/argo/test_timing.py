"""The whole way of one change, timed: from the object's arrival to the listener's first line."""

import re
import threading
import time
from collections.abc import Callable
from datetime import datetime

import pytest

from tests.argo.cluster import until
from tests.argo.shop import Shop
from tests.deploy.conftest import Argo

pytestmark = [pytest.mark.argo, pytest.mark.timeout(600)]

_SENSOR = "shop-prod-pricesflow"
_FIRED = re.compile(r'"ts":"([^"]+)"[^\n]*Triggering actions after receiving')


def test_each_part_of_the_way_is_told(
    shop: Shop, argo: Argo, record_property: Callable[[str, object], None]
) -> None:
    shop.deploy()
    shop.look()
    shop.arrive("prices")
    begun = time.time()
    look, publish = shop.look_in_parts()
    published = time.time()
    until(lambda: bool(shop.cluster.workflows()))
    made = time.time()
    [fired] = [datetime.fromisoformat(one) for one in _FIRED.findall(shop.cluster.log(_SENSOR))]
    runs = threading.Thread(target=argo.controller.settle)
    runs.start()
    until(lambda: bool(argo.machine.logs))
    started = time.time()
    [name] = shop.cluster.workflows()
    until(lambda: "Task is starting" in argo.log({"metadata": {"name": name}}, "start"))
    first_line = time.time()
    runs.join()
    [run] = argo.controller.workflows("shop.prod.pricesflow")
    assert run["status"]["phase"] == "Succeeded", argo.told(run)
    parts = {
        "look and record": look,
        "publish": publish,
        "Sensor": max(0.0, fired.timestamp() - published),
        "Workflow": made - max(published, fired.timestamp()),
        "pod": started - made,
        "first line": first_line - started,
        "all": first_line - begun,
    }
    told = ", ".join(f"{part} {seconds:.2f} s" for part, seconds in parts.items())
    record_property("figure", f"one change on real controllers: {told}")
