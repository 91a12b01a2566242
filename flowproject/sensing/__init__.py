"""One tick: observe every sensor, compare with its journal, record, publish.

What a source looks like, what a change is and how it is kept live below; flows live above.
"""

from flowproject.sensing.rounds import observe, preview, publish, raise_for_failures
from flowproject.sensing.scene import Scene
from flowproject.sensing.tick import Tick

__all__ = ["Scene", "Tick", "observe", "preview", "publish", "raise_for_failures"]
