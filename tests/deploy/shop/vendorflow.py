"""An event of somebody else, mapped to parameters."""

from metaflow import JSONType, Parameter, current, step, trigger

from flowproject import BaseFlow


@trigger(event={"name": "vendor.feed", "parameters": {"day": "date", "rows": "n", "more": "more"}})
class VendorFlow(BaseFlow):
    """Say what was mapped."""

    day = Parameter("day", default="none")
    rows = Parameter("rows", default=0)
    more = Parameter("more", type=JSONType, default="{}")

    @step
    def start(self):
        print("TOLD", self.day, self.rows, self.more, current.trigger.event.name)


if __name__ == "__main__":
    VendorFlow()
