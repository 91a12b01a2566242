"""What is booked for orders that came, changed and went."""


def test_a_change_of_each_kind_is_booked(project_copy):
    bo = {"order_id": 2, "customer": "Bo", "amount": 12.5, "status": "open"}
    change = project_copy.change(
        added=[{"order_id": 3, "customer": "Cy", "amount": 7.0, "status": "open"}],
        modified=[(bo, {**bo, "amount": 15.0})],
        removed=[{"order_id": 1, "customer": "Ada", "amount": 30.0, "status": "paid"}],
    )
    run = project_copy.run("ordersflow.py", change)
    assert (run.data.booked, run.data.corrected, run.data.cancelled) == (7.0, 2.5, [1])
    assert "Cy" in run.card("start")
