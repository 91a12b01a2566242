"""Where an item of a source can be opened."""

from pathlib import Path

import pytest

from flowproject.change import ChangedItem
from flowproject.config.data import AzureData, Data, DuckDBData, FilesData, GcsData, S3Data
from flowproject.errors import SourceError

ROOT = Path("/srv/shop")


@pytest.mark.parametrize(
    "data, path",
    [
        (FilesData(path="incoming"), "/srv/shop/incoming/a/b.csv"),
        (FilesData(path="/mnt/incoming"), "/mnt/incoming/a/b.csv"),
        (FilesData(path="one.csv", check_mode="file_size"), "/srv/shop/one.csv"),
        (S3Data(bucket="lake"), "s3://lake/a/b.csv"),
        (S3Data(bucket="s3://lake/raw/"), "s3://lake/a/b.csv"),
        (GcsData(bucket="gs://lake/raw"), "gs://lake/a/b.csv"),
        (AzureData(container="lake"), "az://lake/a/b.csv"),
    ],
)
def test_a_file_or_an_object_has_a_path(data: Data, path: str) -> None:
    item = ChangedItem({"key": "a/b.csv"}, lambda: (data, ROOT))
    assert item.path == path


def test_a_row_has_none_and_says_so() -> None:
    item = ChangedItem({"id": 1}, lambda: (DuckDBData(query="q"), ROOT))
    with pytest.raises(SourceError, match="'duckdb' are rows, and a row has no path"):
        _ = item.path
