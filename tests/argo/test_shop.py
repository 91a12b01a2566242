"""A project on real controllers: deployed, changed, rolled back, disturbed; told in order.

What is asked each time: which Workflows the Sensors made, and which changes their runs took.
"""

import pytest

from flowproject.errors import TickError
from tests.argo.cluster import until
from tests.argo.shop import ONE, TWO, Shop

pytestmark = [pytest.mark.argo, pytest.mark.timeout(900)]

SENSORS = {"shop-prod-pricesflow", "shop-prod-pairflow"}


def takes(shop: Shop) -> list[tuple[str, dict[str, int]]]:
    """Flow and newest changes of each run since the last time; none of them has nothing to do."""
    runs = shop.settle()
    assert all(run.takes.keys() == run.told.keys() for run in runs), runs
    newest = [
        (run.flow, {name: max(numbers) for name, numbers in run.takes.items()}) for run in runs
    ]
    return sorted(newest, key=str)


def test_the_first_deployment_finds_an_empty_cluster(shop: Shop) -> None:
    deployed = shop.deploy()
    assert {row[0] for row in deployed.rows.values()} == {"deployed"}
    assert shop.cluster.names == {
        "workflowtemplates": {"shop.prod.pairflow", "shop.prod.pricesflow"},
        "sensors": SENSORS,
    }
    assert shop.cluster.processes().keys() == SENSORS | {"metaflow-webhook"}


def test_a_second_deployment_leaves_every_sensor_alone(shop: Shop) -> None:
    before = shop.cluster.processes()
    assert {row[0] for row in shop.deploy().rows.values()} == {"unchanged"}
    assert shop.cluster.processes() == before


def test_first_looks_start_nothing(shop: Shop) -> None:
    assert set(shop.look().values()) == {"baseline"}
    assert takes(shop) == []


def test_a_change_starts_who_listens_to_its_sensor_alone(shop: Shop) -> None:
    shop.change("prices")
    assert takes(shop) == [(ONE, {"prices": 2})]
    assert shop.runs[-1].parameters["prices"] == "1"


def test_who_listens_to_two_starts_when_both_have_changed(shop: Shop) -> None:
    shop.change("orders")
    assert takes(shop) == [(TWO, {"orders": 2, "prices": 2})]
    shop.change("stock")
    assert takes(shop) == []


def test_a_third_sensor_is_waited_for_and_after_a_rollback_is_not(shop: Shop) -> None:
    shop.listen(TWO, "prices", "orders", "stock")
    shop.deploy()
    shop.change("prices", "orders", "stock")
    assert takes(shop) == [
        (TWO, {"orders": 3, "prices": 3, "stock": 3}),
        (ONE, {"prices": 3}),
    ]
    shop.listen(TWO, "prices", "orders")
    shop.deploy()
    assert takes(shop) == [], "nothing that is done comes again"
    shop.change("prices", "orders")
    assert takes(shop) == [(TWO, {"orders": 4, "prices": 4}), (ONE, {"prices": 4})]


def test_what_waited_at_a_sensor_that_a_deployment_moved_is_sent_again(shop: Shop) -> None:
    shop.change("orders")
    assert takes(shop) == []
    shop.listen(TWO, "prices", "orders", "stock")
    shop.deploy()
    shop.wait(minutes=6)
    shop.look()
    shop.change("prices", "stock")
    assert takes(shop) == [
        (TWO, {"orders": 5, "prices": 5, "stock": 4}),
        (ONE, {"prices": 5}),
    ]
    shop.listen(TWO, "prices", "orders")
    shop.deploy()
    shop.wait(minutes=6)
    shop.look()
    assert takes(shop) == []


def test_with_the_api_away_every_change_gets_its_run_once_it_is_back(shop: Shop) -> None:
    with shop.cluster.away():
        shop.change("prices", "orders", "prices")
        until(shop.cluster.pending)
    assert takes(shop) == [
        (TWO, {"orders": 6, "prices": 6}),
        (ONE, {"prices": 6}),
        (ONE, {"prices": 7}),
    ]


def test_so_it_does_if_the_sensors_are_killed_meanwhile(shop: Shop) -> None:
    with shop.cluster.away():
        shop.change("prices", "orders")
        until(shop.cluster.pending)
        for sensor in SENSORS:
            shop.cluster.kill(sensor)
    assert takes(shop) == [(TWO, {"orders": 7, "prices": 8}), (ONE, {"prices": 8})]


def test_the_bus_may_be_started_anew(shop: Shop) -> None:
    shop.change("orders")
    assert takes(shop) == []
    with shop.cluster.bus_away(), pytest.raises(TickError):
        shop.change("prices")
    until(shop.has_told)
    assert takes(shop) == [(TWO, {"orders": 8, "prices": 9}), (ONE, {"prices": 9})]


def test_no_change_was_taken_twice_or_by_nobody(shop: Shop) -> None:
    taken = shop.taken()
    assert taken[ONE, "prices"] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert taken[TWO, "orders"] == [2, 3, 4, 5, 6, 7, 8]


def test_what_a_branch_leaves_on_the_bus_does_not_come_back(shop: Shop) -> None:
    """Argo Events keeps a Sensor's waits and place in the stream after the Sensor is gone."""
    shop.switch("feature/x")
    shop.deploy()
    shop.look()
    shop.change("prices")
    assert takes(shop) == [(ONE, {"prices": 2})]
    kept = shop.cluster.records()
    shop.tear_down()
    assert all(".prod." in name for name in shop.cluster.names["workflowtemplates"])
    assert shop.cluster.names["sensors"] == SENSORS
    assert shop.cluster.records() == kept, "nothing here can remove it"
    shop.look()
    shop.change("prices", "orders")  # as a look does that was still going on
    shop.tear_down()
    shop.deploy()
    assert takes(shop) == [], "neither what waited nor what came meanwhile"
    shop.look()
    shop.change("orders")
    assert takes(shop) == []
    shop.change("prices")
    assert takes(shop) == [(TWO, {"orders": 2, "prices": 2}), (ONE, {"prices": 2})]
