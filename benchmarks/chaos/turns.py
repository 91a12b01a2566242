"""One actor at a time, in an order that follows from a seed: whatever happens can happen again.

An actor runs until it pauses, which it does before each request to a store or to the bus. Who goes
on is drawn from the dice. So ticks meet at every request, and the same seed is the same story.
"""

import threading
from collections.abc import Callable
from random import Random
from typing import Final

__all__ = ["Actor", "Death", "Turns"]

_PATIENCE: Final = 20
_MOST_TURNS: Final = 200_000


class Death(BaseException):
    """The end of an actor, as by `kill -9`: what it was doing stays half done."""


class Actor:
    """Somebody who does some work, until it is done or dies."""

    def __init__(
        self, name: str, work: "Callable[[Actor], None]", ended: threading.Semaphore
    ) -> None:
        self.name = name
        self.is_dead = False
        self.is_done = False
        self.error: BaseException | None = None
        self._work = work
        self._turn = threading.Semaphore(0)
        self._ended_turn = ended
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)

    def pause(self) -> None:
        """Let others go first."""
        if not self.is_dead:
            self._ended_turn.release()
            self._turn.acquire()
        self.must_live()

    def must_live(self) -> None:
        """Nothing, if it lives: the dead ask for nothing more, whatever cleans up after them."""
        if self.is_dead:
            raise Death

    def die(self) -> None:
        """End it here."""
        self.is_dead = True
        raise Death

    def go_on(self) -> None:
        """Take a turn; whoever calls this waits for its end."""
        if not self._thread.ident:
            self._thread.start()
        self._turn.release()
        if not self._ended_turn.acquire(timeout=_PATIENCE):
            raise RuntimeError(f"{self.name} does not come back")

    def _live(self) -> None:
        self._turn.acquire()
        try:
            self._work(self)
        except Death:
            pass
        except BaseException as error:  # noqa: BLE001  # told to who runs the turns
            self.error = error
        self.is_done = True
        self._ended_turn.release()


class Turns:
    """Actors and what happens by itself later, until nobody has anything left to do."""

    def __init__(self, dice: Random) -> None:
        self.dice = dice
        self._actors: list[Actor] = []
        self.trace: list[str] = []
        self._later: list[tuple[int, int, Callable[[], None]]] = []
        self._now = 0
        self._numbers = 0
        self._ended_turn = threading.Semaphore(0)

    def start(self, name: str, work: Callable[[Actor], None]) -> None:
        """Have somebody take part."""
        self._actors.append(Actor(name, work, self._ended_turn))

    def later(self, turns: int, happen: Callable[[], None]) -> None:
        """Have something happen after so many turns, when nobody is in the middle of one."""
        self._numbers += 1
        self._later.append((self._now + turns, self._numbers, happen))

    def note(self, name: str, what: str) -> None:
        """Keep what somebody did, for who wants to read the story."""
        self.trace.append(f"{self._now:6} {name}: {what}")

    def run(self) -> None:
        """Return when all is done.

        Raises:
            Exception: what an actor failed with, which is an error of whoever wrote it.
        """
        while self._actors or self._later:
            self._now += 1
            if self._now > _MOST_TURNS:
                raise RuntimeError("this takes no end")
            self._happen()
            if self._actors:
                self._one_turn(self.dice.choice(self._actors))

    def _happen(self) -> None:
        due = sorted(each for each in self._later if not self._actors or each[0] <= self._now)
        if due and not self._actors:
            due = due[:1]  # it may start somebody
        self._later = [each for each in self._later if each not in due]
        for _, _, happen in due:
            happen()

    def _one_turn(self, actor: Actor) -> None:
        actor.go_on()
        if actor.is_done:
            self._actors.remove(actor)
            if actor.error:
                raise actor.error
