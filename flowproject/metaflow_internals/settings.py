"""Reads Metaflow's settings as they are in this process, and the user that it runs as.

Uses `metaflow.metaflow_config`, `metaflow.metaflow_config_funcs.METAFLOW_CONFIG`,
`metaflow.util.get_username`, and the variable USERNAME, which that reads.
"""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal

from metaflow import metaflow_config, metaflow_config_funcs, util

__all__ = ["FALLBACK_USER", "Setting", "configuration", "name_user", "setting", "user_name"]

FALLBACK_USER: Final = "local"

Setting = Literal[
    "ARGO_EVENTS_EVENT",
    "ARGO_EVENTS_EVENT_BUS",
    "ARGO_EVENTS_EVENT_SOURCE",
    "ARGO_EVENTS_INTERNAL_WEBHOOK_URL",
    "ARGO_EVENTS_SENSOR_NAMESPACE",
    "ARGO_EVENTS_SERVICE_ACCOUNT",
    "ARGO_EVENTS_WEBHOOK_AUTH",
    "ARGO_EVENTS_WEBHOOK_URL",
    "ARGO_WORKFLOWS_USE_SCHEDULES",
    "AZURE_STORAGE_BLOB_SERVICE_ENDPOINT",
    "DATATOOLS_CLIENT_PARAMS",
    "DATATOOLS_SESSION_VARS",
    "DEFAULT_AWS_CLIENT_PROVIDER",
    "DEFAULT_DATASTORE",
    "DEFAULT_METADATA",
    "KUBERNETES_NAMESPACE",
    "S3_SERVER_SIDE_ENCRYPTION",
    "SERVICE_HEADERS",
    "SERVICE_RETRY_COUNT",
]
"""Every setting that flowproject reads: METAFLOW_<name> in the environment sets it."""


_NEWER: Final[Mapping[str, Any]] = {
    # Since 2.19.32. Before, Metaflow writes every schedule as `schedule`, as with false.
    "ARGO_WORKFLOWS_USE_SCHEDULES": False,
}
"""Settings that the oldest supported Metaflow does not have → what it does."""


def setting(name: Setting) -> Any:
    """The value of a setting, from the environment or from Metaflow's configuration file."""
    # Looked up anew each time: whoever runs Metaflow inside this process may have set it since.
    if name in _NEWER:
        return getattr(metaflow_config, name, _NEWER[name])
    return getattr(metaflow_config, name)


def configuration() -> Mapping[str, Any]:
    """What Metaflow's configuration file of this profile says."""
    configured: Mapping[str, Any] = metaflow_config_funcs.METAFLOW_CONFIG
    return configured


def user_name() -> str | None:
    """The user that Metaflow runs flows for; None if it can't tell."""
    # Through the module, so that it is the same function as in the rest of Metaflow.
    name: str | None = util.get_username()
    return name


@cache
def name_user() -> None:
    """See to it that Metaflow can tell who runs it: it refuses root, and containers have no other.

    Child processes inherit the name. A name that is set in any way Metaflow knows stays. A process
    asks once.
    """
    if user_name() is None:
        # METAFLOW_USER is read when Metaflow is imported, this one whenever a name is needed.
        os.environ["USERNAME"] = FALLBACK_USER
