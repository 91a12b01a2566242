"""Deploys a project in order: compile, check, plan, apply, record who listens."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path

from flowproject.config import Deploy, Project
from flowproject.contract import check_contract, check_schedules
from flowproject.deploy.apply import (
    AwaitedSensor,
    DryRun,
    Outcome,
    apply_plan,
    await_sensors,
    dry_run,
)
from flowproject.deploy.argo import Argo
from flowproject.deploy.branches import Target, objects_of_branch
from flowproject.deploy.build_inputs import BuildInputs, unchanged_flow
from flowproject.deploy.compilation import child_options, compile_flows
from flowproject.deploy.compiled_flow import CompiledFlow, is_moving_tag
from flowproject.deploy.objects import CRON, SENSOR, DeployedObject
from flowproject.deploy.plan import Action, DeploymentPlan, make_plan, objects_to_read
from flowproject.deploy.preflight import check_packages
from flowproject.deploy.report import Report, of_dry_run, of_outcomes, of_plan, of_refusals
from flowproject.deploy.revision import Revision, check_not_behind, tags_of
from flowproject.errors import DeployError, FlowprojectError
from flowproject.flowfiles import find_flow_files
from flowproject.journal import datastore_root, open_store
from flowproject.listeners import record_listeners
from flowproject.sensing import ProjectContext, orphans, waiting_in_order

__all__ = ["Deployment"]

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A project's flows at a revision, for a branch of a cluster."""

    root: Path
    project: Project
    settings: Deploy
    target: Target
    revision: Revision
    argo: Argo
    tags: tuple[str, ...] = ()
    """More tags than those that say where the flows come from."""

    @cached_property
    def there(self) -> list[DeployedObject]:
        """Every object of Argo on the cluster, as it is when this is first asked for.

        Raises:
            DeployError: if the cluster can't be asked.
            JournalError: if the datastore can't be asked whether it has the code packages.
        """
        found = self.argo.find()
        ours = objects_of_branch(
            found, project=self.project.project_name, branch=self.target.metaflow_name
        )
        # A bucket may expire old packages: a flow that is called unchanged could not run.
        gone = _without_package(ours)
        return [replace(one, package_is_gone=one in gone) for one in found]

    def plan(self, *, tell: Tell, everything: bool = False) -> DeploymentPlan:
        """Compile all flows, and plan what to do for each; if one can't be deployed, only say why.

        `tell` hears of every file that is compiled. Nothing is written to the cluster.

        Raises:
            DeployError: if the cluster can't be asked, or names clash.
            JournalError: if the datastore does not answer.
        """
        tags = (*tags_of(self.revision), *self.tags)
        inputs = self._inputs(tags)
        with ThreadPoolExecutor(max_workers=1) as pool:
            # A cluster of thousands of templates takes a second to list them.
            listing = pool.submit(lambda: self.there)
            inputs.look()
            kept = {} if everything else self._kept(inputs, tags)
            # If nothing is to be compiled, nothing is uploaded.
            if kept.keys() != {*find_flow_files(self.root)}:
                _reach_datastore()
            results = compile_flows(
                self.root, self.target, self.settings, tags, tell, inputs=inputs, kept=kept
            )
        # Before all else: on a cluster that does not answer, no flow compiles.
        listing.result()
        compiled = [one for one in results if isinstance(one, CompiledFlow)]
        # What flows expect of each other is known only when all of them are.
        broken = self._broken(compiled) if len(compiled) == len(results) else []
        plan = DeploymentPlan(results=tuple(results), broken=tuple(broken))
        if plan.is_refused:
            return plan
        marked = [one.annotated(self._annotations()) for one in self._as_kept(compiled)]
        return replace(plan, actions=tuple(self._actions(marked, everything=everything)))

    def check_not_behind(self, plan: DeploymentPlan) -> str:
        """A sentence if it is not known whether the plan would take the branch back.

        Raises:
            UsageError: if they would.
        """
        if not plan.does_something:
            return ""
        mine = objects_of_branch(
            self.there,
            project=self.project.project_name,
            branch=self.target.metaflow_name,
        )
        commits = [one.annotations.get("flowproject/git_commit", "") for one in mine]
        return check_not_behind(self.root, self.revision, [*filter(None, dict.fromkeys(commits))])

    def apply(self, plan: DeploymentPlan, tell: Tell, listening: Tell = lambda _: None) -> Report:
        """Apply the plan, and record who listens in the journals: what became of each flow.

        Nothing is written of a plan that is refused, or if the cluster would not take all of it. A
        journal that can't be written, and a sensor that is not taken up, is a note and an exit
        code: the flows are live all the same. `listening` hears of each flow whose new sensor is
        taken up.

        Raises:
            DeployError: if the cluster can't be asked.
        """
        if plan.is_refused:
            return self._refusals(plan)
        actions = plan.actions
        answer = self._dry_run(actions)
        if refused := {**answer.forbidden, **answer.refused}:
            return of_dry_run(self.project.project_name, self.target, actions, refused)
        outcomes = apply_plan(
            self.argo,
            actions,
            max_parallel=self.settings.max_parallel,
            done=tell,
        )
        report = of_outcomes(self.project.project_name, self.target, outcomes)
        report = replace(report, notes=(*report.notes, *self._abandoned(actions)))
        if report.exit_code:
            return report
        try:
            self._record(outcomes)
        except FlowprojectError as error:
            told = f"Who listens could not be recorded. {error} Deploy again when that is mended."
            report = replace(report, notes=(told, *report.notes), exit_code=error.exit_code)
        return self._until_listening(report, outcomes, listening)

    def _until_listening(
        self, report: Report, outcomes: Sequence[Outcome], listening: Tell
    ) -> Report:
        awaited = [
            AwaitedSensor(
                flow=one.action.flow,
                sensor=each,
                written=SENSOR in one.replaced,
                before=one.replaced.get(SENSOR, {}).get("status", {}).get("conditions", []),
            )
            for one in outcomes
            for each in (one.action.compiled.objects if one.action.compiled else ())
            if each.kind == SENSOR
        ]
        try:
            refused, unknown = await_sensors(self.argo, awaited, listening)
        except DeployError as error:
            refused, unknown = [], [f"Whether flows are listening could not be asked. {error}"]
        code = report.exit_code or (DeployError.exit_code if refused else 0)
        return replace(report, notes=(*refused, *unknown, *report.notes), exit_code=code)

    def report(self, plan: DeploymentPlan) -> Report:
        """Report what would be done, or why nothing would.

        Raises:
            DeployError: if the cluster can't be asked.
        """
        if plan.is_refused:
            return self._refusals(plan)
        actions, project = plan.actions, self.project.project_name
        answer = self._dry_run(actions)
        if answer.refused:
            return of_dry_run(project, self.target, actions, answer.refused)
        planned = of_plan(project, self.target, actions)
        notes = []
        if forbidden := answer.forbidden:
            # What a user may not do is the same for every flow: one reason says it.
            reason = next(iter(forbidden.values()))
            flows = ", ".join(one.flow for one in actions if one.flow in forbidden)
            notes = [f"Whether the cluster takes {flows} can't be asked. {reason}"]
        return replace(planned, notes=(*planned.notes, *notes, *self._abandoned(actions)))

    def _refusals(self, plan: DeploymentPlan) -> Report:
        project, with_ = self.project.project_name, self.settings.with_
        return of_refusals(project, self.target, plan, with_=with_)

    def _abandoned(self, actions: Sequence[Action]) -> list[str]:
        """What no sensor of the branch will deliver any more, and what waits for its turn."""
        # The datastore that the flows were compiled for, which need not be the one that is
        # configured here.
        flows = [one.compiled.flow for one in actions if one.compiled]
        ours = next((flow for flow in flows if flow.inherits_ours and flow.branch), None)
        if ours is None:
            return []
        try:
            context = ProjectContext.open(
                self.root, project=self.project, branch=ours.branch, datastore=ours.datastore
            )
            return [*(one.in_words for one in orphans(context)), *waiting_in_order(context)]
        except FlowprojectError:
            return []  # Who may deploy need not be one who may read the data.

    def _inputs(self, tags: Sequence[str]) -> BuildInputs:
        settings = self.settings
        named = (settings.notify_slack, settings.notify_pager_duty, settings.notify_incident_io)
        # With the commit and the run every push would compile every flow.
        still = [tag for tag in tags if not is_moving_tag(tag)]
        return BuildInputs(
            self.root,
            options=child_options(self.target, settings, still),
            variables={*named},
            exclude=settings.exclude,
        )

    def _kept(self, inputs: BuildInputs, tags: tuple[str, ...]) -> dict[Path, CompiledFlow]:
        """The flows that are on the cluster as compiling them would make them."""
        ours = objects_of_branch(
            self.there,
            project=self.project.project_name,
            branch=self.target.metaflow_name,
        )
        files = find_flow_files(self.root)
        known = {path: flow for path in files if (flow := unchanged_flow(path, inputs, ours, tags))}
        # Asking is a request: only for who has a schedule.
        scheduled = any(flow.schedule_field for flow in known.values())
        field = self.argo.schedule_field() if scheduled else None
        # Elsewhere than the cluster keeps it now, a schedule is written anew.
        return {
            path: flow
            for path, flow in known.items()
            if not field or flow.schedule_field in {"", field}
        }

    def _as_kept(self, compiled: Sequence[CompiledFlow]) -> Sequence[CompiledFlow]:
        """The flows with their schedules as the cluster keeps them, whatever Metaflow was told."""
        if not any(each.kind == CRON for one in compiled for each in one.objects):
            return compiled
        field = self.argo.schedule_field()
        if not field:
            return compiled
        return [one if one.known else one.with_times_in(field) for one in compiled]

    def _dry_run(self, actions: Sequence[Action]) -> DryRun:
        return dry_run(self.argo, actions, max_parallel=self.settings.max_parallel)

    def _actions(self, compiled: Sequence[CompiledFlow], *, everything: bool) -> list[Action]:
        found = self.there
        read = {
            (one.kind, one.name): self.argo.read(one.kind, one.name, one.namespace)
            for one in objects_to_read(compiled, found)
        }
        return make_plan(
            compiled,
            found,
            {key: body for key, body in read.items() if body},
            project=self.project.project_name,
            branch=self.target.metaflow_name,
            git_branch="" if self.target.production else self.target.git_branch,
            now=datetime.now(UTC).isoformat(),
            everything=everything,
        )

    def _broken(self, compiled: Sequence[CompiledFlow]) -> list[str]:
        """What is wrong between flows, or between a flow and where it is to go."""
        name, branch = self.project.project_name, self.target.metaflow_name
        strangers = [
            f"{one.flow.name} belongs to {one.flow.project}/{one.flow.branch}, not to "
            f"{name}/{branch}, by its own @project: inherit BaseFlow instead"
            for one in compiled
            if (one.flow.project, one.flow.branch) != (name, branch)
        ]
        flows = [one.flow for one in compiled]
        findings = check_contract(self.project, flows)
        findings += check_schedules(flows, datetime.now(UTC))
        findings += check_packages(self.project, self.settings, flows)
        return strangers + [one.message for one in findings if one.state == "error"]

    def _annotations(self) -> dict[str, str]:
        return {
            "flowproject/git_branch": self.target.git_branch,
            "flowproject/git_commit": self.revision.commit,
        }

    def _record(self, outcomes: Sequence[Outcome]) -> None:
        flows = [one.action.compiled.flow for one in outcomes if one.action.compiled]
        forgotten = {
            one.action.flow: moment for one in outcomes if (moment := _moment(one.action.forgot_at))
        }
        record_listeners(self.root, flows, by="flowproject deploy", forgotten=forgotten)


def _moment(text: str) -> datetime | None:
    """The time that a sensor notes; none if somebody wrote something else there."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _without_package(templates: Sequence[DeployedObject]) -> list[DeployedObject]:
    """The templates whose pods would not find their code: a bucket may expire what is old."""
    if not any(one.package for one in templates):
        return []
    root = datastore_root().rstrip("/") + "/"
    # Of a package that lies in another datastore, nothing can be said from here.
    noted = [one for one in templates if one.package.startswith(root)]
    store = open_store(root)
    there = store.concurrently(
        [partial(store.exists, one.package.removeprefix(root)) for one in noted]
    )
    return [one for one, known in zip(noted, there, strict=True) if not known]


def _reach_datastore() -> None:
    """Ask the datastore for anything: while one is away, compilations are silent for minutes."""
    open_store(datastore_root()).exists("flowproject/anything")
