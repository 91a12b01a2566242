"""Put values, moments, costs and outcomes in words: short text, no components."""

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from flowproject.changes.difference import shortened_pair

__all__ = [
    "OUTCOMES",
    "amount",
    "clip",
    "cost",
    "duration",
    "moment",
    "one_line",
    "outcome",
    "phrase",
    "printable",
    "side_by_side",
    "size",
    "transition",
    "unbroken",
    "value_text",
]

# Outcome → its symbol and what a sentence says of the sensor, the most pressing first. The symbols
# differ in shape, so that they tell outcomes apart without colour and in any font.
OUTCOMES: Final[Mapping[str, tuple[str, str]]] = {
    "failed": ("✕", "failed"),
    "changed": ("●", "changed"),
    "forced": ("▶", "forced"),
    "superseded": ("◐", "superseded"),
    "settling": ("◌", "settling"),
    "baseline": ("◇", "set a baseline"),
    "unchanged": ("○", "unchanged"),
}
_BREAKS: Final = "\n\t"
# They turn the direction of what follows: a key could make the reason beside it read as another.
_EMBEDDINGS: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# No-break spaces stay: they are put in on purpose, see `unbroken`.
_SPACES: Final = re.compile(r"[^\S\N{NO-BREAK SPACE}]+")
_KILO: Final = 1000
# Characters: as long as a value is at most.
_COMPARED: Final = 64 * 1024
_SHORT: Final = 24
_UNITS: Final = ("bytes", "kB", "MB", "GB", "TB", "PB")


def clip(text: str, limit: int) -> str:
    """The text, or its first characters and an ellipsis: never more than `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def printable(text: str) -> str:
    """The text with a mark for each character that draws nothing or turns its neighbours."""
    if text.isprintable():
        return text
    return "".join(char if _draws(char) else "�" for char in text.replace("\r\n", "\n"))


def _draws(char: str) -> bool:
    if char in _BREAKS:
        return True
    return unicodedata.category(char) not in {"Cc", "Cs"} and char not in _EMBEDDINGS


def one_line(text: object, limit: int = 120) -> str:
    """The text on one line. Clipped before it is cleaned, so that a huge one costs nothing."""
    # Twice the limit is enough, unless nearly all of it is spaces: a value may have megabytes.
    raw = str(text)
    return clip(_SPACES.sub(" ", printable(raw[: 2 * limit + 2])).strip(), limit)


def unbroken(text: str) -> str:
    """The text, kept on one line of its cell if it is short."""
    return text if len(text) > _SHORT else text.replace(" ", "\N{NO-BREAK SPACE}")


def value_text(value: object, limit: int = 60) -> str:
    """A JSON value on one line; a missing one is a dash, an empty text says so."""
    if value is None:
        return "—"
    # Before JSON: people read text without quotes, and nothing is told apart from an empty text.
    if isinstance(value, str):
        return one_line(value, limit) or "(empty)"
    if isinstance(value, Mapping) and value.keys() == {"left_out_bytes"}:
        return f"({size(value['left_out_bytes'])}, left out)"
    if isinstance(value, bool | Mapping | list | tuple):
        return one_line(json.dumps(value, default=str, ensure_ascii=False), limit)
    return one_line(value, limit)


def side_by_side(previous: object, value: object, limit: int = 60) -> tuple[str, str]:
    """Two values, each on one line, from a little before the first place where they differ."""
    whole = [value_text(one, _COMPARED) for one in (previous, value)]
    return shortened_pair(whole[0], whole[1], limit)


def transition(previous: object, value: object, limit: int = 40) -> str:
    """`previous → value`, or the value alone where there is nothing to tell."""
    if previous is None or previous == value:
        return value_text(value, limit)
    return " → ".join(side_by_side(previous, value, limit))


def outcome(word: object) -> str:
    """The outcome as a symbol and its word; a word that is not in the vocabulary stands alone."""
    name = one_line(word, 20)
    return f"{OUTCOMES[name][0]} {name}" if name in OUTCOMES else name


def phrase(word: str) -> str:
    """What a sentence says of a sensor with this outcome: `weather set a baseline`."""
    return OUTCOMES[word][1] if word in OUTCOMES else word


def amount(number: int, noun: str) -> str:
    """The number with thousands separators and its noun: `1 row`, `1,127 items`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """The time taken, to two or three digits: `<1 ms`, `12 ms`, `1.2 s`, `2 min 5 s`."""
    minutes, rest = divmod(round(seconds, 1), 60)
    if minutes:
        return f"{minutes:.0f} min {int(rest)} s"
    if rest >= 1:
        return f"{rest:.1f} s"
    milliseconds = round(seconds * 1000)
    return f"{milliseconds} ms" if milliseconds else "<1 ms"


def size(count: float) -> str:
    """The number of bytes in decimal units: `512 bytes`, `48.2 kB`."""
    # Decimal units, as disks and clouds count.
    rank = 0
    while count >= _KILO and rank < len(_UNITS) - 1:
        count, rank = count / _KILO, rank + 1
    return f"{count:.1f} {_UNITS[rank]}" if rank else f"{count:.0f} {_UNITS[rank]}"


def cost(spent: Mapping[str, float]) -> str:
    """What was read: `1,096 rows, 48.2 kB, 3 requests`; a dash if nothing is known."""
    parts = [amount(int(spent["rows"]), "row")] if spent.get("rows") else []
    parts += [size(spent["bytes"])] if spent.get("bytes") else []
    parts += [amount(int(spent["requests"]), "request")] if spent.get("requests") else []
    return ", ".join(parts) or "—"


def moment(text: object) -> str:
    """The ISO moment as a person writes it, in UTC; text that is no moment stays as it is."""
    try:
        read = datetime.fromisoformat(str(text))
    except ValueError:
        return one_line(text, 40)
    # Journals write moments with their zone; without one they are from a source, and taken as UTC.
    aware = read if read.tzinfo else read.replace(tzinfo=UTC)
    return f"{aware.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
