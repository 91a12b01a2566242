"""Look at all sensors every hour."""

from metaflow import schedule, step

from flowproject import BaseFlow


@schedule(hourly=True)
class SensorFlow(BaseFlow):
    """Look, then tell."""

    @step
    def start(self):
        self.ticks = self.observe()
        self.next(self.end)

    @step
    def end(self):
        self.publish(self.ticks)


if __name__ == "__main__":
    SensorFlow()
