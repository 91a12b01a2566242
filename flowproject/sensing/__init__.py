"""One tick: observe every sensor, compare with its journal, record, publish.

What a source looks like, what a change is and how it is kept live below; flows live above.
"""

from flowproject.sensing.chain import Chain, chain, likely_causes, patience_of
from flowproject.sensing.context import SENSORS_ONLY, Scene, chosen
from flowproject.sensing.orphans import (
    Orphan,
    find_former,
    find_orphan,
    likely_orphans,
    orphans,
    scene_of,
)
from flowproject.sensing.replay import FoundChange, Replay, Skip, find_change, replay, skip
from flowproject.sensing.runner import observe, preview, publish, raise_for_failures
from flowproject.sensing.tick import Tick
from flowproject.sensing.turns import waiting_in_order

__all__ = [
    "SENSORS_ONLY",
    "Chain",
    "FoundChange",
    "Orphan",
    "Replay",
    "Scene",
    "Skip",
    "Tick",
    "chain",
    "chosen",
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
    "scene_of",
    "skip",
    "waiting_in_order",
]
