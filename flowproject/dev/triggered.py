"""The step decorator that the launcher attaches to every step of a run that it starts.

It makes `current.trigger` what it is on a cluster, also in flows that know nothing of flowproject.
Imported in every task of such a run: keep it light.
"""

import json
import os
from collections.abc import Callable
from typing import Any, Final

from metaflow import UserStepDecorator, current

__all__ = ["triggered"]

# Metaflow's own name: its decorator on Argo reads the same variables.
_PREFIX: Final = "METAFLOW_ARGO_EVENT_PAYLOAD_"


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
        """Nothing: the step runs as it is."""
        events = _events()
        if not events:
            return None
        # Only where there are events: it is imported in every task of every run of a loop.
        from metaflow.events import Trigger

        current._update_env({"trigger": Trigger(events)})  # noqa: SLF001  # as Metaflow does it
        # Once for each run: every step has the variables, and the record is the run's.
        if step_name == getattr(flow._graph, "start_step", "start"):  # noqa: SLF001
            _remember(events)
        return None

    def post_step(
        self,
        step_name: str,  # noqa: ARG002  # part of Metaflow's interface
        flow: Any,  # noqa: ARG002
        exception: Exception | None = None,
    ) -> Exception | None:
        """The step's own exception. A pair, as the base class has it, would undo a skipped step."""
        return exception


def _events() -> list[dict[str, object]]:
    return [
        _event(name.removeprefix(_PREFIX).partition("_")[0], text)
        for name, text in os.environ.items()
        if name.startswith(_PREFIX)
    ]


def _event(kind: str, text: str) -> dict[str, object]:
    payload = json.loads(text)
    return {
        "timestamp": payload.get("timestamp"),
        "id": payload.get("id"),
        "name": payload.get("name"),
        "type": kind,
    }


def _remember(events: list[dict[str, object]]) -> None:
    """Record the events with the run, so that the client's `Run.trigger` has them."""
    # As Metaflow's decorator for Argo writes it, under the same name, so that its client finds it.
    from metaflow.metadata_provider import MetaDatum
    from metaflow.system_context import system_context

    datum = MetaDatum(
        field="execution-triggers",
        value=json.dumps(events),
        type="execution-triggers",
        tags=[f"attempt_id:{current.retry_count}"],
    )
    system_context.metadata.register_metadata(
        current.run_id, current.step_name, current.task_id, [datum]
    )
