"""The changes of a sensor, one after the other; the second of them fails until it is mended."""

from pathlib import Path

from metaflow import step

from flowproject import BaseFlow, on_change

MENDED = Path("{volume}/mended")


@on_change("stock", in_order=True)
class LedgerFlow(BaseFlow):
    """Say what came."""

    @step
    def start(self):
        if self.change.seq == 2 and not MENDED.exists():
            raise ValueError("not mended yet")
        print("TOLD", self.change.seq, [item["key"] for item in self.change.added])


if __name__ == "__main__":
    LedgerFlow()
