"""A delivery counts when its marker is there, and not before."""


def test_a_delivery_is_read_when_its_marker_is_there(project_copy):
    assert project_copy.tick().outcome == "baseline"
    project_copy.write("incoming/2026-11-02/rows.csv", "sku,units\nlamp,2\ncup,9\n")
    assert project_copy.tick().outcome == "settling"
    project_copy.write("incoming/2026-11-02/_SUCCESS", "")
    run = project_copy.run("importflow.py", project_copy.tick())
    assert run.data.units == {"lamp": 2, "cup": 9}
