"""robfig/cron's rules once more, for tests: whole numbers as sets of bits, and one long walk.

Written from what the library does (parser.go and spec.go of v3.0.1, `time.Date` of Go 1.26), apart
from `flowproject.cron` and in another way, so that the two can be held to each other.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

STAR = 1 << 63
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
NAMES = (
    {},
    {},
    {},
    {name: at + 1 for at, name in enumerate(_MONTHS)},
    {name: at for at, name in enumerate(_DAYS)},
)


def bits_of(expression: str) -> list[int]:
    """A set of bits for each of the five fields."""
    return [
        _field(text, *bounds, names)
        for text, bounds, names in zip(expression.split(), BOUNDS, NAMES, strict=True)
    ]


def _field(text: str, least: int, most: int, names: dict[str, int]) -> int:
    bits = 0
    for part in text.split(","):
        if not part:
            continue
        head, slash, step_text = part.partition("/")
        low, hyphen, high = head.partition("-")
        step = int(step_text) if slash else 1
        if low in ("*", "?"):
            first, last = least, most
            bits |= STAR if step == 1 else 0
        else:
            first = names.get(low.lower()) if low.lower() in names else int(low)
            if hyphen:
                last = names.get(high.lower()) if high.lower() in names else int(high)
            else:
                last = most if slash else first
        assert step > 0
        assert least <= first <= last <= most
        while first <= last:
            bits |= 1 << first
            first += step
    return bits


def next_time(bits: list[int], zone: ZoneInfo, after: int) -> int:  # noqa: C901, PLR0912  # on purpose
    """The first second after `after` at which all bits match, by the library's walk; 0: none."""
    minute, hour, dom, month, dow = bits
    t, added = after + 1, False
    limit = _at(t, zone).year + 5
    while _at(t, zone).year <= limit:
        wrapped = False
        while not month >> _at(t, zone).month & 1:
            if not added:
                added, t = True, _date(zone, _at(t, zone).year, _at(t, zone).month, 1)
            t = _add_date(zone, t, months=1)
            if _at(t, zone).month == 1:
                wrapped = True
                break
        while not wrapped and not _day_matches(dom, dow, _at(t, zone)):
            here = _at(t, zone)
            if not added:
                added, t = True, _date(zone, here.year, here.month, here.day)
            t = _add_date(zone, t, days=1)
            shown = _at(t, zone).hour
            if shown > 12:
                t += (24 - shown) * 3600
            elif shown:
                t -= shown * 3600
            wrapped = _at(t, zone).day == 1
        while not wrapped and not hour >> _at(t, zone).hour & 1:
            here = _at(t, zone)
            if not added:
                added, t = True, _date(zone, here.year, here.month, here.day, here.hour)
            t += 3600
            wrapped = _at(t, zone).hour == 0
        while not wrapped and not minute >> _at(t, zone).minute & 1:
            if not added:
                added, t = True, t - t % 60
            t += 60
            wrapped = _at(t, zone).minute == 0
        while not wrapped and _at(t, zone).second:
            added = True
            t += 60 - _at(t, zone).second
            wrapped = True
        if not wrapped:
            return t
    return 0


def _day_matches(dom: int, dow: int, here: datetime) -> bool:
    by_day, by_week = dom >> here.day & 1, dow >> here.isoweekday() % 7 & 1
    both = (dom | dow) & STAR
    return bool(by_day and by_week) if both else bool(by_day or by_week)


def _at(t: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(t, zone)


def _date(zone: ZoneInfo, year: int, month: int, day: int, hour: int = 0, second: int = 0) -> int:
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    shown = datetime(year, month, 1, tzinfo=UTC) + timedelta(
        days=day - 1, hours=hour, seconds=second
    )
    unix = int(shown.timestamp())
    guess = _offset(unix, zone)
    return unix - (guess if _offset(unix - guess, zone) == guess else _offset(unix - guess, zone))


def _add_date(zone: ZoneInfo, t: int, *, months: int = 0, days: int = 0) -> int:
    here = _at(t, zone)
    rest = here.minute * 60 + here.second
    return _date(zone, here.year, here.month + months, here.day + days, here.hour, rest)


def _offset(unix: int, zone: ZoneInfo) -> int:
    return round((_at(unix, zone).utcoffset() or timedelta()).total_seconds())
