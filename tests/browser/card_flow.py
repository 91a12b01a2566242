"""A flow with one card for each story in `stories.json`; `end` writes the pages to `CARDS`."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

from metaflow import FlowSpec, Task, card, current, step
from metaflow.cards import Markdown, get_cards

from flowproject.cards import change_card, line_chart, sensor_card

STORIES = json.loads((Path(__file__).parent / "stories.json").read_text("utf-8"))


class CardFlow(FlowSpec):
    """Draws cards the way a user's flow does: components appended to `current.card`."""

    @card(type="blank", id="changed")
    @card(type="blank", id="hostile")
    @card(type="blank", id="starter")
    @card(type="blank", id="by_hand")
    @card(type="blank", id="unguarded")
    @step
    def start(self) -> None:
        """Append each story to its card."""
        current.card["changed"].extend(sensor_card(STORIES["changed"]))
        current.card["hostile"].extend(sensor_card(STORIES["hostile"]))
        current.card["hostile"].extend(
            change_card(SimpleNamespace(columns={}, **STORIES["hostile_start"]))
        )
        current.card["starter"].extend(
            change_card(SimpleNamespace(columns={}, **STORIES["started"]))
        )
        current.card["by_hand"].extend(change_card(None))
        points, evil = STORIES["points"], STORIES["evil"]
        chart = line_chart(points, x="day", y="t", series="line", title=evil, y_title=evil)
        current.card["starter"].append(chart)
        current.card["unguarded"].append(Markdown(evil))
        self.source = current.pathspec
        self.next(self.end)

    @step
    def end(self) -> None:
        """Write the pages, as a person would by `card get`."""
        for page in get_cards(Task(self.source)):
            Path(os.environ["CARDS"], f"{page.id}.html").write_text(page.get(), "utf-8")


if __name__ == "__main__":
    CardFlow()
