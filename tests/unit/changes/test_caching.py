"""A property that is worked out once for each object, and lets others work theirs out meanwhile."""

import threading

from flowproject.changes.caching import cached_property
from flowproject.changes.observation import Items, Past


class Counted:
    def __init__(self, barrier: threading.Barrier | None = None) -> None:
        self.times = 0
        self.barrier = barrier

    @cached_property
    def value(self) -> int:
        """How often it was worked out."""
        if self.barrier:
            self.barrier.wait(timeout=60)
        self.times += 1
        return self.times


def test_it_is_worked_out_once_for_each_object():
    one, other = Counted(), Counted()
    assert (one.value, one.value, other.value) == (1, 1, 1)
    assert (one.times, other.times) == (1, 1)
    assert Counted.value.__doc__ == "How often it was worked out."


def test_two_objects_work_theirs_out_at_the_same_time():
    barrier = threading.Barrier(2)
    objects = [Counted(barrier), Counted(barrier)]
    threads = [threading.Thread(target=lambda one=one: one.value) for one in objects]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.times for one in objects] == [1, 1]


def test_what_one_sensor_knew_is_read_while_another_reads_its_own():
    barrier = threading.Barrier(2)

    def load() -> Items:
        barrier.wait(timeout=60)
        return {}

    pasts = [Past(1, load), Past(1, load)]
    threads = [threading.Thread(target=lambda one=one: one.items) for one in pasts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.items for one in pasts] == [{}, {}]
