"""Look at every source of `flowproject.toml`, and publish an event for each change."""

from metaflow import Parameter, card, config_expr, schedule, step

from baseflow import BaseFlow


@schedule(
    cron=config_expr("flowconfig.sensor.cron_schedule"),
    timezone=config_expr("flowconfig.sensor.timezone"),
)
class SensorFlow(BaseFlow):
    """Observe, compare with the journal, record what changed, publish it."""

    force = Parameter("force-trigger", default=False, help="Publish even if nothing changed")

    @card(type="blank")
    @step
    def start(self) -> None:
        """Look: each tick says what it saw, what it decided, and why."""
        self.ticks = self.observe(force=self.force)
        self.next(self.end)

    @step
    def end(self) -> None:
        """Tell: each recorded change, until the event bus has it."""
        self.publish(self.ticks)


if __name__ == "__main__":
    SensorFlow()
