"""Describes what the journal keeps of one change, and gives it a JSON form."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Self

from flowproject.changes.canonical import Json, digest, digest_value, dumps

__all__ = ["PUBLISHED_OUTCOMES", "Entry", "UnknownFormatError", "change_id"]

_FORMAT: Final = 1
PUBLISHED_OUTCOMES: Final = ("changed", "forced")
_RECENT: Final = 8
_BRIEF: Final = 200  # characters of a reason or a value, so that eight of them stay small


class UnknownFormatError(Exception):
    """A document that is whole, and of a format that this version does not know."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of a sensor's journal.

    `outcome` is `baseline`, `changed`, `forced`, `reset`, `moved` or `closed`. A `reset` forgets
    what was known, and `moved` says it anew, of a journal that had another name. Nothing follows
    `closed` but a `reset`: the journal was moved away, or one is being moved here.
    `snapshot` and `difference` name the objects that hold all items and what happened to them
    (empty for a source without items); `counts` and `sample` summarise them. `trail` is a short
    series of [moment, number] that ends with this entry, so that a chart costs no request; for the
    same reason `earlier` tells the entries before this one in short, the newest first.
    `columns` are those of a query's result, each with its type, and `columns_change` what happened
    to them, as `ColumnsChange` tells it; `types` are the types of some in full. `version` is which
    version of the source it was, of sources that keep versions, and `previous_version` the one
    before. `memo` is what the source noted of this state. `run` is the run that recorded the entry,
    as `Flow/id`.
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
    earlier: list[dict[str, Any]] = field(default_factory=list)
    cost: dict[str, Json] = field(default_factory=dict)
    query: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    columns_change: dict[str, Json] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    version: dict[str, Json] = field(default_factory=dict)
    previous_version: dict[str, Json] = field(default_factory=dict)
    snapshot: str = ""
    difference: str = ""
    memo: dict[str, Json] = field(default_factory=dict)
    recorded_at: str = ""
    run: str = ""

    @property
    def is_published(self) -> bool:
        """Whether this entry is one that the event bus must learn of."""
        return self.outcome in PUBLISHED_OUTCOMES

    @property
    def is_state(self) -> bool:
        """Whether this entry says what the source looked like (a `reset` does not)."""
        return self.outcome not in ("reset", "closed")

    @property
    def is_closed(self) -> bool:
        """Whether no tick may go on with a journal that ends with this entry."""
        return self.outcome == "closed"

    @property
    def moment(self) -> dt.datetime:
        """When the entry was recorded, in UTC."""
        return dt.datetime.fromisoformat(self.recorded_at)

    @property
    def recent(self) -> list[dict[str, Any]]:
        """The newest entries in short, this one first; the entry that follows carries them."""
        # Carried from entry to entry: a card shows the last few, and each would be a request.
        short = {
            "seq": self.seq,
            "recorded_at": self.recorded_at,
            "outcome": self.outcome,
            "reason": self.reason[:_BRIEF],
            "value": _brief(self.value),
            "total": self.total,
        }
        return [short, *self.earlier][:_RECENT]

    def to_json(self) -> dict[str, Json]:
        """The entry as JSON, with its format and a digest that shows damage."""
        body: dict[str, Json] = {"v": _FORMAT, **asdict(self)}
        return {**body, "digest": digest_value(body)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The entry that `to_json` wrote.

        Raises:
            UnknownFormatError: if a later flowproject wrote it.
            ValueError: if it is damaged.
        """
        body = {key: value for key, value in document.items() if key != "digest"}
        version = body.get("v")
        # The format before the digest: a later one may have a digest of another kind, and must not
        # be called damaged.
        is_newer = isinstance(version, int) and version > _FORMAT
        if not is_newer and document.get("digest") != digest_value(body):
            raise ValueError("its digest does not match what it says")
        if version != _FORMAT:
            raise UnknownFormatError(f"its format is {body.get('v')!r}, and this is {_FORMAT}")
        # Fields that a later version of this format adds are left out here, and not an error.
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in body.items() if key in known})


def change_id(
    *, project: str, branch: str, sensor: str, seq: int, previous: str, fingerprint: str
) -> str:
    """The id of a change: 32 hexadecimal digits.

    It follows from where the change stands and what it leads from and to.
    """
    # A tick that records the same change anew after a crash gives it the same id. The sequence
    # number makes A → B → A two changes.
    return digest(project, branch, sensor, str(seq), previous, fingerprint)


def _brief(value: Json) -> Json:
    """The value; or its size, if it is long."""
    text = dumps(value)
    if len(text) <= _BRIEF:
        return value
    # A query may return megabytes, and eight values travel in each entry.
    return {"left_out_bytes": len(text.encode("utf-8", "surrogatepass"))}
