"""Give each step of a run the events that started it: a decorator that the launcher attaches.

It makes `current.trigger` what it is on a cluster, also in flows that know nothing of flowproject.
Imported in every task of such a run: keep it light.
"""

import json
import os
from collections.abc import Callable
from typing import Any

from metaflow import UserStepDecorator

from flowproject.metaflow_internals.argo import EVENT_VARIABLE
from flowproject.metaflow_internals.flows import set_trigger, start_step
from flowproject.metaflow_internals.metadata import note_triggers

__all__ = ["triggered"]


class triggered(UserStepDecorator):  # type: ignore[misc]  # noqa: N801  # Metaflow is untyped; it reads as a decorator
    """Set `current.trigger` from the variables that carry the events of the run.

    The variables, and what is made of them, are those of Metaflow's own decorator for Argo.
    """

    def pre_step(
        self,
        step_name: str,
        flow: Any,  # Metaflow has no types
        inputs: Any = None,  # noqa: ARG002  # part of Metaflow's interface
    ) -> Callable[..., object] | None:
        """Set `current.trigger`, and let the step run as it is."""
        events = _events()
        if not events:
            return None
        set_trigger(events)
        # Once for each run: every step has the variables, and the record is the run's.
        if step_name == start_step(flow):
            note_triggers(events)
        return None

    def post_step(
        self,
        step_name: str,  # noqa: ARG002  # part of Metaflow's interface
        flow: Any,  # noqa: ARG002
        exception: Exception | None = None,
    ) -> Exception | None:
        """Return the step's exception: a pair, as of the base class, would undo a skipped step."""
        return exception


def _events() -> list[dict[str, object]]:
    return [
        _event(name.removeprefix(EVENT_VARIABLE).partition("_")[0], text)
        for name, text in os.environ.items()
        if name.startswith(EVENT_VARIABLE)
    ]


def _event(kind: str, text: str) -> dict[str, object]:
    payload = json.loads(text)
    return {
        "timestamp": payload.get("timestamp"),
        "id": payload.get("id"),
        "name": payload.get("name"),
        "type": kind,
    }
