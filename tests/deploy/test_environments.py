"""Packages of steps that run elsewhere, as a deployment takes them along. `make environments`."""

import io
import re
import shutil
import sys
import tarfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

import pytest

from flowproject.packages import requirements
from tests.conftest import ROOT
from tests.deploy.cluster import Cluster
from tests.deploy.conftest import Repository
from tests.isolation import PROXIES

pytestmark = [pytest.mark.environment, pytest.mark.timeout(900)]


def _is_outerbounds() -> bool:
    try:
        return bool(distribution("outerbounds"))
    except PackageNotFoundError:
        return False


@pytest.mark.skipif(_is_outerbounds(), reason="Outerbounds' datastore needs its service")
def test_with_an_environment_every_step_brings_what_the_sources_need(
    new_repository: Callable[..., Repository], cluster: Cluster, moto: Any, tmp_path: Path
) -> None:
    """A second deployment resolves the same environment, and so changes nothing."""
    program = tmp_path / "micromamba"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/micromamba.py "$@"\n')
    program.chmod(0o755)
    repository = new_repository()
    config = repository.root / "flowproject.toml"
    shutil.copy(ROOT / "flowproject.toml", config)
    (tmp_path / "environments").mkdir()
    stand_in = {
        "METAFLOW_PATH_TO_MICROMAMBA": str(program),
        "STAND_IN_FOLDER": str(tmp_path / "environments"),
        **PROXIES,
    }
    deployed = repository.flowproject("deploy", seconds=800, **stand_in)
    assert deployed.code == 0, deployed.out + deployed.err
    needed = {f"{name}-{version(name)}-" for name in requirements(["duckdb"])}
    for template in cluster.objects("workflowtemplates").values():
        steps = [one for one in template["spec"]["templates"] if one["name"] in {"start", "end"}]
        assert len(steps) == 2
        for step in steps:
            command = step["container"]["command"][-1]
            assert "-m metaflow.plugins.pypi.bootstrap" in command
            wheels = manifest(command, moto)
            assert not {name for name in needed if name not in wheels}
    again = repository.flowproject("deploy", seconds=800, **stand_in)
    assert {row[0] for row in again.rows.values()} == {"unchanged"}, again.out


def manifest(command: str, moto: Any) -> str:
    """What environments the code package of a step lists."""
    bucket, key = re.findall(r'download_file\(\\?"(\S+?)\\?", \\?"(\S+?)\\?"', command)[0]
    body = moto.client().get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as package:
        [name] = [name for name in package.getnames() if name.endswith("conda.manifest")]
        listed = package.extractfile(name)
        assert listed
        return listed.read().decode()
