"""The description of a flow as data, and which files are flow files."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowproject.errors import FlowError
from flowproject.flowfiles import (
    Cron,
    Dependency,
    FlowFile,
    FlowParameter,
    describe_flows,
    find_flow_files,
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


def test_flow_files_are_those_in_the_root_that_end_in_flow(tmp_path: Path):
    for name in ("bflow.py", "aflow.py", "flow.txt", "other.py", "sub/cflow.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in find_flow_files(tmp_path)] == ["aflow.py", "bflow.py"]


@pytest.mark.parametrize("name", ["metaflow.py", "flowproject.py", "metaflow/__init__.py"])
def test_a_file_that_every_flow_would_import_for_its_package_is_named_with_what_to_do(
    tmp_path: Path, name: str
):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    (tmp_path / "aflow.py").write_text("from metaflow import FlowSpec")
    with pytest.raises(FlowError) as caught:
        describe_flows(tmp_path)
    told = str(caught.value)
    assert repr(name) in told
    first = Path(name).parts[0]
    assert f"`mv {first} my{first}`" in told


def test_a_file_that_hides_a_module_of_python_is_named_where_flows_fail_for_it(tmp_path: Path):
    (tmp_path / "aflow.py").write_text("from metaflow import step\n")
    (tmp_path / "json.py").write_text("from metaflow import step\n")
    with pytest.raises(FlowError) as caught:
        describe_flows(tmp_path)
    told = str(caught.value)
    assert "json.py: it has the name of the module 'json'" in told
    assert "`mv json.py myjson.py`" in told
