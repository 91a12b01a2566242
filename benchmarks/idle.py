"""A loop with a page, in a process of its own, that says how many seconds of CPU it took itself.

And how many runs ended meanwhile: what those take is not counted, they are other processes.
`python -m benchmarks.idle SECONDS`.
"""

import sys
import threading
import time
from pathlib import Path
from typing import Final

from flowproject.dev.loop import Loop, PageSettings, Settings
from flowproject.dev.messages import LoopStarted, Message, RunFinished, TickFinished

_PATIENCE: Final = 300


def main(seconds: float, first: type[Message]) -> None:
    """Run the loop here; from the first such message on, count for so many seconds."""
    begun = threading.Event()
    runs: list[RunFinished] = []

    def hear(message: Message) -> None:
        if isinstance(message, first):
            begun.set()
        if isinstance(message, RunFinished):
            runs.append(message)

    def count() -> None:
        if begun.wait(_PATIENCE):
            before, known = time.process_time(), len(runs)
            time.sleep(seconds)
            print(time.process_time() - before, len(runs) - known, flush=True)
        loop.stop()

    loop = Loop(Path.cwd(), listener=hear, settings=Settings(page=PageSettings(), grace=0))
    counting = threading.Thread(target=count)
    counting.start()
    loop.run()
    counting.join()


if __name__ == "__main__":
    main(float(sys.argv[1]), LoopStarted if sys.argv[2:] else TickFinished)
