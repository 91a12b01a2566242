"""The description of a flow as data."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from flowproject.flowfiles import (
    Cron,
    Dependency,
    FlowFile,
    FlowParameter,
)

crons = st.none() | st.builds(Cron, expression=st.text(), timezone=st.text())
flows = st.builds(
    FlowFile,
    name=st.text(),
    path=st.text("abc", min_size=1).map(Path),
    schedule=crons,
    reset=crons,
    dependencies=st.lists(st.builds(Dependency)).map(tuple),
    parameters=st.lists(st.builds(FlowParameter)).map(tuple),
)


@given(flows)
def test_a_description_survives_its_json(flow: FlowFile):
    assert FlowFile.from_json(json.loads(json.dumps(flow.to_json()))) == flow


def test_the_full_name_has_project_and_branch_in_front():
    flow = FlowFile(name="F", path=Path("f"), project="p", branch="user.me")
    assert flow.full_name == "p.user.me.F"
    assert FlowFile(name="F", path=Path("f")).full_name == "F"
