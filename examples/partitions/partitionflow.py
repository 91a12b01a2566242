"""Work anew on each partition in which a file came, changed or went, side by side."""

from pathlib import Path

from metaflow import step

from flowproject import BaseFlow, on_change


@on_change("events")
class PartitionFlow(BaseFlow):
    @step
    def start(self):
        change = self.change
        items = [*change.added, *change.modified, *change.removed] if change else []
        self.partitions = sorted({item["key"].partition("/")[0] for item in items})
        self.next(self.work, foreach="partitions")

    @step
    def work(self):
        folder = Path("events") / self.input
        self.total = self.input, sum(int(file.read_text()) for file in folder.glob("*.txt"))
        self.next(self.join)

    @step
    def join(self, inputs):
        self.totals = dict(one.total for one in inputs)
        self.next(self.end)

    @step
    def end(self):
        print(self.totals)


if __name__ == "__main__":
    PartitionFlow()
