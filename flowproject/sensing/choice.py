"""Which of its sensors a run looks at: all, unless whoever started it has named some."""

import os
from collections.abc import Sequence
from typing import Final

from flowproject.sensing.scene import Scene

__all__ = ["SENSORS_ONLY", "chosen"]

SENSORS_ONLY: Final = "FLOWPROJECT_SENSORS"
"""The variable with the names, commas between them. Empty, it names none; unset, it means all."""


def chosen(scene: Scene, names: Sequence[str] = ()) -> list[str]:
    """Those of the sensors with these names (by default all) that this run is to look at.

    Raises:
        UsageError: if there is no such sensor.
    """
    known = [sensor.name for sensor in scene.sensors(names)]
    only = os.environ.get(SENSORS_ONLY)
    if only is None:
        return known
    wanted = [name.strip() for name in only.split(",") if name.strip()]
    scene.sensors(wanted)  # a name that no sensor has is a mistake, not nobody
    return [name for name in known if name in wanted]
