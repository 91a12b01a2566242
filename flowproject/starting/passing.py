"""How a step is passed by: nothing of it runs, and the run goes on to its end by the shortest way.

It knows the shapes that a flow can have. Why a run does nothing is decided elsewhere.
"""

from collections.abc import Callable
from typing import Any

from metaflow import current

__all__ = ["pass_by"]


def pass_by(step: str) -> Callable[..., None]:
    """What takes the place of the body of a step: it calls `self.next` as the body would.

    A function, where a dictionary would do for most steps: what other decorators return from
    `post_step` can undo a dictionary, and it can't say which way to go at a switch.
    """

    def go_on(flow: Any, _inputs: object = None) -> None:
        node = flow._graph[step]  # noqa: SLF001  # Metaflow has no other way
        ways = [way for way in node.out_funcs if way != step]
        if node.parallel_step:
            _stand_for_all_nodes(flow)
        if node.type == "split-switch":
            # As `self.next` does it, which would ask for the variable of the condition.
            flow._transition = (ways[:1], None)  # noqa: SLF001
        elif node.parallel_foreach:
            flow.next(getattr(flow, ways[0]), num_parallel=1)
        elif node.type == "foreach":
            # One element, for a join needs something to join. Not in the flow's own variable,
            # which may be a parameter.
            flow.change_parts = ["nothing to do"]
            flow.next(getattr(flow, ways[0]), foreach="change_parts")
        elif ways:
            flow.next(*(getattr(flow, way) for way in ways))

    return go_on


def _stand_for_all_nodes(flow: Any) -> None:
    """Name the tasks that a join after `@parallel` waits for: this one, which is the only one."""
    flow._control_mapper_tasks = [  # noqa: SLF001
        f"{current.run_id}/{current.step_name}/{current.task_id}"
    ]
