"""How a step is passed by: nothing of it runs, and the run goes on to its end by the shortest way.

It knows the shapes that a flow can have. Why a run does nothing is decided elsewhere.
"""

from collections.abc import Callable
from typing import Any

from metaflow import current

from flowproject.metaflow_internals.flows import go_straight_to, name_parallel_tasks, step_node

__all__ = ["pass_by"]


def pass_by(step: str) -> Callable[..., None]:
    """What takes the place of the body of a step: it calls `self.next` as the body would.

    A function, where a dictionary would do for most steps: what other decorators return from
    `post_step` can undo a dictionary, and it can't say which way to go at a switch.
    """

    def go_on(flow: Any, _inputs: object = None) -> None:
        node = step_node(flow, step)
        ways = [way for way in node.ways if way != step]
        if node.is_parallel:
            # This task is the only one.
            name_parallel_tasks(flow, [f"{current.run_id}/{current.step_name}/{current.task_id}"])
        if node.type == "split-switch":
            go_straight_to(flow, ways[:1])
        elif node.starts_parallel:
            flow.next(getattr(flow, ways[0]), num_parallel=1)
        elif node.type == "foreach":
            # One element, for a join needs something to join. Not in the flow's own variable,
            # which may be a parameter.
            flow.change_parts = ["nothing to do"]
            flow.next(getattr(flow, ways[0]), foreach="change_parts")
        elif ways:
            flow.next(*(getattr(flow, way) for way in ways))

    return go_on
