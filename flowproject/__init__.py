"""Watch data, notice changes, and start the right Metaflow flows with the change in hand.

These are the names that flow files and notebooks use. Everything else is behind them, and nothing
is imported before it is needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from flowproject.baseflow import BaseFlow, on_change, on_schedule
    from flowproject.change import Change
    from flowproject.errors import FlowprojectError
    from flowproject.packages import snowflake
    from flowproject.reading import ProjectReader as Project

# Metaflow's word for: the whole package travels to remote tasks, also from where it is installed.
METAFLOW_PACKAGE_POLICY = "include"

__all__ = [
    "BaseFlow",
    "Change",
    "FlowprojectError",
    "Project",
    "on_change",
    "on_schedule",
    "snowflake",
]

# Not imported here, because with most of them comes Metaflow, which reads its settings when it is
# imported: what tests flows has to set them before.
_PLACES: Final = {
    "BaseFlow": ("baseflow", "BaseFlow"),
    "Change": ("change", "Change"),
    "FlowprojectError": ("errors", "FlowprojectError"),
    "Project": ("reading", "ProjectReader"),
    "on_change": ("baseflow", "on_change"),
    "on_schedule": ("baseflow", "on_schedule"),
    "snowflake": ("packages", "snowflake"),
}


def __getattr__(name: str) -> object:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, known_as = _PLACES[name]
    found = getattr(import_module(f"{__name__}.{module}"), known_as)
    # Python asks only for names that are not there: the next time this one is.
    globals()[name] = found
    return found
