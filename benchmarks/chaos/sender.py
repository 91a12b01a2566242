"""The POST of an event, whose sender may die, and whose event has a fate.

It is that of `flowproject.events`, and for the scaffold that of Metaflow's own `ArgoEvent`.

Everything in here that stands in for something is about time and threads, never about what the
protocol does: a request that hangs is given up sooner, and what looks at a source does so in the
thread of its actor, so that an actor dies as a whole.
"""

import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stderr
from functools import cached_property
from inspect import isclass
from io import StringIO
from typing import Any, Final
from unittest.mock import patch

import metaflow.integrations
import metaflow.metaflow_config
import stamina

from benchmarks.chaos.bus import Bus
from benchmarks.chaos.faults import Faults
from benchmarks.chaos.turns import Actor
from flowproject import events
from flowproject.errors import FlowprojectError
from flowproject.sensing import Tick, look, runner
from flowproject.sensing.tick import failed_tick

__all__ = ["acting", "one_process"]

_GIVEN_UP_AFTER: Final = 0.1
_now = threading.local()


@contextmanager
def acting(actor: Actor, faults: Faults) -> Iterator[None]:
    """For as long as it lasts, what this thread sends is sent by `actor`."""
    _now.actor, _now.faults = actor, faults
    yield


@contextmanager
def one_process(bus: Bus) -> Iterator[None]:
    """Many actors in this process, all of which send to `bus`."""

    def sent(send: Callable[[str], Any]) -> Any:
        _now.actor.pause()
        fault = _now.faults.at("bus")
        if fault == "killed before the event is sent":
            _now.actor.die()
        answer = send(bus.address(fault))
        if fault == "killed after the event was sent":
            _now.actor.die()
        return answer

    class Event(metaflow.integrations.ArgoEvent):  # type: ignore[misc]
        def publish(self, *arguments: Any, **named: Any) -> Any:
            def send(address: str) -> Any:
                self._url = address
                return super(Event, self).publish(*arguments, **named)

            return sent(send)

    posted = events._post  # noqa: SLF001  # one attempt to hand it over

    def post(_address: str, body: bytes) -> None:
        sent(lambda address: posted(address, body))

    real = urllib.request.urlopen

    def hasty(request: Any, timeout: float) -> Any:
        return real(request, timeout=min(timeout, _GIVEN_UP_AFTER))

    with ExitStack() as stack:
        for place, name, stand_in in (
            (metaflow.integrations, "ArgoEvent", Event),
            (metaflow.metaflow_config, "ARGO_EVENTS_WEBHOOK_URL", bus.address()),
            (urllib.request, "urlopen", hasty),
            (events, "_post", post),
            (events, "_SECONDS", _GIVEN_UP_AFTER),
            (look, "observe_within", _observe),
            (runner, "_side_by_side", _in_this_thread),
        ):
            stack.enter_context(patch.object(place, name, stand_in))
        for cached in _cached_properties():
            stack.enter_context(patch.object(cached, "lock", nullcontext()))
        stack.enter_context(redirect_stderr(StringIO()))  # ArgoEvent tells of each event
        was_active = stamina.is_active()
        stamina.set_active(False)
        stack.callback(stamina.set_active, was_active)
        yield


def _cached_properties() -> list[Any]:
    """Those that have a lock, as before Python 3.12: who waits for it would never pause."""
    modules = [module for name, module in sys.modules.items() if name.startswith("flowproject")]
    classes = {each for module in modules for each in vars(module).values() if isclass(each)}
    found = [each for one in classes for each in vars(one).values()]
    return [each for each in found if isinstance(each, cached_property) and hasattr(each, "lock")]


def _observe(source: Any, _sensor: Any, past: Any = None, _report: Any = None) -> Any:
    return source.observe(past)


def _in_this_thread(
    context: Any,
    names: Sequence[str],
    look: "Callable[[Any], Tick]",
    then: "Callable[[Any, Tick], Tick]" = lambda _, seen: seen,
) -> "list[Tick]":
    def guarded(sensor: Any) -> Tick:
        try:
            return look(sensor)
        except FlowprojectError as error:
            return failed_tick(sensor, error, context.clock())

    return [then(sensor, guarded(sensor)) for sensor in context.sensors(names)]
