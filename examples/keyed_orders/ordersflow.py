"""Book what happened to orders: new ones, those that were edited, those that are gone."""

from metaflow import card, current, step

from flowproject import BaseFlow, on_change
from flowproject.cards import change_card


@on_change("orders", in_order=True)
class OrdersFlow(BaseFlow):
    @card(type="blank")
    @step
    def start(self):
        change = self.change
        self.booked = sum(order["amount"] for order in change.added) if change else 0.0
        self.corrected = sum(
            order["new"]["amount"] - order["old"]["amount"]
            for order in (change.modified if change else ())
        )
        self.cancelled = [order["order_id"] for order in change.removed] if change else []
        current.card.extend(change_card(change))
        self.next(self.end)

    @step
    def end(self):
        print(f"booked {self.booked}, corrected {self.corrected}, cancelled {self.cancelled}")


if __name__ == "__main__":
    OrdersFlow()
