"""A flow of two sensors starts when each of them has something for it."""


def test_it_has_the_changes_of_both(project_copy):
    project_copy.write("data/orders.csv", "order_id,sku,units\n1,lamp,2\n2,cup,5\n")
    project_copy.write("data/prices.csv", "sku,price\nlamp,30\ncup,4\n")
    orders = project_copy.change("orders", added=[{"order_id": 2, "sku": "cup", "units": 5}])
    prices = project_copy.change("prices", added=[{"sku": "cup", "price": 4}])
    run = project_copy.run("revenueflow.py", orders, prices)
    assert (run.data.new_orders, run.data.new_prices) == (1, 1)
    assert run.data.revenue == [{"sku": "cup", "revenue": 20}, {"sku": "lamp", "revenue": 60}]
