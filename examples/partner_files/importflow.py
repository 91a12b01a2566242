"""Read the files that a partner delivered, once each delivery is complete."""

import csv

from metaflow import step

from flowproject import BaseFlow, on_change


@on_change("deliveries")
class ImportFlow(BaseFlow):
    @step
    def start(self):
        self.units = {}
        for file in self.change.added if self.change else ():
            if file["key"].endswith(".csv"):  # the marker is a file as well
                with open(file.path, newline="") as opened:
                    for row in csv.DictReader(opened):
                        self.units[row["sku"]] = self.units.get(row["sku"], 0) + int(row["units"])
        self.next(self.end)

    @step
    def end(self):
        print(self.units)


if __name__ == "__main__":
    ImportFlow()
