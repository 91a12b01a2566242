"""What the journal keeps of one change, and its JSON form."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Self

from flowproject.changes.canonical import Json, digest, digest_value

__all__ = ["FORMAT", "Entry", "UnknownFormatError", "change_id"]

FORMAT: Final = 1
_PUBLISHED_OUTCOMES: Final = ("changed", "forced")


class UnknownFormatError(Exception):
    """A document that is whole, and of a format that this version does not know."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a sensor's journal.

    `outcome` is `baseline`, `changed`, `forced` or `reset`; a `reset` forgets what was known.
    `snapshot` and `difference` name the objects that hold all items and what happened to them
    (empty for a source without items); `counts` and `sample` summarise them. `trail` is a short
    series of [moment, number] that ends with this entry, so that a chart costs no request.
    `memo` is what the source noted of this state. `run` is the run that recorded the entry, as
    `Flow/id`.
    """

    seq: int
    id: str
    project: str
    branch: str
    sensor: str
    outcome: str
    reason: str
    value: Json = None
    previous: Json = None
    fingerprint: str = ""
    previous_fingerprint: str = ""
    definition: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    total: int | None = None
    sample: dict[str, Json] = field(default_factory=dict)
    trail: list[list[Json]] = field(default_factory=list)
    cost: dict[str, Json] = field(default_factory=dict)
    query: str = ""
    snapshot: str = ""
    difference: str = ""
    memo: dict[str, Json] = field(default_factory=dict)
    recorded_at: str = ""
    run: str = ""

    @property
    def is_published(self) -> bool:
        """Whether this entry is one that the event bus must learn of."""
        return self.outcome in _PUBLISHED_OUTCOMES

    @property
    def is_state(self) -> bool:
        """Whether this entry says what the source looked like (a `reset` does not)."""
        return self.outcome != "reset"

    @property
    def moment(self) -> dt.datetime:
        """When the entry was recorded, in UTC."""
        return dt.datetime.fromisoformat(self.recorded_at)

    def to_json(self) -> dict[str, Json]:
        """The entry as JSON, with its format and a digest that shows damage."""
        body: dict[str, Json] = {"v": FORMAT, **asdict(self)}
        return {**body, "digest": digest_value(body)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The entry that `to_json` wrote.

        Raises:
            UnknownFormatError: if a later flowproject wrote it.
            ValueError: if it is damaged.
        """
        body = {key: value for key, value in document.items() if key != "digest"}
        if document.get("digest") != digest_value(body):
            raise ValueError("its digest does not match what it says")
        if body.get("v") != FORMAT:
            raise UnknownFormatError(f"its format is {body.get('v')!r}, and this is {FORMAT}")
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in body.items() if key in known})


def change_id(
    *, project: str, branch: str, sensor: str, seq: int, previous: str, fingerprint: str
) -> str:
    """The id of a change: 32 hexadecimal digits.

    It follows from where the change stands and what it leads from and to, so that a tick which
    records the same change anew after a crash gives it the same id; the sequence number makes
    A → B → A two changes.
    """
    return digest(project, branch, sensor, str(seq), previous, fingerprint)
