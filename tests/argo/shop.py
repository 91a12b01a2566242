"""A second project: three sensors on S3, a listener of one of them and a listener of two.

It is deployed by the command, and its Workflows come from real Sensors. Its looks happen in the
tests' own process, and so do its runs as far as their first step goes: they take their changes, or
do nothing. That is what is asked here, and costs no pods.
"""

import datetime as dt
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Self

import pytest

from flowproject import sensing
from flowproject.changes.payload import decode
from flowproject.config.parse import load
from flowproject.errors import TickError
from flowproject.journal import open_store
from flowproject.sensing import ProjectContext
from flowproject.starting.claiming import claim
from flowproject.starting.run_start import RunStart
from tests.argo.cluster import ArgoCluster, until
from tests.deploy.conftest import Argo, Ran, Repository
from tests.servers import Moto

__all__ = ["ONE", "SENSORS", "TWO", "Run", "Shop"]

_PATIENCE: Final = 240.0
"""Seconds: a Sensor that was killed has its events again after 30."""

SENSORS: Final = ("prices", "orders", "stock")
ONE: Final = "PricesFlow"
TWO: Final = "PairFlow"
_CONFIG: Final = """project_name = "{project}"

[sensor]
cron_schedule = "0 * * * *"
"""
_SENSOR: Final = """
[sensors.{name}]
payload_key = "{name}"

[sensors.{name}.data]
type = "s3"
bucket = "{bucket}"
key = "{name}"
endpoint_url = "{endpoint_url}"
"""
_DEPLOY: Final = """
[deploy]
image_has_packages = true
with = ["kubernetes:image={image}"]
"""
_FLOW: Final = """from metaflow import Parameter, step

from flowproject import BaseFlow, on_change


@on_change({sensors})
class {name}(BaseFlow):
    prices = Parameter("prices", default=0)

    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass


if __name__ == "__main__":
    {name}()
"""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a Workflow's first step found out."""

    workflow: str
    flow: str
    told: Mapping[str, int]
    """Sensor → the number of its change."""

    takes: Mapping[str, tuple[int, ...]]
    """Sensor → the changes that it has, and no other run; none if it does nothing."""

    parameters: Mapping[str, str]

    @property
    def newest(self) -> dict[str, int]:
        """Sensor → the newest of the changes that it has."""
        return {sensor: max(numbers) for sensor, numbers in sorted(self.takes.items())}


class Shop:
    """The project, deployed; what arrives, what is seen of it, and what runs."""

    def __init__(
        self, cluster: ArgoCluster, repository: Repository, moto: Moto, project: str
    ) -> None:
        self.cluster = cluster
        self.repository = repository
        self.runs: list[Run] = []
        self.branch = "prod"
        self._moto = moto
        self._bucket = moto.bucket()
        self._numbers = count(1)
        self._ahead = dt.timedelta()
        self._seen: set[str] = set()
        sensors = [
            _SENSOR.format(name=name, bucket=self._bucket, endpoint_url=moto.endpoint_url)
            for name in SENSORS
        ]
        config = "".join(
            [_CONFIG.format(project=project), *sensors, _DEPLOY.format(image=Argo.image)]
        )
        (repository.root / "flowproject.toml").write_text(config)
        self.listen(ONE, "prices")
        self.listen(TWO, "prices", "orders")
        repository.commit("a shop")

    @classmethod
    @contextmanager
    def opened(
        cls, cluster: ArgoCluster, repository: Repository, moto: Moto, project: str = "shop"
    ) -> "Iterator[Self]":
        """A shop whose looks in this process tell the cluster's webhook, and find S3."""
        with pytest.MonkeyPatch.context() as patch:
            repository.enter(patch)
            yield cls(cluster, repository, moto, project)

    def listen(self, flow: str, *sensors: str) -> None:
        """Write the flow file of a listener."""
        text = _FLOW.format(name=flow, sensors=", ".join(f'"{one}"' for one in sensors))
        (self.repository.root / f"{flow.lower()}.py").write_text(text)

    def switch(self, git_branch: str) -> None:
        """Go on on another git branch, which is made if it is not there."""
        self.repository.git("switch", "--quiet", "--force-create", git_branch)
        self.branch = self.repository.target(git_branch).metaflow_name

    def deploy(self) -> Ran:
        """Deploy what is there, and wait until the Sensors listen."""
        self.repository.commit("what is there")
        deployed = self.repository.flowproject("deploy")
        assert deployed.code == 0, deployed.out + deployed.err
        until(self.is_listening)
        return deployed

    def tear_down(self) -> None:
        """Remove the branch, and its journals; what starts nothing any more has ended."""
        done = self.repository.flowproject("teardown", "--yes", "--purge")
        assert done.code == 0, done.err
        until(lambda: len(self.cluster.processes()) == 1 + len(self.cluster.objects("sensors")))

    def is_listening(self) -> bool:
        """Whether every Sensor on the cluster has subscribed."""
        return all(self.cluster.listening(name) for name in self.cluster.objects("sensors"))

    def arrive(self, sensor: str) -> None:
        """Put something new where the sensor looks."""
        self._moto.fill(self._bucket, {f"{sensor}/{next(self._numbers)}": b"something"})

    def wait(self, minutes: int) -> None:
        """Let time go by for the looks that follow."""
        self._ahead += dt.timedelta(minutes=minutes)

    def look(self) -> dict[str, str]:
        """Look with every sensor and publish; the outcomes. A failure is raised."""
        context = self._scene()
        ticks = sensing.publish(context, sensing.observe(context))
        sensing.raise_for_failures(ticks)
        return {tick.sensor: tick.outcome for tick in ticks}

    def has_told(self) -> bool:
        """Look; whether the bus has all that was recorded."""
        try:
            self.look()
        except TickError:
            return False
        return True

    def change(self, *sensors: str) -> None:
        """Let something arrive, one after the other, and see it each time."""
        for sensor in sensors:
            self.arrive(sensor)
            assert self.look()[sensor] == "changed"

    def look_in_parts(self) -> tuple[float, float]:
        """Look and publish; the seconds that each took."""
        context, begun = self._scene(), time.perf_counter()
        seen = sensing.observe(context)
        looked = time.perf_counter()
        sensing.raise_for_failures(sensing.publish(context, seen))
        return looked - begun, time.perf_counter() - looked

    def settle(self) -> list[Run]:
        """What ran since the last time; waits until Sensors have done with all events."""
        until(lambda: not self.cluster.pending(), seconds=_PATIENCE, instead=self.cluster.records)
        found = [*self._new_runs()]
        self.runs += found
        return found

    def recorded(self) -> dict[str, list[int]]:
        """Sensor → the numbers of the changes that its journal has, in order."""
        context = self._scene()
        found: dict[str, list[int]] = {}
        for sensor in SENSORS:
            journal = context.journal(sensor)
            entries = [journal.get(number) for number in range(1, journal.head().seq + 1)]
            found[sensor] = [one.seq for one in entries if one and one.is_published]
        return found

    def taken(self) -> dict[tuple[str, str], list[int]]:
        """Flow and sensor → the numbers of the changes that its runs took, in order."""
        found: dict[tuple[str, str], list[int]] = {}
        for run in self.runs:
            for sensor, numbers in run.takes.items():
                found.setdefault((run.flow, sensor), []).extend(numbers)
        return found

    def _new_runs(self) -> Iterator[Run]:
        workflows = self.cluster.workflows()
        new = [one for name, one in workflows.items() if name not in self._seen]
        self._seen |= workflows.keys()
        for one in sorted(new, key=lambda one: int(one["metadata"]["resourceVersion"])):
            yield self._run(one)

    def _run(self, workflow: Mapping[str, Any]) -> Run:
        name = workflow["metadata"]["name"]
        template = workflow["spec"]["workflowTemplateRef"]["name"]
        flow = {one.lower(): one for one in (ONE, TWO)}[template.rpartition(".")[2]]
        given = {
            one["name"]: one.get("value", "") for one in workflow["spec"]["arguments"]["parameters"]
        }
        events = [_event(text) for text in given.values()]
        changes: list[Any] = [decode(event["change"]) for event in events if "change" in event]
        this = RunStart(changes=changes, run=f"{flow}/{name}")
        taken = claim(this, flow=flow, store=self._scene().store)
        goes_on = () if taken.nothing_because else taken.changes
        others = {one.receipt.seq for one in taken.others}
        return Run(
            workflow=name,
            flow=flow,
            told={change["sensor"]: change["seq"] for change in changes},
            takes={one["sensor"]: _numbers(one) for one in goes_on if one["seq"] not in others},
            parameters=given,
        )

    def _scene(self) -> ProjectContext:
        return ProjectContext(
            project=load(self.repository.root),
            root=self.repository.root,
            store=open_store(self.repository.environment["METAFLOW_DATASTORE_SYSROOT_S3"]),
            branch=self.branch,
            run="SensorFlow/1",
            clock=lambda: dt.datetime.now(dt.UTC) + self._ahead,
        )


def _numbers(change: Mapping[str, Any]) -> tuple[int, ...]:
    """The changes that are taken as one, oldest first."""
    return tuple(range(change.get("first_seq", change["seq"]), change["seq"] + 1))


def _event(text: str) -> dict[str, Any]:
    """The payload that a parameter carries; empty if it carries something else."""
    try:
        payload = json.loads(text)
    except ValueError:
        return {}
    return payload if isinstance(payload, dict) else {}


@pytest.fixture(scope="module")
def shop(cluster: ArgoCluster, new_repository: Any, moto: Moto) -> Iterator[Shop]:
    """The project on an empty cluster, before its first deployment."""
    with Shop.opened(cluster, new_repository(flows=False), moto) as opened:
        yield opened
