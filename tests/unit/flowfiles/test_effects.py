"""Only a flow that does nothing but look and tell may be stood in for."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from flowproject.flowfiles.effects import files_of_pure_looks
from flowproject.metaflow_internals import flows
from tests.conftest import ROOT

SENSORFLOW = (ROOT / "sensorflow.py").read_text()
DEFAULTS = {"force-trigger": "false"}


def files(folder: Path, text: str, parameters: dict[str, str] | None = None) -> tuple[str, ...]:
    path = folder / "lookflow.py"
    path.write_text(text)
    specification = importlib.util.spec_from_file_location("lookflow", path)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    kind: Any = flows.class_under_mutators(module.SensorFlow)
    return files_of_pure_looks(kind(use_cli=False), parameters or DEFAULTS)


def test_the_sensor_flow_of_every_project_only_looks(tmp_path: Path):
    expected = sorted([str(ROOT / "baseflow.py"), str(tmp_path / "lookflow.py")])
    assert [*files(tmp_path, SENSORFLOW)] == expected


def test_so_does_one_with_sensors_of_its_own_another_name_and_no_card(tmp_path: Path):
    text = SENSORFLOW.replace('    @card(type="blank")\n', "")
    text = text.replace("    force =", '    sensors = ("orders",)\n    force =')
    text = text.replace("self.ticks", "self.seen")
    assert files(tmp_path, text)


@pytest.mark.parametrize(
    "old, new",
    [
        ("        self.next(self.end)", "        print(self.ticks)\n        self.next(self.end)"),
        ("        self.publish(self.ticks)", "        self.publish(self.ticks)\n        open('x')"),
        ("        self.publish(self.ticks)", "        self.publish(list(self.ticks))"),
        ("self.observe(force=self.force)", "self.observe(force=True)"),
        ("self.observe(force=self.force)", "self.observe(force=self.ticks)"),
        ("self.observe(force=self.force)", "sorted(self.observe())"),
        ("    @card", "    @environment(vars={'A': '1'})\n    @card"),
        ("    @card", "    @secrets(sources=[])\n    @card"),
        ("    force =", "    sensors = property(lambda self: ())\n    force ="),
        ("    force =", "    def observe(self, force=False):\n        return []\n\n    force ="),
        ("    force =", "    flowconfig = Config('flowconfig', default_value='{}')\n\n    force ="),
        (
            "    force =",
            "    def __init__(self, **o):\n        super().__init__(**o)\n\n    force =",
        ),
        ("@schedule(", "@exit_hook(on_success=[])\n@schedule("),
        ("if __name__", "print('imported')\n\n\nif __name__"),
        ("if __name__", "HERE = open\nTHERE = str(1)\n\n\nif __name__"),
    ],
    ids=str,
)
def test_a_flow_that_may_do_more_is_run(tmp_path: Path, old: str, new: str):
    assert old in SENSORFLOW
    text = SENSORFLOW.replace(old, new, 1).replace(
        "from metaflow import Parameter", "from metaflow import *\nfrom metaflow import Parameter"
    )
    assert files(tmp_path, text) == ()


def test_a_parameter_that_forces_by_default_is_not_passed_over(tmp_path: Path):
    assert files(tmp_path, SENSORFLOW, {"force-trigger": "true"}) == ()
    assert files(tmp_path, SENSORFLOW, {"other": "false"}) == ()
