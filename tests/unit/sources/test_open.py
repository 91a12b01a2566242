"""A source is opened by the class of its configuration, and imported no earlier than that."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from flowproject.config.data import DATA_TYPES, DuckDBData, FilesData
from flowproject.sources import SOURCES, open_source
from flowproject.sources.duckdb.source import DuckDBSource
from flowproject.sources.files import FilesSource


def test_every_type_of_the_configuration_has_a_source():
    assert set(SOURCES) == set(DATA_TYPES.values())


def test_every_source_is_where_the_registry_says():
    for kind in SOURCES.values():
        assert hasattr(import_module(kind.module), kind.name)


def test_a_source_is_opened_by_its_configuration(tmp_path: Path):
    assert isinstance(open_source(DuckDBData(query="q"), tmp_path), DuckDBSource)
    assert isinstance(open_source(FilesData(path="p"), tmp_path), FilesSource)


@pytest.mark.seconds(30)
def test_importing_and_opening_sources_imports_no_client():
    code = """
import sys
from pathlib import Path
import flowproject.sources
from flowproject.config.data import DuckDBData
flowproject.sources.open_source(DuckDBData(query="q"), Path())
assert not {"duckdb", "_duckdb", "pyarrow", "obstore", "pydantic", "numpy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
