"""After its configuration was edited a sensor goes on from what it knew, and is quick again."""

from pathlib import Path
from typing import Any

import pytest

from flowproject.changes.observation import Observation
from flowproject.config.data import S3Data
from flowproject.sources import open_source
from flowproject.sources.s3 import source
from flowproject.sources.s3.work_queue import ListingOptions
from flowproject.tables.table import ObjectTable
from tests.observations import remembered
from tests.servers import Moto

pytestmark = pytest.mark.usefixtures("aws")


@pytest.fixture
def lake(moto: Moto, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Many spans of few objects."""
    monkeypatch.setattr(
        source, "ListingOptions", lambda: ListingOptions(at_once=3, page_size=7, span_rows=10)
    )
    bucket = moto.bucket()
    moto.fill(bucket, {f"raw/{number:03}.csv": b"1" for number in range(95)})
    return {"bucket": bucket, "key": "raw", "endpoint_url": moto.endpoint_url}


def look(data: dict[str, Any], before: Observation | None = None) -> Observation:
    past = remembered(before) if before else None
    return open_source(S3Data(**data), Path()).observe(past)


def table_of(seen: Observation) -> ObjectTable:
    assert isinstance(seen.items, ObjectTable)
    return seen.items


@pytest.mark.parametrize("edit", [{"ignore": ("last_modified",)}, {"include": ("*.csv",)}])
def test_an_edit_without_effect_is_no_change_and_writes_no_rows_anew(
    lake: dict[str, Any], edit: dict[str, Any]
) -> None:
    before = look(lake)
    after = look({**lake, **edit}, before)
    assert after.difference
    assert not any(after.difference.counts.values())
    assert len(table_of(before).manifest.spans) > 5
    assert "" not in table_of(after).manifest.segments, "the memo can hold this table"
    assert table_of(after).manifest.view != table_of(before).manifest.view


def test_an_edit_with_an_effect_is_exactly_that_change(lake: dict[str, Any], moto: Moto) -> None:
    moto.fill(lake["bucket"], {"raw/new.txt": b"1"})
    before = look({**lake, "include": ("*.csv",)})
    after = look(lake, before)
    assert after.difference
    assert [item.key for item in after.difference.added] == ["raw/new.txt"]
    assert not after.difference.modified
    assert not after.difference.removed


def test_one_object_and_then_its_folder_is_compared_and_not_taken_for_a_first_look(
    lake: dict[str, Any],
) -> None:
    one = look({**lake, "key": "raw/000.csv", "check_mode": "file_etag"})
    after = look(lake, one)
    assert len(table_of(after)) == 95
    assert after.difference is None, "the tick compares with the one object"


def test_only_new_objects_and_then_all_of_them_is_compared_while_it_looks(
    lake: dict[str, Any],
) -> None:
    newest = look({**lake, "check_mode": "files_new"})
    after = look(lake, newest)
    assert after.difference
    assert len(after.difference.added) == 95
