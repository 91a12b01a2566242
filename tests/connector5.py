"""Snowflake's connector 5 beside fakesnow, which is made for 4.

fakesnow imports two classes that 5 doesn't have. Its server uses neither of them: one binds values
on the client's side, the other packs files for stages.
"""

import sys
from importlib.util import find_spec
from types import ModuleType

__all__ = ["complete_connector"]

_CLASSES = {"converter": "SnowflakeConverter", "file_util": "SnowflakeFileUtil"}


def complete_connector() -> None:
    """Put empty classes where fakesnow looks for these two, if the connector has none."""
    import snowflake.connector

    for name, class_name in _CLASSES.items():
        whole = f"snowflake.connector.{name}"
        if whole in sys.modules or find_spec(whole):
            continue
        module = ModuleType(whole)
        setattr(module, class_name, type(class_name, (), {}))
        sys.modules[whole] = module
        setattr(snowflake.connector, name, module)
