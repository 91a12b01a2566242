"""Defines what can be wrong with a journal, apart from the store that it lies in."""

from flowproject.errors import JournalError

__all__ = [
    "ClosedJournalError",
    "DamagedEntryError",
    "DamagedTableError",
    "NewerObjectError",
    "Superseded",
    "UnreadableError",
]


class Superseded(Exception):  # noqa: N818  # an outcome of a tick, not an error
    """Another tick recorded under this sequence number first."""


class UnreadableError(JournalError):
    """One object of the journal can't be read; the rest can."""


# Apart from damage, which the next deploy or tick may write anew: that would take from a newer
# version what it knows.
class NewerObjectError(UnreadableError):
    """A later flowproject wrote it: it is whole, and nobody may write it anew."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(
            f"{key!r} of the journal can't be read: {reason}",
            allowed="It is not damaged, so leave it where it is",
            fix="Use the version of flowproject that wrote it, or a newer one",
        )


class DamagedEntryError(UnreadableError):
    """An entry can't be read."""

    def __init__(self, key: str, seq: int, reason: str) -> None:
        # Kept beside the words, because the tick that meets it notes it under this number.
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
