"""Runs `flowproject check`: finds everything that can be known to be wrong before anything runs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer

from flowproject.changes.observation import Observation, Report
from flowproject.cli.context import find_root, open_context, place_of
from flowproject.cli.output import AsJson, print_json, print_table, working
from flowproject.config import FILE, Project, Sensor
from flowproject.config.parse import load
from flowproject.contract import Finding, check_contract, check_schedules
from flowproject.deploy.preflight import check_deployment, check_local_data, check_packages
from flowproject.errors import FlowError, FlowprojectError
from flowproject.flowfiles import describe_flows, find_flow_files, who_looks
from flowproject.journal import prove_atomic
from flowproject.sensing import likely_orphans, orphans, waiting_in_order
from flowproject.sensing.look import look_again, observe_within
from flowproject.sources import open_source, speaks_sql

__all__ = ["check"]

# A look waits for a server and not for us: more than the cores of a laptop, fewer than what a
# warehouse or a bucket would notice.
_AT_ONCE: Final = 16


def check(
    connect: Annotated[bool, typer.Option("--connect", help="Also look at every source.")] = False,
    for_deploy: Annotated[
        bool, typer.Option("--deploy", help="Also what a deployment needs: cluster, datastore.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Check configuration, SQL and flow files.

    And the contract between them: every trigger has a sensor that sends its event, and every
    required parameter is in the payload.
    """
    # Nothing else can be checked of a file that is wrong: this one failure ends the command.
    root = find_root()
    project = load(root)
    findings = [Finding(subject=FILE, state="ok", message=f"project {project.project_name!r}")]
    with working(f"Checking {len(project.sensors)} sensor(s)") as report:
        findings += _check_sources(project, root, report if connect else None)
    with working("Reading the flow files"):
        findings += _check_flows(project, root)
    # Last of what is always checked: the datastore may be the slowest of all.
    findings += _check_journals(reaches_out=connect or for_deploy, proves=connect)
    if for_deploy:
        with working("Asking cluster and datastore"):
            findings += _check_deployment(project, root)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        rows = [[finding.state, finding.subject, finding.message] for finding in findings]
        print_table(["state", "what", "finding"], rows)
    return max(finding.exit_code for finding in findings)


def _check_sources(project: Project, root: Path, report: Report | None) -> list[Finding]:
    sensors = project.sensors.values()
    pool = ThreadPoolExecutor(max_workers=_AT_ONCE)
    try:
        return list(pool.map(lambda sensor: _check_source(sensor, root, report), sensors))
    finally:
        # Ctrl-C must not wait for the slowest source.
        pool.shutdown(wait=False, cancel_futures=True)


def _check_source(sensor: Sensor, root: Path, report: Report | None) -> Finding:
    kind = sensor.data.type

    def look() -> str:
        source = open_source(sensor.data, root)
        source.check()
        if report is None:
            # Only sources that answer queries have one.
            dialect = getattr(sensor.data, "dialect", "")
            translated = f", translated from {dialect}'s SQL" if dialect else ""
            return f"{kind}: well-formed{translated}; `--connect` also looks at it"
        seen = observe_within(source, sensor, report=report)
        answer = f"{kind}: {_answer(seen)}"
        # A query without an order may answer otherwise each time; a listing does not.
        if speaks_sql(sensor.data):
            answer += f", {look_again(source, sensor, seen, report)}"
        return answer

    return _tried(f"sensor {sensor.name}", look)


def _answer(seen: Observation) -> str:
    many = "one value" if seen.items is None else f"{len(seen.items):,} items"
    note = f", {seen.note}" if seen.note else ""
    return f"answered in {seen.cost.seconds:.3f} s, {many}{note}"


def _tried(subject: str, attempt: Callable[[], str]) -> Finding:
    try:
        return Finding(subject=subject, state="ok", message=attempt())
    except FlowprojectError as error:
        return _failed(subject, str(error), error)


def _check_flows(project: Project, root: Path) -> list[Finding]:
    files = ", ".join(file.name for file in find_flow_files(root))
    if not files:
        return [Finding(subject=str(root), state="note", message="there is no flow file, *flow.py")]
    try:
        flows = describe_flows(root)
    except FlowError as error:
        # Of flows that can't be read nobody knows what they wait for.
        unknown = Finding(
            subject=files,
            state="note",
            message="what flows and sensors expect of each other could not be checked",
        )
        return [*(_failed("flow file", line, error) for line in str(error).splitlines()), unknown]
    names = ", ".join(flow.name for flow in flows)
    nobody = who_looks(root)
    return [
        Finding(subject=files, state="ok", message=names),
        *([Finding(subject="sensors", state="note", message=nobody)] if nobody else []),
        *check_contract(project, flows),
        *check_schedules(flows, datetime.now(UTC)),
    ]


def _check_journals(*, reaches_out: bool, proves: bool) -> list[Finding]:
    """Journals that no sensor stands for, and changes that wait for their turn.

    In a datastore elsewhere only if it may be asked.

    And if it `proves`, whether the datastore is one that a journal can be kept in, and the end of
    each sensor's can be read, as a tick does first.
    """

    def prove() -> str:
        prove_atomic(context.store, f"flowproject/{context.project.project_name}/{context.branch}")
        return "the datastore creates an object once, as it must"

    def read(name: str) -> str:
        return f"number {context.journal(name).head().seq}"

    try:
        context = open_context()
        # A check without --connect takes no longer than reading files: a bucket may be far away.
        asks = "://" not in context.datastore or reaches_out
        found = [(one.name, one.in_words) for one in orphans(context)] if asks else []
        found += [(one.name, one.in_doubt) for one in likely_orphans(context)]
        queued = waiting_in_order(context) if asks else []
        sensors = list(context.project.sensors) if proves else []
    except FlowprojectError as error:
        return [Finding(subject="journals", state="note", message=str(error))]
    where = Finding(subject="journals", state="ok", message=place_of(context))
    ends = [_tried(f"journal {name}", partial(read, name)) for name in sensors]
    return [
        where,
        *([_tried("datastore", prove)] if proves else []),
        *(one for one in ends if one.state == "error"),
        *(Finding(subject=f"journal {name}", state="note", message=words) for name, words in found),
        *(Finding(subject="in order", state="note", message=words) for words in queued),
    ]


def _check_deployment(project: Project, root: Path) -> list[Finding]:
    try:
        flows = describe_flows(root)
    except FlowError:  # told already
        flows = ()
    findings = [*check_local_data(project, root), *check_packages(project, project.deploy, flows)]
    return findings + check_deployment()


def _failed(subject: str, message: str, error: FlowprojectError) -> Finding:
    return Finding(subject=subject, state="error", message=message, exit_code=error.exit_code)
