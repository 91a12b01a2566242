"""The model is kept for as long as the data look like those that it was trained on."""


def test_it_is_trained_anew_only_after_a_drift(project_copy):
    first = project_copy.run("retrainflow.py")
    assert first.data.trained
    project_copy.write("data/temperatures.csv", "day,celsius\n4,30.0\n5,31.0\n")
    second = project_copy.run("retrainflow.py", limit=100)
    assert (second.data.trained, second.data.model) == (False, first.data.model)
    assert second.data.drift > 2
