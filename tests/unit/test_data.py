"""The demo's data are complete: what `data/README.md` promises of them."""

import csv
import datetime as dt
from pathlib import Path

DATA = Path(__file__).parents[2] / "data"
COLUMNS = ["date", "precipitation", "temp_max", "temp_min", "wind", "weather"]


def rows(folder: str) -> list[dict[str, str]]:
    found = []
    for path in sorted((DATA / folder).glob("*.csv")):
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            assert reader.fieldnames == COLUMNS
            inside = list(reader)
        assert {row["date"][: len(path.stem)] for row in inside} == {path.stem}
        found += inside
    return found


def test_every_day_of_four_years_is_there_once_and_in_order() -> None:
    days = [dt.date.fromisoformat(row["date"]) for row in rows("weather") + rows("incoming")]
    first = dt.date(2012, 1, 1)
    assert days == [first + dt.timedelta(days=number) for number in range(1461)]


def test_the_last_year_is_the_one_that_arrives() -> None:
    assert {row["date"][:4] for row in rows("weather")} == {"2012", "2013", "2014"}
    assert {row["date"][:4] for row in rows("incoming")} == {"2015"}


def test_no_value_is_missing_and_no_day_is_colder_than_its_night() -> None:
    for row in rows("weather") + rows("incoming"):
        assert all(row.values())
        assert float(row["temp_max"]) >= float(row["temp_min"])
