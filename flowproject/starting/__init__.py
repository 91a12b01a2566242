"""Starts a run: reads what it is told of, claims it, or has every step do nothing.

It is all done before the first line of the user's. What a flow sees of its change is `change.py`.
"""

from flowproject.starting.run_start import decode_parameter, event_payloads
from flowproject.starting.taking import (
    GO_ON,
    HOLD,
    end_turn,
    fail_turn,
    show_why_skipped,
    skip_step,
    take,
)

__all__ = [
    "GO_ON",
    "HOLD",
    "decode_parameter",
    "end_turn",
    "event_payloads",
    "fail_turn",
    "show_why_skipped",
    "skip_step",
    "take",
]
