"""What of a developer's world no test may see: settings and credentials for what is elsewhere."""

import os
from collections.abc import MutableMapping
from pathlib import Path
from typing import Final

from tests.sharing import begin

__all__ = ["PROXIES", "isolate"]

_DROPPED: Final = (
    "METAFLOW_",
    "AWS_",
    "AZURE_",
    "CLOUDSDK_",
    "GOOGLE_",
    "SNOWFLAKE_",
    "DATABASE_URL",
    "PG",
    "KUBE",
    "ARGO_",
    "GIT_",
    "FLOWPROJECT_SENSORS",
)
"""Beginnings of names: a variable of these says where somebody's data are, or opens them."""

_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")
PROXIES: Final[dict[str, str]] = {}
"""The proxies that were dropped, for tests that need the package index."""


def isolate(environ: MutableMapping[str, str]) -> None:
    """Leave nothing that leads a test to somebody's data, cluster, account or configuration.

    What asks for the real Snowflake stays: its settings, beside the schema that tests may use.
    """
    home = begin(environ) / "home"
    wants_snowflake = {"SNOWFLAKE_ACCOUNT", "FLOWPROJECT_TEST_SCHEMA"} <= environ.keys()
    for name in [*environ]:
        if name.lower() in _PROXIES:
            PROXIES[name] = environ.pop(name)
        elif name.startswith(_DROPPED) and not (wants_snowflake and name.startswith("SNOWFLAKE_")):
            del environ[name]
    # There `~/.metaflowconfig`, `~/.aws`, `~/.kube`, `~/.gitconfig` and their like are not. A key
    # for Snowflake may lie there, and what is only kept to be fast is nobody's data.
    if not wants_snowflake:
        environ.setdefault("XDG_CACHE_HOME", str(Path(environ.get("HOME", "~"), ".cache")))
        home.mkdir(exist_ok=True)
        environ["HOME"] = str(home)
    environ["METAFLOW_HOME"] = os.devnull
    environ["AWS_EC2_METADATA_DISABLED"] = "true"  # which is asked over the network
