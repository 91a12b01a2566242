"""A loop with a page, in a process of its own, that says how many seconds of CPU it took.

Three numbers: of its own process, with all that it started, and how often a sensor was looked at.
`python -m benchmarks.idle SECONDS FIRST [EVERY LOOKS]`; FIRST is the message from which on it
counts, and LOOKS after how many looks it ends, if the seconds are not over before.
"""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Final

from flowproject.dev.loop import Loop, PageSettings, Settings
from flowproject.dev.messages import LoopStarted, Message, TickFinished

_PATIENCE: Final = 300
_TICK: Final = os.sysconf("SC_CLK_TCK")


def main(seconds: float, first: type[Message], every: float, most: int) -> None:
    """Run the loop here; from the first such message on, count for so many seconds or looks."""
    begun, enough = threading.Event(), threading.Event()
    looks: list[TickFinished] = []

    def hear(message: Message) -> None:
        if isinstance(message, first):
            begun.set()
        if isinstance(message, TickFinished):
            looks.append(message)
        # The one from which on it counts is not among those that it has to have.
        if most and len(looks) > most:
            enough.set()

    def count() -> None:
        if begun.wait(_PATIENCE):
            own, of_all, known = time.process_time(), _of_all(), len(looks)
            enough.wait(seconds)
            print(time.process_time() - own, _of_all() - of_all, len(looks) - known, flush=True)
        loop.stop()

    settings = Settings(page=PageSettings(), grace=0, every=every)
    loop = Loop(Path.cwd(), listener=hear, settings=settings)
    counting = threading.Thread(target=count)
    counting.start()
    loop.run()
    counting.join()


def _of_all() -> float:
    """Seconds of CPU of this process and of all below it, those that have ended among them."""
    fields = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended, and its parent has its time
        fields[int(path.parent.name)] = rest
    mine = {os.getpid()}
    while more := {pid for pid, rest in fields.items() if int(rest[1]) in mine} - mine:
        mine |= more
    # Of each its own time, and that of its children that have ended.
    return sum(int(ticks) for pid in mine for ticks in fields[pid][11:15]) / _TICK


if __name__ == "__main__":
    kind = LoopStarted if sys.argv[2] == "started" else TickFinished
    every, most = map(float, sys.argv[3:] or (0, 0))
    main(float(sys.argv[1]), kind, every, int(most))
