"""Runs a tick: observes every sensor, compares with its journal, records, publishes.

What a source looks like, what a change is and how it is kept live below; flows live above.
"""

from flowproject.sensing.chain import Chain, chain, likely_causes, patience_of
from flowproject.sensing.context import SENSORS_ONLY, ProjectContext, chosen
from flowproject.sensing.orphans import (
    Orphan,
    context_of,
    find_former,
    find_orphan,
    likely_orphans,
    orphans,
)
from flowproject.sensing.replay import FoundChange, Replay, Skip, find_change, replay, skip
from flowproject.sensing.runner import (
    Survey,
    observe,
    preview,
    publish,
    raise_for_failures,
    survey,
)
from flowproject.sensing.tick import Tick
from flowproject.sensing.turns import waiting_in_order

__all__ = [
    "SENSORS_ONLY",
    "Chain",
    "FoundChange",
    "Orphan",
    "ProjectContext",
    "Replay",
    "Skip",
    "Survey",
    "Tick",
    "chain",
    "chosen",
    "context_of",
    "find_change",
    "find_former",
    "find_orphan",
    "likely_causes",
    "likely_orphans",
    "observe",
    "orphans",
    "patience_of",
    "preview",
    "publish",
    "raise_for_failures",
    "replay",
    "skip",
    "survey",
    "waiting_in_order",
]
