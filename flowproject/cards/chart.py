"""Draw line charts over time as Vega-Lite specifications; the caller decides what is drawn."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, SupportsFloat

from metaflow.cards import MetaflowCardComponent, VegaChart

from flowproject.wording import one_line, value_text

__all__ = ["line_chart", "step_chart"]

# Okabe and Ito's palette, which stays apart for all kinds of colour blindness; its yellow, too pale
# for a line on white, is left out. Dashes repeat what the colours say, for print and for the blind.
_COLOURS: Final = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]
_DASHES: Final = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [4, 4], [10, 4], [1, 3]]
_GREY: Final = "#6b7280"
_MANY_POINTS: Final = 60  # above this dots run into one another: they only answer the pointer then
_DAY: Final = 86_400_000  # milliseconds, the unit of a time scale
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER: Final = timedelta(minutes=15)
_FORTNIGHT: Final = timedelta(days=14)
_YEAR: Final = timedelta(days=366)
_AXIS: Final = {
    "domainColor": "#d1d5db",
    "gridColor": "#eef0f2",
    "labelColor": _GREY,
    "labelFontSize": 11,
    "tickColor": "#d1d5db",
    "titleColor": _GREY,
    "titleFontSize": 12,
    "titleFontWeight": "normal",
}
_CONFIG: Final = {
    "font": "Roboto, -apple-system, Segoe UI, Helvetica Neue, sans-serif",
    "axis": _AXIS,
    "mark": {"color": _COLOURS[0]},
    "legend": {
        "labelFontSize": 12,
        "orient": "top",
        "symbolSize": 500,
        "symbolStrokeWidth": 2,
        "symbolType": "stroke",
        "title": None,
    },
    "padding": {"top": 20, "right": 5, "bottom": 5, "left": 5},
    "title": {"anchor": "start", "color": "#333333", "fontSize": 14, "offset": 12},
    "view": {"stroke": None},
}
# vega-embed's own style makes a chart as wide as its content, and the content as wide as the chart:
# outside a grid that is a width of zero.
_EMBEDDING: Final = {"embedOptions": {"defaultStyle": False}}


def line_chart(
    points: Sequence[Mapping[str, object]],
    *,
    x: str,
    y: str,
    series: str = "",
    title: str = "",
    y_title: str = "",
) -> MetaflowCardComponent:
    """Draw `y` over the moments or days in `x`, one line for each value of `series`.

    Points without a finite `y` or a readable `x` are left out: JSON has no NaN, and one would cost
    the whole card. Moments without a time zone are taken as UTC, the zone of the axis.
    """
    drawn = [point for row in points if (point := _point(row, x, y, series))]
    spec = _spec(drawn, y_title or y, named=bool(series))
    if title:
        spec["title"] = one_line(title, 120)
    return VegaChart(spec)


def step_chart(trail: Sequence[Sequence[object]], y_title: str) -> MetaflowCardComponent | None:
    """Draw a line that holds each number until the next, as data does; None without two numbers.

    `trail` holds pairs of a moment and a number.
    """
    rows = [{"x": moment, "y": number} for moment, number in trail]
    drawn = [point for row in rows if (point := _point(row, "x", "y", ""))]
    if len(drawn) <= 1:
        return None
    spec = _spec(drawn, y_title, named=False)
    spec["height"] = 140
    spec["mark"]["interpolate"] = "step-after"
    return VegaChart(spec)


def _point(row: Mapping[str, object], x: str, y: str, series: str) -> dict[str, object] | None:
    moment, number = _moment(row.get(x)), _number(row.get(y))
    if moment is None or number is None:
        return None
    point: dict[str, object] = {"x": moment.isoformat(), "y": number, "at": _readable(moment)}
    return point | {"series": value_text(row.get(series), 40)} if series else point


def _number(value: object) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, SupportsFloat):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer beyond the largest float; a browser has no larger either
        return None
    if not math.isfinite(number):
        return None
    return value if isinstance(value, int) else number


def _moment(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime.combine(value, time(), UTC) if isinstance(value, date) else None


def _readable(moment: datetime) -> str:
    whole_day = moment.time() == time()
    return f"{moment:%Y-%m-%d}" if whole_day else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _spec(points: list[dict[str, object]], y_title: str, *, named: bool) -> dict[str, Any]:
    few = len(points) <= _MANY_POINTS
    encoding: dict[str, Any] = {
        "x": _time_axis(points),
        "y": _number_axis(points, y_title),
        "tooltip": [
            {"field": "at", "type": "nominal", "title": "time"},
            {"field": "y", "type": "quantitative", "title": one_line(y_title, 60), "format": ","},
        ],
    }
    if named:
        encoding |= _by_series(points)
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "height": 260,
        "data": {"values": points},
        "mark": {"type": "line", "strokeWidth": 2, "point": _dots(few=few)},
        "encoding": encoding,
        "config": _CONFIG,
        "usermeta": _EMBEDDING,
    }


def _dots(*, few: bool) -> dict[str, object] | str:
    return {"filled": True, "size": 45} if few else "transparent"


def _time_axis(points: list[dict[str, object]]) -> dict[str, Any]:
    moments = [datetime.fromisoformat(str(point["x"])) for point in points]
    first, last = min(moments, default=_EPOCH), max(moments, default=_EPOCH)
    days = all(moment.time() == time() for moment in moments)
    labels = _day_labels(first, last) if days else _moment_labels(first, last)
    axis = {"grid": False, "tickCount": 7, "labelBound": True, **labels}
    return {"field": "x", "type": "temporal", "scale": {"type": "utc"}, "axis": axis}


def _day_labels(first: datetime, last: datetime) -> dict[str, Any]:
    title = f"day in {first:%Y}" if first.year == last.year else "day"
    labels = "%Y-%m-%d" if last - first > _YEAR else "%b %-d"
    return {"title": title, "format": labels, "tickMinStep": _DAY}


def _moment_labels(first: datetime, last: datetime) -> dict[str, Any]:
    span = last - first
    if first.date() == last.date():
        labels = "%H:%M:%S" if span < _QUARTER else "%H:%M"
        return {"title": f"{first:%Y-%m-%d} (UTC)", "format": labels}
    long = "%Y-%m-%d" if span > _YEAR else "%b %-d"
    return {"title": "time (UTC)", "format": long if span > _FORTNIGHT else "%b %-d %H:%M"}


def _number_axis(points: list[dict[str, object]], title: str) -> dict[str, Any]:
    axis: dict[str, Any] = {"title": one_line(title, 60), "tickCount": 5}
    if all(isinstance(point["y"], int) for point in points):
        axis |= {"format": ",d", "tickMinStep": 1}
    scale = {"zero": False, "nice": True}
    return {"field": "y", "type": "quantitative", "scale": scale, "axis": axis}


def _by_series(points: list[dict[str, object]]) -> dict[str, Any]:
    names = list(dict.fromkeys(point["series"] for point in points))
    field: dict[str, Any] = {"field": "series", "type": "nominal", "sort": names}
    return {
        "color": {**field, "scale": {"domain": names, "range": _COLOURS}},
        "strokeDash": {**field, "scale": {"domain": names, "range": _DASHES}},
        "detail": {"field": "series", "type": "nominal"},
    }
