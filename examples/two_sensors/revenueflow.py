"""Join orders and prices when both have new rows: with one alone there is nothing to say yet."""

from metaflow import step

from flowproject import BaseFlow, on_change


@on_change("orders", "prices")
class RevenueFlow(BaseFlow):
    @step
    def start(self):
        self.new_orders = self.changes["orders"].counts["added"] if self.changes else 0
        self.new_prices = self.changes["prices"].counts["added"] if self.changes else 0
        self.revenue = self.query("revenue")
        self.next(self.end)

    @step
    def end(self):
        print(self.revenue)


if __name__ == "__main__":
    RevenueFlow()
