"""Starts when another flow has succeeded."""

from metaflow import current, step, trigger_on_finish

from flowproject import BaseFlow


@trigger_on_finish(flow="VendorFlow")
class AfterFlow(BaseFlow):
    """Say after which run."""

    @step
    def start(self):
        print("TOLD", current.trigger.event.id)


if __name__ == "__main__":
    AfterFlow()
