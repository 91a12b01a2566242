"""What of a developer's world no test may see: settings and credentials for what is elsewhere."""

from collections.abc import MutableMapping
from typing import Final

from flowproject.testing.isolation import is_proxy, isolated
from tests.sharing import begin

__all__ = ["PROXIES", "isolate"]

PROXIES: Final[dict[str, str]] = {}
"""The proxies that were dropped, for tests that need the package index."""


def isolate(environ: MutableMapping[str, str]) -> None:
    """Leave nothing that leads a test to somebody's data, cluster, account or configuration.

    What asks for the real Snowflake stays: its settings, beside the schema that tests may use.
    """
    home = begin(environ) / "home"
    wants_snowflake = {"SNOWFLAKE_ACCOUNT", "FLOWPROJECT_TEST_SCHEMA"} <= environ.keys()
    PROXIES.update({name: text for name, text in environ.items() if is_proxy(name)})
    clean = isolated(environ, home)
    home.mkdir(exist_ok=True)
    if wants_snowflake:
        # A key for Snowflake may lie at home.
        clean |= {name: text for name, text in environ.items() if name.startswith("SNOWFLAKE_")}
        clean["HOME"] = environ["HOME"]
    # Metaflow reads these once, when it is imported.
    clean |= {"METAFLOW_USER": "tester", "METAFLOW_SERVICE_RETRY_COUNT": "1"}
    environ.clear()
    environ.update(clean)
