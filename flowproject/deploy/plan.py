"""Plans what a deploy does, flow by flow: from what was compiled and what is there. Pure.

A flow is unchanged if each of its objects is on the cluster with its fingerprint, and none besides.
What differs is told in words.
"""

# What an interrupted deploy or teardown left is put right by the next one. Of a flow that
# changed, the objects that did not are left alone: a sensor that is written anew may start its
# pod anew.
#
# Values are shown where they can't be secrets: images, resources, schedules. Of everything else,
# the environment of steps above all, only the name is told.

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any, Final, Literal

from flowproject.config import FILE
from flowproject.contract import foreign_events
from flowproject.deploy.compilation import CompilationFailure
from flowproject.deploy.compiled_flow import PACKAGE, CompiledFlow, essence_of
from flowproject.deploy.objects import (
    CRON,
    KINDS,
    SENSOR,
    TEMPLATE,
    ArgoObject,
    DeployedObject,
    Kind,
    waits_for,
    with_trigger_of,
)
from flowproject.errors import DeployError

__all__ = [
    "Action",
    "Bodies",
    "DeploymentPlan",
    "State",
    "differences",
    "make_plan",
    "objects_to_read",
]

State = Literal["new", "changed", "unchanged", "removed", "foreign"]
"""`foreign`: of this project and branch, not in the repository, and not deployed by flowproject."""

Bodies = Mapping[tuple[Kind, str], Mapping[str, Any]]
"""Kind and name → the whole object on the cluster."""

_FORGOT: Final = "flowproject/forgot_at"
_FOREIGN: Final = (
    "not in this repository, and deployed without flowproject: `flowproject teardown` removes it"
)


@dataclass(frozen=True, kw_only=True)
class Action:
    """What is to be done for one flow."""

    flow: str
    state: State
    why: tuple[str, ...] = ()
    compiled: CompiledFlow | None = None
    versions: Mapping[Kind, str] = field(default_factory=dict, repr=False)
    """Of the objects that are on the cluster under the names of the flow's."""

    to_write: tuple[ArgoObject, ...] = field(default=(), repr=False)
    """What of the flow is not on the cluster as it was compiled."""

    forgot_at: str = ""
    """When the bus last forgot what waited for the flow: now, if its sensor is made now or waits
    for something else; as it is noted on the sensor, if not. Empty: not known."""

    extra: tuple[DeployedObject, ...] = field(default=(), repr=False)
    """What is on the cluster for the flow and is to go."""

    @property
    def does_something(self) -> bool:
        """Whether the cluster is another after it."""
        return self.state not in {"unchanged", "foreign"}

    @property
    def path(self) -> Path | None:
        """The flow's file; none if the repository has it no longer."""
        return self.compiled.flow.path if self.compiled else None


@dataclass(frozen=True, kw_only=True)
class DeploymentPlan:
    """What is to be done for every flow; or nothing, and which flows can't be deployed."""

    actions: tuple[Action, ...] = ()
    results: tuple[CompiledFlow | CompilationFailure, ...] = field(default=(), repr=False)
    """What became of compiling each flow file."""

    broken: tuple[str, ...] = ()
    """What is wrong between flows that compile, or between one and where it is to go."""

    @property
    def is_refused(self) -> bool:
        """Whether nothing may be deployed."""
        return bool(self.broken or self.failures)

    @property
    def failures(self) -> list[CompilationFailure]:
        """The flow files that don't compile."""
        return [one for one in self.results if isinstance(one, CompilationFailure)]

    @property
    def does_something(self) -> bool:
        """Whether the cluster is another after it."""
        return any(one.does_something for one in self.actions)


def make_plan(
    compiled: Sequence[CompiledFlow],
    found: Sequence[DeployedObject],
    bodies: Bodies,
    *,
    project: str,
    branch: str,
    git_branch: str = "",
    now: str = "",
    everything: bool = False,
) -> list[Action]:
    """Plan what to do for each flow of the repository, then for those that are on the cluster only.

    With `everything` what is unchanged is deployed, too. `git_branch` is the only one that may be
    deployed as this branch; empty: any, as for production, which the configuration names. `now` is
    the moment of the deployment, which is noted on sensors that are made or wait for something
    else.

    Raises:
        DeployError: if two flows would have one name on the cluster, or another's flow has it, or
            another git branch has the deployment.
    """
    # Before anything is planned: of two flows with one name, one would overwrite the other.
    _refuse_clashes(compiled, found)
    ours = [one for one in found if (one.project, one.branch) == (project, branch)]
    _refuse_other_branches(ours, git_branch)
    actions = [
        _action(one, _belonging(one, found, ours), bodies, now, everything=everything)
        for one in compiled
    ]
    known = {one.flow.name for one in compiled}
    # In the order of the cluster, each once.
    gone = dict.fromkeys(one.flow for one in ours if one.flow and one.flow not in known)
    return actions + [_gone(flow, [one for one in ours if one.flow == flow]) for flow in gone]


def objects_to_read(
    compiled: Sequence[CompiledFlow], found: Sequence[DeployedObject]
) -> list[DeployedObject]:
    """List what to read whole, to tell what changed in the flows that did."""
    prints = {
        (one.kind, one.name): each.fingerprints[one.kind]
        for each in compiled
        for one in each.objects
    }
    return [
        one for one in found if prints.get((one.kind, one.name), one.fingerprint) != one.fingerprint
    ]


def _belonging(
    one: CompiledFlow, found: Sequence[DeployedObject], ours: Sequence[DeployedObject]
) -> list[DeployedObject]:
    """What is there of this flow. Metaflow's own schedules say nothing but their name."""
    nameless = [
        each
        for each in found
        if not each.project and each.name == one.name and each.kind != TEMPLATE
    ]
    return [each for each in ours if each.flow == one.flow.name] + nameless


def _action(
    one: CompiledFlow,
    there: Sequence[DeployedObject],
    bodies: Bodies,
    now: str,
    *,
    everything: bool,
) -> Action:
    wanted = {_key(each): each for each in one.objects}
    present = {_key(each): each for each in there if _key(each) in wanted}
    template = next((each for each in present.values() if each.kind == TEMPLATE), None)
    extra = tuple(each for each in there if _key(each) not in wanted)
    extra += _left_elsewhere(template, one)
    if not present and not extra:
        return Action(
            flow=one.flow.name,
            state="new",
            why=_novelty(one),
            compiled=one,
            to_write=_to_write(one.objects, present, now, now),
            forgot_at=now,
        )
    missing = [each for key, each in wanted.items() if key not in present]
    moved = [
        wanted[key]
        for key, each in present.items()
        if each.fingerprint != one.fingerprints[each.kind]
    ]
    lacking = (*moved, *missing)
    sensor = next((each for each in present.values() if each.kind == SENSOR), None)
    # Argo Events drops what waits for a sensor whose dependencies change: ticks send that again,
    # and must know since when.
    forgets = any(
        _waits_for(each.body) != _waits_for(bodies.get(_at(each), {}))
        for each in _to_write(lacking, present, now, now)
        if each.kind == SENSOR
    )
    # A deployment that was interrupted has noted it, and another has not to forget it.
    noted = sensor.annotations.get(_FORGOT, "") if sensor else ""
    forgot_at = now if forgets else noted
    # A sensor that is written anew may start its pod anew, which then hears nothing for some
    # seconds.
    objects = one.objects if everything else lacking
    to_write = _to_write(objects, present, now, forgot_at)
    return Action(
        flow=one.flow.name,
        state="changed" if to_write or extra else "unchanged",
        why=tuple(_reasons(one, missing, moved, extra, bodies, template, everything=everything)),
        compiled=one,
        versions={each.kind: each.version for each in present.values()},
        to_write=to_write,
        forgot_at=forgot_at,
        extra=extra,
    )


def _waits_for(body: Mapping[str, Any]) -> Any:
    return waits_for(essence_of(body, (), ()).get("spec", {}))


def _to_write(
    objects: Sequence[ArgoObject],
    present: Mapping[tuple[Kind, str, str], DeployedObject],
    now: str,
    forgot_at: str,
) -> tuple[ArgoObject, ...]:
    """The objects; a sensor with the trigger that it has on the cluster, or one of this moment."""
    # When the bus forgot is noted on it, so that a deployment that stops half-way does not lose
    # that.

    def named(one: ArgoObject) -> ArgoObject:
        if one.kind != SENSOR:
            return one
        there = present.get(_key(one))
        known = there.annotations.get("flowproject/trigger", "") if there else _digits(now)
        noted = {_FORGOT: forgot_at} if forgot_at else {}
        return with_trigger_of(known, one).with_annotations(noted)

    return tuple(map(named, objects))


def _digits(moment: str) -> str:
    """The moment to the second, as a part of a name."""
    return re.sub(r"\D", "", moment)[:14]


def _left_elsewhere(
    template: DeployedObject | None, one: CompiledFlow
) -> tuple[DeployedObject, ...]:
    """The sensor of the last deployment, if Metaflow was told to put sensors elsewhere since."""
    annotations = template.annotations if template else {}
    name, place = (
        annotations.get("metaflow/sensor_name"),
        annotations.get("metaflow/sensor_namespace"),
    )
    here = {each.namespace for each in one.objects if each.kind == SENSOR}
    if not name or not place or not here or place in here:
        return ()
    return (DeployedObject(kind=SENSOR, name=name, namespace=place),)


def _reasons(  # what was found out, each by its name
    one: CompiledFlow,
    missing: Sequence[ArgoObject],
    moved: Sequence[ArgoObject],
    extra: Sequence[DeployedObject],
    bodies: Bodies,
    template: DeployedObject | None,
    *,
    everything: bool,
) -> list[str]:
    had = {each.kind: bodies[each.kind, each.name] for each in one.objects if _at(each) in bodies}
    words = list(differences(one, had)) if moved else []
    if template and template.package_is_gone:
        words.append("its code package is not in the datastore any more")
    # Fingerprints differ and no word is found for it: what is compared is another version's.
    if moved and not words:
        words = ["was deployed by another version of flowproject, or without it"]
    words += _lacking(missing, whole=not any(each.kind == TEMPLATE for each in moved))
    words += [f"{KINDS[each.kind]} {each.name} goes" for each in extra]
    return words or (["asked for with --all"] if everything else [])


def _lacking(missing: Sequence[ArgoObject], *, whole: bool) -> list[str]:
    """What to say of what is not there. `whole`: the template on the cluster belongs to it."""
    if not missing:
        return []
    kinds = " and ".join(KINDS[each.kind] for each in missing)
    if whole or any(each.kind == TEMPLATE for each in missing):
        return [f"half-done: the {kinds} {'is' if len(missing) == 1 else 'are'} missing"]
    return [f"{kinds} (new)"]


def _at(one: ArgoObject) -> tuple[Kind, str]:
    return one.kind, one.name


def _novelty(one: CompiledFlow) -> tuple[str, ...]:
    """What a new flow waits for."""
    events = [
        f"starts when {one.flow.name_of(each)} has succeeded"
        if each.type == "run"
        else f"starts on {one.flow.name_of(each)}"
        for each in one.flow.dependencies
    ]
    crons = [each.body["spec"] for each in one.objects if each.kind == CRON]
    times = [f"runs at {' '.join(each.get('schedules') or [each['schedule']])}" for each in crons]
    paused = ["its schedule is paused on this branch"] if one.flow.schedule and not crons else []
    if events and not one.starts_on_events:
        events = [f"does not start on {', '.join(foreign_events(one.flow))} on this branch"]
    return tuple(events + times + paused)


def _gone(flow: str, there: Sequence[DeployedObject]) -> Action:
    # What has none was not written by us, and is not ours to remove.
    if any(one.fingerprint for one in there):
        return Action(
            flow=flow, state="removed", why=("not in this repository any more",), extra=tuple(there)
        )
    return Action(flow=flow, state="foreign", why=(_FOREIGN,))


def _refuse_clashes(compiled: Sequence[CompiledFlow], found: Sequence[DeployedObject]) -> None:
    names: dict[str, CompiledFlow] = {}
    for one in compiled:
        if other := names.get(one.name):
            raise DeployError(
                f"{one.flow.name} and {other.flow.name} are both called {one.name!r} on Argo "
                "Workflows, which knows neither upper case nor underscores",
                where=f"{one.flow.path.name} and {other.flow.path.name}",
                fix="Rename one of the flows",
            )
        names[one.name] = one
    for there in found:
        mine = names.get(there.name) if there.kind == TEMPLATE else None
        if mine and (there.project, there.branch, there.flow) != _whose(mine):
            owner = "/".join(filter(None, (there.project, there.branch, there.flow)))
            raise DeployError(
                f"The name {there.name!r} on Argo Workflows is taken by {owner or 'somebody else'}",
                where=f"{mine.flow.path.name}, namespace {there.namespace}",
                fix="Rename the flow or the project, or remove what is there",
            )


def _refuse_other_branches(ours: Sequence[DeployedObject], git_branch: str) -> None:
    """Of git branches whose names meet in Metaflow's, the first has the deployment."""
    noted = {one.annotations.get("flowproject/git_branch") or git_branch for one in ours}
    for other in sorted(noted - {git_branch}) if git_branch else ():
        raise DeployError(
            f"The git branch {git_branch!r} would be deployed as {ours[0].branch}, and that is the "
            f"deployment of {other!r}: the hashes of the two names meet",
            where=f"Project {ours[0].project!r}, namespace {ours[0].namespace}",
            allowed="Nothing was deployed",
            fix=f"Give this branch another name, `git branch -m NAME`; or, if {other!r} is not "
            f"needed any more: `flowproject teardown --git-branch {quote(other)}`",
        )


def _whose(one: CompiledFlow) -> tuple[str, str, str]:
    return one.flow.project, one.flow.branch, one.flow.name


def _key(one: DeployedObject | ArgoObject) -> tuple[Kind, str, str]:
    return one.kind, one.name, one.namespace


_MOST: Final = 5
_SHOWN: Final = ("concurrencyPolicy", "image", "resources", "schedule", "schedules", "timezone")
# Metaflow writes the annotations of a template into these as well.
_DOUBLED: Final = ("podMetadata", "workflowMetadata")

# How the names of templates begin that Metaflow makes for notifications.
_NOTIFYING: Final = ("notify-", "exit-hook-hack")

_WORDS: Final = {
    "metaflow/cron": "schedule",
    "metaflow/dag": "steps",
    "metaflow/notify_on_error": "notifications",
    "metaflow/notify_on_success": "notifications",
    "metaflow/parameters": "parameters",
    "metaflow/tags": "tags",
    "metaflow/triggers": "triggers",
    "workflows.argoproj.io/description": "description",
    "workflows.argoproj.io/title": "title",
}


def differences(compiled: CompiledFlow, bodies: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """A few words for each thing that differs; `bodies` are what the cluster has, by kind."""
    template = bodies.get(TEMPLATE, {})
    found = [*_code(compiled, template)] if template else []
    package, tags = _package(template), _tags(template)
    for kind, wanted in compiled.essence.items():
        if kind in bodies:
            had = essence_of(bodies[kind], package, tags)
            found += _annotations(had, wanted) if kind == TEMPLATE else []
            found += _specification(kind, had.get("spec", {}), wanted.get("spec", {}))
    words = tuple(dict.fromkeys(found))
    more = (f"and {len(words) - _MOST} more",) if len(words) > _MOST else ()
    return words[:_MOST] + more


def _code(compiled: CompiledFlow, template: Mapping[str, Any]) -> Iterator[str]:
    """What of the files that travel is not as it was: the kinds of files, each with its names."""
    annotations = template["metadata"].get("annotations") or {}
    had = _parsed(annotations.get("flowproject/files", ""), {})
    new = compiled.files
    names = {name: name for name in new if name in had and had[name] != new[name]}
    names |= {name: f"{name} (new)" for name in new if had and name not in had}
    names |= {name: f"{name} (gone)" for name in had if name not in new}
    kinds: dict[str, list[str]] = {}
    for name, words in names.items():
        kind = _kind_of(name, compiled.flow.path.name)
        kinds.setdefault(kind, []).append(words.removeprefix(PACKAGE))
    for kind, changed in sorted(kinds.items()):
        more = f" and {len(changed) - _MOST} more" if len(changed) > _MOST else ""
        yield f"{kind}: {', '.join(changed[:_MOST])}{more}"


def _kind_of(name: str, flow_file: str) -> str:
    if name.startswith(PACKAGE):
        return "packages"
    if name == FILE:
        return "configuration"
    if name == flow_file:
        return "flow"
    return "SQL" if name.startswith("sql/") else "code"


def _annotations(had: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    one, other = had.get("annotations", {}), wanted.get("annotations", {})
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return [_WORDS.get(name, name) for name in sorted(names)]


def _specification(kind: str, had: Any, wanted: Any) -> list[str]:
    """What differs, with the steps that it concerns together."""
    steps: dict[str, list[str]] = {}
    for path, text in _paths(had, wanted, ()):
        where = path[1] if path[0] == "templates" and len(path) > 1 else ""
        if path[0] == "hooks" or where.startswith(_NOTIFYING):
            steps.setdefault("notifications", [])
        elif path[0] not in _DOUBLED:
            steps.setdefault(text, []).append(where)
    if kind == SENSOR:
        return ["triggers"] if steps else []
    return [f"{', '.join(filter(None, where))}: {what}".lstrip(": ") for what, where in _few(steps)]


def _few(steps: Mapping[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    for text, where in steps.items():
        yield text, list(dict.fromkeys(where))


def _paths(had: Any, wanted: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Where the two differ, and a word for it."""
    if had == wanted:
        return
    one, other = _keyed(had), _keyed(wanted)
    # A command is one line of shell for the whole step: where in it the two differ says nothing.
    if one is None or other is None or (path and path[-1] in {"command", "args"}):
        yield path, _said(path, had, wanted)
        return
    for key in dict.fromkeys([*one, *other]):
        yield from _paths(one.get(key), other.get(key), (*path, str(key)))


def _keyed(value: Any) -> Mapping[str, Any] | None:
    """A mapping, or a list whose items have names, as a mapping; None for all else."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list) and all(isinstance(i, Mapping) and "name" in i for i in value):
        return {item["name"]: item for item in value}
    return None


def _said(path: tuple[str, ...], had: Any, wanted: Any) -> str:
    inner = path[2:] if path[0] == "templates" else path
    name = ".".join(part for part in inner if part not in {"container", "value"}) or "step"
    # Of everything else only the name: a variable of a step may be a secret.
    if any(part in _SHOWN for part in path):
        return f"{name} {_short(had)} → {_short(wanted)}"
    return f"{name}{' (new)' if had is None else ' (gone)' if wanted is None else ''}"


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return "none" if value in (None, "") else text[:60]


def _package(template: Mapping[str, Any]) -> tuple[str, ...]:
    """Address and hash of the code package of a template on the cluster."""
    for step in template.get("spec", {}).get("templates", []):
        known = {one["name"]: one.get("value") for one in step.get("container", {}).get("env", [])}
        if url := known.get("METAFLOW_CODE_URL"):
            return url, known.get("METAFLOW_CODE_SHA") or ""
    return ()


def _tags(template: Mapping[str, Any]) -> tuple[str, ...]:
    annotations = template.get("metadata", {}).get("annotations", {})
    return tuple(_parsed(annotations.get("metaflow/tags", ""), []))


def _parsed(text: str, otherwise: Any) -> Any:
    """The JSON in an annotation, of the type of `otherwise`, which stands for any other text."""
    try:
        found = json.loads(text)
    except ValueError:
        return otherwise
    return found if isinstance(found, type(otherwise)) else otherwise
