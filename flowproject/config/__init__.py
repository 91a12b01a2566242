"""Holds `flowproject.toml`: its model, its parser, and what is generated from the model.

Belongs here: every key that a person can set, its check, its message and its documentation. Does
not belong here: anything that opens a source, reads SQL or knows a flow.
"""

# Nothing of the parser is named here: every step of every run imports this package for the model,
# and needs no TOML, time zones or messages. Who reads the file imports `flowproject.config.parse`.

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
    PostgresData,
    S3Data,
    SnowflakeData,
)
from flowproject.config.model import (
    FILE,
    Deploy,
    Environment,
    First,
    Project,
    Schedule,
    Sensor,
)
from flowproject.config.root import project_root, refuse_two_copies

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
    "PostgresData",
    "Project",
    "S3Data",
    "Schedule",
    "Sensor",
    "SnowflakeData",
    "project_root",
    "refuse_two_copies",
]
