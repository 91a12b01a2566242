"""Watch data, notice changes, and start the right Metaflow flows with the change in hand.

These are the names that flow files use. Everything else is behind them, and nothing of a
third party but Metaflow is imported before it is needed.
"""

from flowproject.baseflow import BaseFlow, on_change, on_schedule
from flowproject.change import Change
from flowproject.errors import FlowprojectError

__all__ = ["BaseFlow", "Change", "FlowprojectError", "on_change", "on_schedule"]
