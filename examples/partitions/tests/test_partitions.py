"""Only partitions that changed are worked on."""


def test_each_partition_that_changed_has_a_task(project_copy):
    project_copy.write("events/day=2/a.txt", "2")
    project_copy.write("events/day=2/b.txt", "3")
    project_copy.write("events/day=3/a.txt", "4")
    added = ["day=2/a.txt", "day=2/b.txt", "day=3/a.txt"]
    run = project_copy.run("partitionflow.py", project_copy.change(added=added))
    assert run.data.totals == {"day=2": 5, "day=3": 4}
