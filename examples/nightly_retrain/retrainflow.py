"""Every night: has the data drifted from what the model was trained on? Only then train anew."""

import statistics

from metaflow import Flow, Parameter, current, step
from metaflow.exception import MetaflowNotFound

from flowproject import BaseFlow, on_schedule


@on_schedule("0 3 * * *", timezone="Europe/Helsinki")
class RetrainFlow(BaseFlow):
    limit = Parameter("limit", default=2.0, help="Drift, in standard deviations")

    @step
    def start(self):
        values = [row["celsius"] for row in self.query("temperatures")]
        self.seen = {"mean": statistics.mean(values), "deviation": statistics.pstdev(values)}
        self.model = self.last_model()
        self.drift = self.drift_from(self.model) if self.model else None
        self.next(self.train)

    @step
    def train(self):
        self.trained = self.model is None or self.drift > self.limit
        if self.trained:
            self.model = self.seen
        self.next(self.end)

    @step
    def end(self):
        print(f"drift {self.drift}: {'trained anew' if self.trained else 'kept'}")

    def last_model(self):
        try:
            last = Flow(current.flow_name).latest_successful_run
        except MetaflowNotFound:
            return None
        return last.data.model if last else None

    def drift_from(self, model):
        return abs(self.seen["mean"] - model["mean"]) / (model["deviation"] or 1.0)


if __name__ == "__main__":
    RetrainFlow()
