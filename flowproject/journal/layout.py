"""Names the objects of a journal, and gives the small ones their form: JSON that shows damage."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from flowproject.changes.canonical import Json, digest_value

__all__ = [
    "TOP",
    "Layout",
    "NewerFormatError",
    "entry_numbers",
    "leading_numbers",
    "opened",
    "sealed",
]

# Listings are in the order of names, and have no way to begin at their end.
TOP: Final = 10**10
"""What the numbers of entries are taken from, so that the newest comes first by name."""

_FORMAT: Final = 1
_ENTRY_NAME: Final = re.compile(r"/(\d{10})\.json$")
_LEADING_NUMBER: Final = re.compile(r"/(\d{10})-[^/]*(?:/[^/]*)?$")


@dataclass(frozen=True)
class Layout:
    """Where the objects of one journal lie, below the root of the datastore.

    head.json                        a memo of the newest number and what is open; safe to lose
    entries/<10^10 - seq>.json       one entry, newest first by name; created, never overwritten
    tables/<seq>-<token>-*           the items that an entry knows, and the difference it records
    items-memo.json                  a later manifest of the newest items; safe to lose
    source-memo.json                 what the source noted since the newest entry; safe to lose
    listeners.json                   the flows that are expected to write receipts
    combined/<seq>-<id>.json         a decision: the changes from this one on are sent as one event
    published/<seq>-<id>.json        a mark: the bus has this change
    sent/<seq>-<id>/<attempt>-<n>.json
                                     a further sending; n is 0 where a replay opened an attempt
    delivered/<seq>-<id>.json        every listener has started for this change: nothing is left
    receipts/<seq>-<id>/<attempt>-<Flow>.json
                                     a receipt: a run of this flow took this change
    turns/<seq>-<id>/<attempt>-<n>-<Flow>.json
                                     this flow, which takes changes in order, was told of its turn
    ended/<seq>-<id>/<attempt>-<Flow>.json
                                     its turn is over, and the next change may have one
    damaged/<seq>-noted.json         a note: a tick has said that this entry can't be read
    alerts.json                      its incidents, and by what they were told; safe to lose
    alerts/<n>-<begun or over>-<channel>.json
                                     a tick tells of an incident, or has done so
    moved.json                       where the journal went that was here, for runs that come late

    Few items are one table, `...-items.parquet`. Very many are a manifest, `...-items.json`, that
    names the segments with their rows: `...-rows.parquet` of its own and of entries before it.
    """

    location: str

    @property
    def entries(self) -> str:
        """The folder of the entries."""
        return f"{self.location}/entries"

    @property
    def head_memo(self) -> str:
        """The memo of the newest number."""
        return f"{self.location}/head.json"

    @property
    def items_memo(self) -> str:
        """The memo of the newest items."""
        return f"{self.location}/items-memo.json"

    @property
    def alerts_memo(self) -> str:
        """The notes on the sensor's incidents."""
        return f"{self.location}/alerts.json"

    def alert_claim(self, what: str) -> str:
        """The claim of a tick that tells of an incident."""
        return f"{self.location}/alerts/{what}.json"

    @property
    def source_memo(self) -> str:
        """The memo of the source."""
        return f"{self.location}/source-memo.json"

    def entry(self, seq: int) -> str:
        """The entry with this number."""
        return f"{self.entries}/{TOP - seq:010d}.json"

    def table(self, seq: int, token: str) -> str:
        """What the names of all tables of one entry begin with."""
        return f"{self.location}/tables/{seq:010d}-{token}"

    @property
    def listeners(self) -> str:
        """The flows that are expected to write receipts."""
        return f"{self.location}/listeners.json"

    @property
    def moved(self) -> str:
        """Where the journal went that was here."""
        return f"{self.location}/moved.json"

    @property
    def delivered(self) -> str:
        """The folder of what is delivered."""
        return f"{self.location}/delivered"

    @property
    def marks(self) -> str:
        """The folder of the marks."""
        return f"{self.location}/published"

    def mark(self, seq: int, change_id: str) -> str:
        """The mark that the bus has this entry."""
        return f"{self.marks}/{_named(seq, change_id)}.json"

    def trial_mark(self, seq: int, token: str) -> str:
        """An object that is created and removed, to see whether a mark could be."""
        return f"{self.marks}/{seq:010d}-trial-{token}.json"

    def resolved(self, seq: int, change_id: str) -> str:
        """The note that nothing is left to do for this entry."""
        return f"{self.delivered}/{_named(seq, change_id)}.json"

    def combination(self, seq: int, change_id: str) -> str:
        """The decision which changes are sent with this one, the oldest of them."""
        return f"{self.location}/combined/{_named(seq, change_id)}.json"

    def sendings(self, seq: int, event_id: str) -> str:
        """The folder of the further sendings of an event."""
        return f"{self.location}/sent/{_named(seq, event_id)}"

    @property
    def all_receipts(self) -> str:
        """The folder of the receipts for all changes."""
        return f"{self.location}/receipts"

    def receipts(self, seq: int, change_id: str) -> str:
        """The folder of the receipts for this change."""
        return f"{self.all_receipts}/{_named(seq, change_id)}"

    def receipt(self, seq: int, change_id: str, attempt: int, flow: str) -> str:
        """The receipt for one attempt to deliver this change to a flow."""
        return f"{self.receipts(seq, change_id)}/{attempt}-{flow}.json"

    def notices(self, seq: int, event_id: str) -> str:
        """The folder of what flows were told of their turns to take an event."""
        return f"{self.location}/turns/{_named(seq, event_id)}"

    def notice(self, seq: int, event_id: str, attempt: int, number: int, flow: str) -> str:
        """The note that a flow was told of its turn for the `number`th time."""
        return f"{self.notices(seq, event_id)}/{attempt}-{number}-{flow}.json"

    @property
    def all_endings(self) -> str:
        """The folder of the turns that are over."""
        return f"{self.location}/ended"

    def ending(self, seq: int, event_id: str, attempt: int, flow: str) -> str:
        """The note that a flow's turn to take an event is over."""
        return f"{self.all_endings}/{_named(seq, event_id)}/{attempt}-{flow}.json"

    def note(self, seq: int) -> str:
        """The note that the entry with this number can't be read."""
        return f"{self.location}/damaged/{seq:010d}-noted.json"


def entry_numbers(keys: Iterable[str]) -> Iterator[int]:
    """The sequence numbers of the entries at these keys; what is no entry is passed over."""
    # Whatever a person puts beside the entries is no entry.
    return (TOP - int(found[1]) for found in map(_ENTRY_NAME.search, keys) if found)


def leading_numbers(keys: Iterable[str]) -> Iterator[int]:
    """The sequence numbers that these names start with, or the folders that they are in."""
    return (int(found[1]) for found in map(_LEADING_NUMBER.search, keys) if found)


# The number first, so that a listing can begin in the middle; the id as well, because events, runs
# and people know a change by it.
def _named(seq: int, change_id: str) -> str:
    return f"{seq:010d}-{change_id}"


class NewerFormatError(ValueError):
    """A later flowproject wrote the object: it is whole, and must stay as it is."""


def sealed(facts: Mapping[str, Json]) -> bytes:
    """The object that says this, with its format and a digest."""
    # Indented ASCII: people read these objects, with whatever tool they have.
    body: dict[str, Json] = {"v": _FORMAT, **facts}
    return json.dumps({**body, "digest": digest_value(body)}, indent=1).encode("ascii")


def opened(content: bytes) -> dict[str, Any]:
    """What `sealed` was given.

    Raises:
        NewerFormatError: if a later flowproject wrote it.
        ValueError: if the object is damaged.
    """
    body = json.loads(content)
    version = body.get("v") if isinstance(body, dict) else None
    # The format before the digest, which may be of another kind in a later one.
    if isinstance(version, int) and version > _FORMAT:
        raise NewerFormatError(f"its format is {version}, and this is {_FORMAT}")
    if not isinstance(body, dict) or body.pop("digest", None) != digest_value(body):
        raise ValueError("its digest does not match what it says")
    if (version := body.pop("v", None)) != _FORMAT:
        raise ValueError(f"its format is {version!r}, and this is {_FORMAT}")
    return body
