"""Make cards: pure functions that turn plain JSON into Metaflow's own card components.

No clocks, no files, no requests: a card is drawn from the ticks or the change that it is given.
Text that comes from data is only ever put where a browser shows it as it is (see `layout`).
"""

from flowproject.cards.change import change_card, idle_card
from flowproject.cards.chart import line_chart
from flowproject.cards.sensor import sensor_card

__all__ = ["change_card", "idle_card", "line_chart", "sensor_card"]
