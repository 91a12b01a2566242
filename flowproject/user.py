"""A user name for Metaflow where the machine gives it none."""

import os
from typing import Final

__all__ = ["FALLBACK", "name_user"]

FALLBACK: Final = "local"


def name_user() -> None:
    """See to it that Metaflow can tell who runs it: it refuses root, and containers have no other.

    Child processes inherit the name. A name that is set in any way Metaflow knows stays.
    """
    from metaflow.util import get_username

    if get_username() is None:
        # METAFLOW_USER is read when Metaflow is imported, this one whenever a name is needed.
        os.environ["USERNAME"] = FALLBACK
