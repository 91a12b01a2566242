"""Two sensors; a branch, a loop over what changed, retries, resources, secrets."""

import os
from typing import Any

from metaflow import current, kubernetes, resources, retry, secrets, step, timeout

from flowproject import BaseFlow, on_change


@on_change("orders", "stock")
class BothFlow(BaseFlow):
    """Count what came, in two ways."""

    @step
    def start(self):
        self.sensors_seen = sorted(change.sensor for change in self.changes)
        self.keys = sorted(item["key"] for change in self.changes for item in change.added)
        self.next(self.loop, self.aside)

    @resources(memory=512)
    @step
    def loop(self):
        self.next(self.item, foreach="keys")

    @retry(times=1, minutes_between_retries=1)
    @timeout(minutes=5)
    @kubernetes(image="weather:1", cpu=0.5, labels={"team": "shop"})
    @step
    def item(self):
        if self.input.endswith("orders/1") and current.retry_count == 0:
            raise ValueError("the first attempt fails")
        self.seen = f"{self.input} in attempt {current.retry_count}"
        self.next(self.gather)

    @step
    def gather(self, inputs: Any):
        self.seen = [one.seen for one in inputs]
        self.next(self.merge)

    @secrets(sources=["aws-secrets-manager.shop/token"])
    @step
    def aside(self):
        self.secret_length = len(os.environ["SHOP_TOKEN"])
        self.next(self.merge)

    @step
    def merge(self, inputs: Any):
        self.seen = inputs.gather.seen
        self.secret_length = inputs.aside.secret_length
        self.merge_artifacts(inputs, include=["sensors_seen"])
        self.next(self.end)

    @step
    def end(self):
        print("TOLD", self.sensors_seen, self.seen, self.secret_length)


if __name__ == "__main__":
    BothFlow()
