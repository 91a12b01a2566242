"""A campaign: short stories of changes and faults, drawn by dice, on the real controllers.

Every recorded change has its run, once, or there is a word for why it has none. `STORIES=300 make
argo ARGS="-k campaign --dist load"` plays 300 of them; without it a few are played.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

import pytest

from tests.argo.cluster import ArgoCluster, until
from tests.argo.shop import ONE, SENSORS, TWO, Shop
from tests.deploy.cluster import Fault
from tests.servers import Moto

STORIES: Final = int(os.environ.get("STORIES", "6"))
_IN_A_CHAPTER: Final = 10
"""Stories that follow each other on one deployment."""

_MINUTES: Final = 6
"""After which a look sends again what a deployment may have dropped."""

_LOOKS: Final = 15
"""In which every change arrives: each sending is awaited twice as long as the one before, and a
flow that waits for three sensors is sent one's newest after the other's. Their clock is ahead of
that of deployments, so what one of these makes the bus forget is sent again no sooner."""

_LISTS: Final = (("prices", "orders"), ("prices", "orders", "stock"), ("orders", "stock"))

pytestmark = [pytest.mark.argo, pytest.mark.timeout(3600)]


class Campaign:
    """A shop, the dice, and what was done to it."""

    def __init__(self, shop: Shop, dice: Random) -> None:
        self.shop = shop
        self.dice = dice
        self.done: Counter[str] = Counter()
        self.told: list[str] = []
        self.listens = _LISTS[0]
        self.since = dict.fromkeys(SENSORS, 1)
        """Sensor → the newest change that the listener of several could not have heard of."""

    def begin(self) -> None:
        """The first deployment, and looks that are only remembered."""
        self.shop.deploy()
        self.shop.look()

    def play(self) -> None:
        """One story; in the end all is in order again."""
        acts: dict[Callable[[], None], int] = {
            self.change: 10,
            self.deploy: 1,
            self.kill: 1,
            self.refuse: 2,
            self.lose_the_api: 2,
            self.lose_the_bus: 1,
        }
        for _ in range(self.dice.randint(3, 8)):
            [act] = self.dice.choices([*acts], [*acts.values()])
            self.note(act.__name__)
            act()
        self.recover()

    def recover(self) -> None:
        """The faults end; every Sensor does its work, and later looks see what was lost."""
        self.shop.cluster.fail(None)
        until(self.shop.is_listening)
        until(self.shop.has_told)
        self.shop.settle()
        for _ in range(_LOOKS):
            self.shop.wait(_MINUTES)
            until(self.shop.has_told)
            self.shop.settle()
            if not [*self.wrong()]:
                return

    def note(self, what: str) -> None:
        self.done[what] += 1
        self.told.append(what)

    # ------------------------------------------------------------------------------ what happens

    def change(self) -> None:
        """Something arrives, is seen, and is told if the bus takes it."""
        sensor = self.dice.choice(SENSORS)
        self.told.append(sensor)
        self.shop.arrive(sensor)
        self.shop.has_told()

    def deploy(self) -> None:
        """The listener of several gets another list."""
        before = self.listens
        self.listens = self.dice.choice([one for one in _LISTS if one != before])
        newest = self.shop.recorded()
        new = set(self.listens) - set(before)
        self.since |= {sensor: max(newest[sensor], default=1) for sensor in new}
        self.shop.listen(TWO, *self.listens)
        self.shop.deploy()

    def kill(self) -> None:
        """A machine goes down with a Sensor on it."""
        sensor = self.dice.choice(sorted(self.shop.cluster.objects("sensors")))
        if sensor in self.shop.cluster.processes():
            self.shop.cluster.kill(sensor)

    def refuse(self) -> None:
        """The API answers a Sensor with an error."""
        status, number = self.dice.choice((409, 429, 500, 503)), self.dice.randint(1, 2)
        methods, plurals = ("POST",), ("workflows",)
        fault = Fault(status=status, methods=methods, plurals=plurals, number=number)
        self.shop.cluster.fail(fault)

    def lose_the_api(self) -> None:
        """It is away while changes come; sometimes a Sensor goes down as well."""
        sensors = sorted(self.shop.cluster.objects("sensors"))
        with self.shop.cluster.away():
            self.change()
            self.change()
            victim = self.dice.choice(sensors)
            if self.dice.random() < 0.3 and victim in self.shop.cluster.processes():
                self.shop.cluster.kill(victim)

    def lose_the_bus(self) -> None:
        """It is started anew; what is told meanwhile is not taken."""
        with self.shop.cluster.bus_away():
            self.change()

    def finish(self) -> None:
        """Everything changes once more."""
        for sensor in SENSORS:
            self.shop.arrive(sensor)
        self.recover()

    # ------------------------------------------------------------------------------ what became

    def wrong(self) -> Iterator[str]:
        """What is not as it must be."""
        recorded, taken = self.shop.recorded(), self.shop.taken()
        for (flow, sensor), numbers in taken.items():
            for number, times in Counter(numbers).items():
                if times > 1:
                    yield f"{flow} took change {number} of {sensor} {times} times"
        for number in set(recorded["prices"]) - set(taken.get((ONE, "prices"), [])):
            yield f"{ONE} never took change {number} of prices"
        waiting = {
            sensor: newest
            for sensor in self.listens
            if (newest := max(recorded[sensor], default=1)) > self.since[sensor]
            and newest not in taken.get((TWO, sensor), [])
        }
        if waiting.keys() == set(self.listens):
            yield f"{TWO} has not started, although all have changed: {waiting}"

    def passed_over(self) -> dict[str, set[int]]:
        """Sensor → changes that the listener of several never took, although it took newer ones.

        The newest may be left: the listener has them when all of its sensors have changed again.
        """
        recorded, taken = self.shop.recorded(), self.shop.taken()
        left = {}
        for sensor in self.listens:
            had = set(taken.get((TWO, sensor), []))
            known = {one for one in recorded[sensor] if one > self.since[sensor]}
            left[sensor] = {one for one in known - had if one < max(had, default=0)}
        return {sensor: numbers for sensor, numbers in left.items() if numbers}


@pytest.fixture
def shop(
    new_cluster: Callable[..., ArgoCluster], new_repository: Any, moto: Moto, chapter: int
) -> Iterator[Shop]:
    """A shop for each chapter, with journals of its own."""
    repository = new_repository(flows=False)
    with Shop.opened(new_cluster(), repository, moto, f"shop{chapter}") as opened:
        yield opened


@pytest.mark.parametrize("chapter", range(-(-STORIES // _IN_A_CHAPTER)))
def test_every_recorded_change_has_its_run_once(
    shop: Shop, chapter: int, record_property: Callable[[str, object], None]
) -> None:
    campaign = Campaign(shop, Random(chapter))
    campaign.begin()
    stories = min(_IN_A_CHAPTER, STORIES - chapter * _IN_A_CHAPTER)
    for number in range(stories):
        campaign.told.clear()
        campaign.play()
        wrong = [*campaign.wrong()]
        assert not wrong, f"story {number} of chapter {chapter}: {campaign.told}"
    campaign.finish()
    assert not [*campaign.wrong()]
    assert not campaign.passed_over()
    idle = sum(not run.takes for run in shop.runs)
    recorded = sum(len(numbers) for numbers in shop.recorded().values())
    acts = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in campaign.done.items())
    told = f"{stories} stories ({acts}): {recorded} changes, {len(shop.runs)} runs, {idle} in vain"
    record_property("figure", f"campaign, chapter {chapter}: {told}")
