"""A store in front of the real one that fails, dies, answers late and does things too late."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, BinaryIO, Final

from benchmarks.chaos.faults import Faults
from benchmarks.chaos.turns import Actor, Turns
from flowproject.errors import JournalError

__all__ = ["FaultyStore"]

_WRITES: Final = ("create", "put", "put_file", "delete")


class FaultyStore:
    """What one actor sees of the real store. `wire` arms the faults that happen on the wire."""

    def __init__(
        self,
        real: Any,
        actor: Actor,
        turns: Turns,
        faults: Faults,
        wire: Callable[[str], AbstractContextManager[Any]] | None,
        is_read_only: Callable[[], bool] = lambda: False,
    ) -> None:
        self._real = real
        self._actor = actor
        self._turns = turns
        self._faults = faults
        self._wire = wire
        self._is_read_only = is_read_only

    def create(self, key: str, content: bytes) -> bool:
        """Whether the object was created."""
        return bool(self._request("create", key, content))

    def put(self, key: str, content: bytes) -> None:
        """Write the object."""
        self._request("put", key, content)

    def put_file(self, key: str, file: BinaryIO) -> None:
        """Write the whole file."""
        file.seek(0)
        self._request("put", key, file.read())

    def get(self, key: str) -> bytes | None:
        """The object, or None if there is none."""
        found: bytes | None = self._request("get", key)
        return found

    def open(self, key: str) -> BinaryIO | None:
        """A reader of the object, or None if there is none."""
        found: BinaryIO | None = self._request("open", key)
        return found

    def exists(self, key: str) -> bool:
        """Whether there is an object."""
        return bool(self._request("exists", key))

    def keys(self, prefix: str, after: str = "") -> list[str]:
        """The keys below the folder."""
        found: list[str] = self._request("keys", prefix, after)
        return found

    def folders(self, prefix: str) -> list[str]:
        """The names of the folders in the folder."""
        found: list[str] = self._request("folders", prefix)
        return found

    def delete(self, key: str) -> None:
        """Remove the object."""
        self._request("delete", key)

    def concurrently(self, questions: Sequence[Callable[[], Any]]) -> list[Any]:
        """The answers, asked one after the other in any order: an actor may die in between."""
        answers: dict[int, Any] = {}
        order = [*range(len(questions))]
        self._turns.dice.shuffle(order)
        for number in order:
            answers[number] = questions[number]()
        return [answers[number] for number in range(len(questions))]

    def _request(self, verb: str, *arguments: Any) -> Any:
        self._actor.pause()

        def do() -> Any:
            return getattr(self._real, verb)(*arguments)

        if verb in _WRITES and self._is_read_only():
            raise JournalError(f"Nobody may {verb} {arguments[0]}")
        fault = self._faults.at("write" if verb in _WRITES else "read")
        broken = "" if fault else self._faults.at("wire")
        what = f"{verb} {arguments[0]}"
        self._turns.note(self._actor.name, f"{what} {fault or broken}")
        if broken and self._wire:
            return self._over_the_wire(broken, verb, *arguments)
        return self._with(fault, do, what)

    def _over_the_wire(self, fault: str, verb: str, *arguments: Any) -> Any:
        with self._wire(fault) as line:
            return getattr(line, verb)(*arguments)

    def _with(self, fault: str, do: Callable[[], Any], what: str) -> Any:
        match fault.partition(": ")[2] or fault:
            case "fails before it did anything":
                raise JournalError(f"The store failed at {what}")
            case "fails after it was done":
                do()
                raise JournalError(f"The store failed after {what}")
            case "error now, done later":
                self._turns.later(self._some_turns(), do)
                raise JournalError(f"The store did not answer {what}")
            case "answers late":
                answer = do()
                for _ in range(self._some_turns()):
                    self._actor.pause()
                return answer
            case "killed before a request to the store":
                self._actor.die()
            case "killed after a request to the store":
                do()
                self._actor.die()
            case "killed, and the request is done later":
                self._turns.later(self._some_turns(), do)
                self._actor.die()
        return do()

    def _some_turns(self) -> int:
        return self._turns.dice.choice((3, 10, 30, 100))
