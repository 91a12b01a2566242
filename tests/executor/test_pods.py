"""A machine that runs pods: what a pod has, and that it has nothing else."""

from pathlib import Path
from typing import Any

import pytest

from tests.executor.images import Images
from tests.executor.pods import Ended, Machine, NotStartedError, Pod


@pytest.fixture(params=[True, False], ids=["isolated", "mapped"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    images = Images(tmp_path / "images", {"bare": (), "full": ["boto3"]})
    made = Machine(
        tmp_path,
        images,
        environment={"OF_THE_CLOUD": "yes"},
        secrets={"token": {"TOKEN": "open"}},
        isolated=request.param,
    )
    if request.param and not made.isolates:
        pytest.skip("no mount namespaces here")
    return made


def run(machine: Machine, command: str, *, image: str = "bare", **more: Any) -> Ended:
    container = {"image": image, "command": ["bash", "-c", command], **more}
    return machine.run(Pod(name="p", namespace="flows", uid="u", container=container))


def test_a_pod_has_the_environment_of_its_template_and_of_nothing_else(machine: Machine) -> None:
    env = [
        {"name": "A", "value": "a"},
        {"name": "B", "value": "$(A) $$ $(C)", "valueFrom": None},
        {"name": "POD", "value": None, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "T", "valueFrom": {"secretKeyRef": {"name": "token", "key": "TOKEN"}}},
    ]
    ended = run(machine, "env", env=env, envFrom=[{"secretRef": {"name": "token"}}])
    told = dict(line.split("=", 1) for line in ended.log.splitlines())
    assert (told["A"], told["B"], told["POD"]) == ("a", "a $ $(C)", "p")
    assert (told["T"], told["TOKEN"], told["OF_THE_CLOUD"]) == ("open", "open", "yes")
    assert not told.keys() & {"PYTHONPATH", "METAFLOW_USER", "VIRTUAL_ENV", "AWS_ACCESS_KEY_ID"}


def test_two_pods_share_no_files(machine: Machine) -> None:
    command = "ls -A; echo x >> made; echo y >> /tmp/mf-input-paths; wc -l < /tmp/mf-input-paths"
    assert run(machine, command).log.split() == ["1"]
    assert run(machine, command).log.split() == ["1"]
    assert not Path("/tmp/mf-input-paths").exists()  # noqa: S108


def test_what_python_writes_below_mnt_out_is_the_pods_output(machine: Machine) -> None:
    ended = run(machine, "python -c \"open('/mnt/out/task_id', 'w').write('t-1\\n')\"")
    assert ended.code == 0, ended.log
    assert ended.output("/mnt/out/task_id") == "t-1"
    assert ended.output("/mnt/out/splits") is None
    assert not Path("/mnt/out").exists()


def test_an_interpreter_has_what_its_image_has_and_what_it_installs(machine: Machine) -> None:
    boto3 = "python -c 'import boto3'"
    assert "No module named 'boto3'" in run(machine, boto3).log
    assert run(machine, boto3, image="full").code == 0
    assert run(machine, f"python -m pip install -qqq --no-compile boto3 && {boto3}").code == 0
    missing = run(machine, "python -m pip install no-such-distribution")
    assert (missing.code, missing.log) == (
        1,
        "ERROR: No matching distribution found for no-such-distribution",
    )
    for name in ("flowproject", "metaflow", "pytest"):
        assert f"No module named '{name}'" in run(machine, f"python -c 'import {name}'").log


def test_a_pod_that_takes_too_long_is_ended(machine: Machine) -> None:
    container = {"image": "bare", "command": ["sleep", "60"]}
    ended = machine.run(Pod(name="p", namespace="f", uid="u", container=container, seconds=0.2))
    assert ended.overdue


def test_a_pod_that_kills_itself_has_the_code_of_its_signal(machine: Machine) -> None:
    assert run(machine, "kill -9 0").code == 137


def test_an_argument_that_the_system_does_not_take_fails_the_pod(machine: Machine) -> None:
    ended = run(machine, "true", env=[{"name": "A", "value": "a" * 131_072}])
    assert (ended.code, ended.log) == (64, "fork/exec bash: Argument list too long")
    assert run(machine, "true", env=[{"name": "A", "value": "a" * 131_069}]).code == 0


@pytest.mark.parametrize("what", ["image", "secret"])
def test_what_is_not_there_keeps_a_pod_from_starting(machine: Machine, what: str) -> None:
    more = {"envFrom": [{"secretRef": {"name": "gone"}}]} if what == "secret" else {}
    with pytest.raises(NotStartedError, match="gone"):
        run(machine, "true", image="bare" if what == "secret" else "gone", **more)
