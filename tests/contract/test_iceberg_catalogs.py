"""Iceberg tables of the catalogs that teams have: AWS Glue, as moto knows it, and a REST server.

The REST server is SeaweedFS's own. What is written in a Python file is written by PyIceberg.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog import Catalog, load_catalog

from flowproject.config.data import IcebergData
from flowproject.sources import KeepsVersions, open_source
from tests.servers import Moto, S3Server
from tests.versioned import Watched

pytestmark = pytest.mark.seconds(20)  # the first table of the process imports the library

SCHEMA = pa.schema({"id": pa.int64(), "name": pa.string()})


def rows(*numbers: int) -> pa.Table:
    return pa.table({"id": [*numbers], "name": [f"é {n}" for n in numbers]}, SCHEMA)


def settings_of_store(server: S3Server) -> dict[str, str]:
    return {
        "s3.endpoint": server.endpoint_url,
        "s3.access-key-id": server.credentials["AWS_ACCESS_KEY_ID"],
        "s3.secret-access-key": server.credentials["AWS_SECRET_ACCESS_KEY"],
        "s3.region": "us-east-1",
    }


def configure(monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]) -> None:
    """Say it in PyIceberg's own variables, as a user would."""
    for name, value in settings.items():
        variable = name.upper().replace(".", "__").replace("-", "_")
        monkeypatch.setenv(f"PYICEBERG_CATALOG__TEAM__{variable}", value)


def check_is_watched(catalog: Catalog, root: Path, **keys: Any) -> None:
    catalog.create_namespace("db")
    table = catalog.create_table("db.t", SCHEMA)
    table.append(rows(1, 2, 3))
    data = IcebergData(table="db.t", catalog="team", key=("id",), **keys)
    watched = Watched(root, data)
    assert watched.tick().total == 3
    assert watched.tick().outcome == "unchanged"
    table.append(rows(4))
    table.delete("id = 1")
    seen = watched.tick()
    assert seen.counts == {"added": 1, "modified": 0, "removed": 1}
    table.overwrite(rows(9))
    assert watched.tick().counts == {"added": 1, "modified": 0, "removed": 3}
    (root / "sql").mkdir()
    (root / "sql" / "ids.sql").write_text("SELECT id FROM t ORDER BY id")
    source = open_source(data, root)
    assert isinstance(source, KeepsVersions)
    then = source.at(watched.change(seen.seq).version).query("ids", {})
    assert [row["id"] for row in then] == [2, 3, 4]
    catalog.drop_table("db.t")
    gone = watched.tick()
    assert gone.reason.startswith("The catalog has no Iceberg table 'db.t'.")


def test_tables_of_glue_are_watched_with_metaflows_credentials(
    tmp_path: Path, moto: Moto, monkeypatch: pytest.MonkeyPatch
):
    address = {"glue.endpoint": moto.endpoint_url, "glue.region": "us-east-1"}
    configure(monkeypatch, {"type": "glue", **address})
    warehouse = {"warehouse": f"s3://{moto.bucket()}/lake"}
    writer = load_catalog("writer", type="glue", **address, **warehouse, **settings_of_store(moto))
    check_is_watched(writer, tmp_path, endpoint_url=moto.endpoint_url)


def test_tables_of_a_rest_catalog_are_watched(
    tmp_path: Path, weed: S3Server, iceberg_rest: str, monkeypatch: pytest.MonkeyPatch
):
    import boto3

    store, keys = settings_of_store(weed), weed.credentials
    tables = boto3.client(
        "s3tables",
        endpoint_url=weed.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
    )
    tables.create_table_bucket(name="tables")
    settings = {
        "type": "rest",
        "uri": iceberg_rest,
        "warehouse": "s3://tables",
        "rest.sigv4-enabled": "true",
        "rest.signing-name": "s3tables",
        "rest.signing-region": "us-east-1",
        **store,
    }
    configure(monkeypatch, settings)
    check_is_watched(load_catalog("writer", **settings), tmp_path)
