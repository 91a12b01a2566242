"""Which files of a project are flow files, and which names of files no flow bears."""

from pathlib import Path

import pytest

from flowproject.errors import FlowError
from flowproject.flowfiles import describe_flows, find_flow_files


def test_flow_files_are_those_in_the_root_that_end_in_flow(tmp_path: Path):
    for name in ("bflow.py", "aflow.py", "flow.txt", "other.py", "sub/cflow.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [path.name for path in find_flow_files(tmp_path)] == ["aflow.py", "bflow.py"]


def test_the_projects_own_base_flow_is_none_of_them_unless_it_starts_itself(tmp_path: Path):
    (tmp_path / "aflow.py").touch()
    base = tmp_path / "baseflow.py"
    base.write_text("class BaseFlow(flowproject.BaseFlow):\n    pass\n")
    assert [path.name for path in find_flow_files(tmp_path)] == ["aflow.py"]
    base.write_text('if __name__ == "__main__":\n    DatabaseFlow()\n')
    assert [path.name for path in find_flow_files(tmp_path)] == ["aflow.py", "baseflow.py"]


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
