"""Look at the sensors on schedule, and tell the flows that listen."""

from metaflow import card, config_expr, schedule, step

from flowproject import BaseFlow


@schedule(cron=config_expr("flowconfig.sensor.cron_schedule"))
class SensorFlow(BaseFlow):
    @card(type="blank")
    @step
    def start(self):
        self.ticks = self.observe()
        self.next(self.end)

    @step
    def end(self):
        self.publish(self.ticks)


if __name__ == "__main__":
    SensorFlow()
