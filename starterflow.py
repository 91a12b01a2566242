"""Forecast the daily temperature when new days arrive, and say how wrong the forecast was."""

from metaflow import Parameter, card, current, step
from metaflow.cards import Markdown

from baseflow import BaseFlow
from flowproject import on_change
from flowproject.cards import change_card, line_chart
from forecast import chart_points, in_words, mean_error, predict, split


@on_change("weather")  # this sensor's event starts this flow
class StarterFlow(BaseFlow):
    """Judge a seasonal forecast on the days that just arrived (started by hand: the last month)."""

    since = Parameter("since", default="2012-01-01", help="Learn from this day on")

    @card(type="blank")
    @step
    def start(self) -> None:
        """Learn from the days before the new ones, then hold the forecast against them."""
        self.arrived = [str(day["date"]) for day in self.change.added] if self.change else []
        known, judged = split(self.query("forecast", since=self.since), self.arrived)
        self.days = predict(known, judged)
        self.error = mean_error(self.days, "forecast")
        self.usual_error = mean_error(self.days, "usual")
        current.card.extend(change_card(self.change))
        current.card.append(Markdown(in_words(self.days, self.arrived)))
        current.card.append(
            line_chart(chart_points(self.days), x="date", y="temperature (°C)", series="line")
        )
        self.next(self.end)

    @step
    def end(self) -> None:
        """Tell what started the run and how good the forecast was."""
        print(self.change or "Started by hand")
        print(in_words(self.days, self.arrived))


if __name__ == "__main__":
    StarterFlow()
