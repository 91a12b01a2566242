"""Watch data, notice changes, and start the right Metaflow flows with the change in hand.

These are the names that flow files use. Everything else is behind them, and nothing of a
third party but Metaflow is imported before it is needed.
"""

from typing import TYPE_CHECKING

from flowproject.baseflow import BaseFlow, on_change, on_schedule
from flowproject.errors import FlowprojectError
from flowproject.packages import snowflake

if TYPE_CHECKING:
    from flowproject.change import Change

# Metaflow's word for: the whole package travels to remote tasks, also from where it is installed.
METAFLOW_PACKAGE_POLICY = "include"

__all__ = ["BaseFlow", "Change", "FlowprojectError", "on_change", "on_schedule", "snowflake"]


def __getattr__(name: str) -> object:
    # Every process of every run imports this package, and few of them look at a change.
    if name == "Change":
        from flowproject.change import Change

        return Change
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
