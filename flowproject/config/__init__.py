"""From `flowproject.toml` to typed values: the model, the parser, and what is generated from them.

Belongs here: every key that a person can set, its check, its message and its documentation. Does
not belong here: anything that opens a source, reads SQL or knows a flow.
"""

from flowproject.config.data import (
    DATA_TYPES,
    AzureData,
    CheckMode,
    Data,
    DuckDBData,
    FilesData,
    GcsData,
    ObjectProperty,
    ObjectsMode,
    S3Data,
    SnowflakeData,
)
from flowproject.config.deploy import Deploy, Environment
from flowproject.config.load import load, parse_config, project_root
from flowproject.config.model import FILE, First, Project, Schedule, Sensor

__all__ = [
    "DATA_TYPES",
    "FILE",
    "AzureData",
    "CheckMode",
    "Data",
    "Deploy",
    "DuckDBData",
    "Environment",
    "FilesData",
    "First",
    "GcsData",
    "ObjectProperty",
    "ObjectsMode",
    "Project",
    "S3Data",
    "Schedule",
    "Sensor",
    "SnowflakeData",
    "load",
    "parse_config",
    "project_root",
]
