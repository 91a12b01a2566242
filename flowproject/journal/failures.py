"""What can be wrong with a journal, apart from the store that it lies in."""

from flowproject.errors import JournalError

__all__ = ["ClosedJournalError", "DamagedEntryError", "DamagedTableError", "Superseded"]


class Superseded(Exception):  # noqa: N818  # an outcome of a tick, not an error
    """Another tick recorded under this sequence number first."""


class DamagedEntryError(JournalError):
    """An entry can't be read."""

    def __init__(self, key: str, seq: int, reason: str) -> None:
        self.seq = seq
        super().__init__(
            f"The journal entry {key!r} is damaged: {reason}",
            allowed="It stays where it is; a tick notes it, and the ones after compare with the "
            "entry before it",
        )


class ClosedJournalError(JournalError):
    """A journal goes on under another name, or another one is being moved to it."""


class DamagedTableError(JournalError):
    """A table that an entry names is gone or can't be read."""
