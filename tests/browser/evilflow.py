"""A flow whose log and cards carry what the sensor saw: text that wants to run in a browser."""

from metaflow import card, current, step
from metaflow.cards import Markdown

from flowproject import BaseFlow, on_change
from flowproject.cards import change_card


@on_change("rows")
class EvilFlow(BaseFlow):
    """Repeats the texts of strangers wherever a flow can say something."""

    @card(type="blank", id="attack")
    @card(type="blank", id="story")
    @step
    def start(self) -> None:
        """Print every item, and draw it."""
        added = list(self.change.added) if self.change else []
        for item in added:
            print(item["name"])
            print(item["text"])
        current.card["story"].extend(change_card(self.change))
        current.card["attack"].append(Markdown("Its page is put there by the test"))
        self.next(self.end)

    @step
    def end(self) -> None:
        """Fail, and say so with the same text."""
        raise ValueError("<img src=x onerror=window.owned=1>")


if __name__ == "__main__":
    EvilFlow()
