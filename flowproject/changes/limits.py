"""How much fits on the way from an event to its run, in bytes: `check`, the loop and we know it.

Recorded on Argo Workflows 4.1.2 and Argo Events 1.9.11 (`tests/unit/dev/recorded.json`); what is
larger fails there without a word of why.
"""

from typing import Final

__all__ = [
    "EVENT_LIMIT",
    "PARAMETERS_LIMIT",
    "PAYLOAD_LIMIT",
    "VALUE_LIMIT",
    "VARIABLE_LIMIT",
    "WORKFLOW_LIMIT",
]

PAYLOAD_LIMIT: Final = 64 * 1024
"""Of the payload of an event of ours, which stays under it whatever happened."""

VALUE_LIMIT: Final = 45_000
"""Of the value under a sensor's `payload_key`: a text of 30 KB, encoded."""

EVENT_LIMIT: Final = 786_000
"""Of the body of an event: base64 in a message of the bus, which holds 1 MiB. Above: 500."""

VARIABLE_LIMIT: Final = 128 * 1024 - 1
"""Of an environment variable or an argument, its name included: Linux allows no more."""

PARAMETERS_LIMIT: Final = 90_000
"""Of all parameters of a flow together: as base64 they are one argument of its first pod."""

WORKFLOW_LIMIT: Final = 500_000
"""Of all parameters of a Workflow together, payloads included."""
