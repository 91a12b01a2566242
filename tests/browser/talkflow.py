"""A flow that says a word, waits until the file `go` is there, and says it again."""

import time
from pathlib import Path

from metaflow import FlowSpec, Parameter, step


class TalkFlow(FlowSpec):
    """What it prints tells whether a log is followed; its word, whether a parameter arrives."""

    word = Parameter("word", default="nothing")

    @step
    def start(self) -> None:
        """Say it twice, and between that wait."""
        print(f"first {self.word}", flush=True)
        go = Path("go")
        for _ in range(1200):
            if go.exists():
                break
            time.sleep(0.1)
        print(f"then {self.word}", flush=True)
        self.next(self.end)

    @step
    def end(self) -> None:
        """Say no more."""


if __name__ == "__main__":
    TalkFlow()
