"""Train on the objects that arrived in a bucket: here a line through points, by least squares."""

import numpy as np
from metaflow import S3, step

from flowproject import BaseFlow, on_change


@on_change("training")
class TrainFlow(BaseFlow):
    @step
    def start(self):
        self.objects = [item.path for item in self.change.added] if self.change else []
        self.next(self.train)

    @step
    def train(self):
        with S3() as s3:
            texts = [s3.get(path).text for path in self.objects]
        points = [tuple(map(float, line.split(","))) for text in texts for line in text.split()]
        self.slope, self.intercept = np.polyfit(*zip(*points, strict=True), deg=1).tolist()
        self.next(self.end)

    @step
    def end(self):
        print(f"y = {self.slope:.2f} x + {self.intercept:.2f}, of {len(self.objects)} objects")


if __name__ == "__main__":
    TrainFlow()
