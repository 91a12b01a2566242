"""Which run has which change, when runs start for several changes at once."""

from pathlib import Path
from typing import Any

import pytest

from flowproject.journal import Store, open_store
from flowproject.starting.claiming import Claim, claim
from flowproject.starting.told import Told


def change(sensor: str, seq: int, **more: int) -> dict[str, Any]:
    place = {"project": "demo", "branch": "user.me"}
    return {**place, "sensor": sensor, "seq": seq, "id": f"{sensor}{seq}", **more}


A1, A2, B1, B2 = change("a", 1), change("a", 2), change("b", 1), change("b", 2)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


class Runs:
    """Runs of one flow, and what each of them was told."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._told: dict[str, Told] = {}

    def start(self, run: str, *changes: dict[str, Any]) -> None:
        """Tell a run of changes; it claims none yet."""
        self._told[run] = Told(changes=list(changes), run=run)

    def claim(self, run: str) -> tuple[Claim, ...]:
        return claim(
            self._told[run], flow="AFlow", store=self._store, told_to=self._told.__getitem__
        )

    def have(self, run: str, *changes: dict[str, Any]) -> dict[str, str]:
        """Claim, and tell which run has each change."""
        self.start(run, *changes)
        return {one.receipt.id: one.receipt.run for one in self.claim(run)}


@pytest.fixture
def runs(store: Store) -> Runs:
    return Runs(store)


def test_a_run_has_what_it_is_first_to_claim(runs: Runs) -> None:
    assert runs.have("AFlow/1", B1, A1) == {"a1": "AFlow/1", "b1": "AFlow/1"}
    assert runs.have("AFlow/2", A1, B1) == {"a1": "AFlow/1", "b1": "AFlow/1"}
    assert runs.have("AFlow/3", A1, B2) == {"a1": "AFlow/1", "b2": "AFlow/3"}
    assert runs.have("AFlow/4", A2, B2) == {"a2": "AFlow/4", "b2": "AFlow/3"}


def test_two_runs_for_the_same_changes_do_not_share_them(runs: Runs) -> None:
    """The first has claimed one of the two when the second looks."""
    runs.have("AFlow/1", A1)
    runs.start("AFlow/1", A1, B1)
    assert runs.have("AFlow/2", A1, B1) == {"a1": "AFlow/1", "b1": "AFlow/1"}
    assert runs.have("AFlow/1", A1, B1) == {"a1": "AFlow/1", "b1": "AFlow/1"}


def test_a_replayed_change_is_another_matter(runs: Runs) -> None:
    runs.have("AFlow/1", A1, B1)
    assert runs.have("AFlow/2", A1, {**B1, "attempt": 2}) == {"a1": "AFlow/1", "b1": "AFlow/2"}
    assert runs.have("AFlow/3", A1, {**B1, "attempt": 1}) == {"a1": "AFlow/1", "b1": "AFlow/1"}


def test_an_event_that_comes_after_its_change_was_replayed_is_nobodys_any_more(runs: Runs) -> None:
    assert runs.have("AFlow/1", {**A1, "attempt": 3}) == {"a1": "AFlow/1"}
    for late in (1, 2):
        assert runs.have("AFlow/2", {**A1, "attempt": late}) == {"a1": "AFlow/1"}
    assert runs.have("AFlow/3", {**A1, "attempt": 4}) == {"a1": "AFlow/3"}


def test_what_another_run_has_is_said_with_the_way_to_run_it_again(runs: Runs) -> None:
    runs.have("AFlow/1", A1)
    runs.start("AFlow/2", A1)
    [one] = runs.claim("AFlow/2")
    assert one.in_words == (
        f"change 1 of sensor 'a' was taken by run AFlow/1 at {one.receipt.at} "
        "(to run it again: `flowproject replay a1`)"
    )
