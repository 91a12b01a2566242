"""Says what of a developer's world no test may see: settings and credentials for what is elsewhere.

Nothing of flowproject is imported here: Metaflow reads its settings when it is imported.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["is_of_the_developer", "is_proxy", "isolated"]

_DROPPED: Final = (
    "METAFLOW_",
    "AWS_",
    "AZURE_",
    "CLOUDSDK_",
    "GOOGLE_",
    "SNOWFLAKE_",
    "KUBE",
    "ARGO_",
    "GIT_",
    "FLOWPROJECT_SENSORS",
    # Connection strings and passwords that clients take by themselves.
    "DATABASE_URL",
    "PG",
)
"""Beginnings of names: a variable of these says where somebody's data are, or opens them."""

_PROXIES: Final = ("http_proxy", "https_proxy", "all_proxy", "ftp_proxy")


def is_of_the_developer(name: str) -> bool:
    """Whether a variable of this name leads to somebody's data, cluster or account."""
    return name.startswith(_DROPPED)


def is_proxy(name: str) -> bool:
    """Whether a variable of this name sends requests elsewhere."""
    return name.lower() in _PROXIES


def isolated(environ: Mapping[str, str], home: Path) -> dict[str, str]:
    """The variables without what leads to somebody's world; their home is this folder."""
    kept = {
        name: text
        for name, text in environ.items()
        if not is_of_the_developer(name) and not is_proxy(name)
    }
    # What is only kept to be fast is nobody's data.
    kept.setdefault("XDG_CACHE_HOME", str(Path(environ.get("HOME", "~"), ".cache")))
    return {
        **kept,
        # There `~/.metaflowconfig`, `~/.aws`, `~/.kube`, `~/.gitconfig` and their like are not.
        "HOME": str(home),
        "METAFLOW_HOME": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",  # which is asked over the network
    }
