"""A seasonal forecast of the daily temperature: what the starter flow computes, as pure functions.

Rows go in and out as plain dictionaries, so that artifacts can be read without this module.
"""

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = [
    "ENOUGH_DAYS",
    "HELD_OUT_DAYS",
    "chart_points",
    "in_words",
    "mean_error",
    "predict",
    "split",
]

Row = Mapping[str, Any]
Vector = npt.NDArray[np.float64]

YEAR: Final = 365.25
"""Days in a year, on average."""

HARMONICS: Final = 2
"""Waves in a year: one for summer and winter, one because they differ in length and steepness."""

ENOUGH_DAYS: Final = 365
"""Days to learn from, at least: of a season that was never seen, nothing can be said."""

HELD_OUT_DAYS: Final = 31
"""Days to judge on when none just arrived."""


def split(days: Sequence[Row], arrived: Collection[str]) -> tuple[list[Row], list[Row]]:
    """The days to learn from and the days to judge on, each in order of date.

    Judged are the days that arrived, from what was known before the first of them. If there are
    none, or too little came before them, the last days are held out instead. Days after the first
    judged one are never learned from: that would be looking into the future.
    """
    ordered = sorted(days, key=lambda row: str(row["date"]))
    judged = [row for row in ordered if row["date"] in arrived]
    if not judged or len(_before(ordered, judged[0])) < ENOUGH_DAYS:
        judged = ordered[-HELD_OUT_DAYS:]
    known = _before(ordered, judged[0]) if judged else []
    if len(known) < ENOUGH_DAYS:
        message = (
            f"A seasonal forecast learns from {ENOUGH_DAYS} days or more, here are {len(known)} "
            f"(and {len(judged)} to judge it on): start further back, or wait for more data."
        )
        raise ValueError(message)
    return known, judged


def predict(known: Sequence[Row], judged: Sequence[Row]) -> list[dict[str, Any]]:
    """One row for each judged day: `date`, `observed`, `forecast` and `usual`, all in °C.

    `forecast` is harmonic regression: an intercept and two yearly waves, fitted by ordinary least
    squares (Wilks, *Statistical Methods in the Atmospheric Sciences*, on harmonic analysis).
    `usual` is what it has to beat: the mean of the same day in the years before.
    """
    temperatures = np.array([row["temperature"] for row in known], dtype=np.float64)
    weights, *_ = np.linalg.lstsq(_waves(known), temperatures, rcond=None)
    usual = _usual(known)
    return [
        {
            "date": row["date"],
            "observed": round(float(row["temperature"]), 2),
            "forecast": round(float(value), 2),
            "usual": round(usual.get(row["date"][5:], float(temperatures.mean())), 2),
        }
        for row, value in zip(judged, _waves(judged) @ weights, strict=True)
    ]


def mean_error(rows: Sequence[Row], column: str) -> float:
    """The mean absolute difference between `column` and `observed`, in °C."""
    errors = [abs(float(row[column]) - float(row["observed"])) for row in rows]
    return round(sum(errors) / len(errors), 2)


def in_words(rows: Sequence[Row], arrived: Collection[str]) -> str:
    """Two lines: which days were judged and why, and how wrong the forecast was."""
    new = any(row["date"] in arrived for row in rows)
    which = f"{rows[0]['date']} to {rows[-1]['date']}"
    count = f"{len(rows)} day{'s' if len(rows) > 1 else ''}"
    days = (
        f"{count} arrived ({which})."
        if new
        else f"No new day: the last {count} held out ({which})."
    )
    ours, usual = mean_error(rows, "forecast"), mean_error(rows, "usual")
    return (
        f"{days}\nForecast off by {ours} °C on average; same days of earlier years by {usual} °C."
    )


def chart_points(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The rows of `predict` as a chart reads them: one point for each date and line."""
    return [
        {"date": row["date"], "temperature (°C)": row[line], "line": line}
        for row in rows
        for line in ("observed", "forecast", "usual")
    ]


def _before(ordered: Iterable[Row], first: Row) -> list[Row]:
    return [row for row in ordered if row["date"] < first["date"]]


def _waves(rows: Sequence[Row]) -> Vector:
    """An intercept and the sine and cosine of every harmonic, one row for each day."""
    days = np.array([dt.date.fromisoformat(row["date"]).toordinal() for row in rows])
    angles = [2 * np.pi * wave * days / YEAR for wave in range(1, HARMONICS + 1)]
    waves = [function(angle) for angle in angles for function in (np.sin, np.cos)]
    return np.column_stack([np.ones(len(rows)), *waves])


def _usual(known: Iterable[Row]) -> dict[str, float]:
    """Month and day (`"02-29"`) → mean temperature on it."""
    same_day: dict[str, list[float]] = defaultdict(list)
    for row in known:
        same_day[row["date"][5:]].append(row["temperature"])
    return {day: sum(values) / len(values) for day, values in same_day.items()}
