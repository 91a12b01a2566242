"""One sensor, several parameters, one step; killed once, in the middle of its work."""

import os
import signal
from pathlib import Path

from metaflow import Parameter, step

from flowproject import BaseFlow, on_change

KILLED = Path("{volume}/killed")


@on_change("orders")
class OrderFlow(BaseFlow):
    """Say what came."""

    orders = Parameter("orders", default=0, help="How many there are")
    since = Parameter("since", default="2026-01-01", help="Not in any event")
    limit = Parameter("limit", default=1.5, help="Not in any event")

    @step
    def start(self):
        change = self.change
        if not KILLED.exists():
            KILLED.touch()
            os.kill(0, signal.SIGKILL)
        added = [item["key"] for item in change.added]
        print("TOLD", change.seq, change.attempt, added, self.orders, self.since, self.limit)


if __name__ == "__main__":
    OrderFlow()
