"""What is planned from what was compiled and what is found; and what is said of a change."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from flowproject.deploy.branches import Target, judge_branches, objects_of_branch
from flowproject.deploy.compilation import CompilationFailure
from flowproject.deploy.compiled_flow import CompiledFlow, compiled_from, essence_of
from flowproject.deploy.objects import KINDS, DeployedObject
from flowproject.deploy.plan import Action, DeploymentPlan, make_plan, objects_to_read
from flowproject.deploy.report import of_plan, of_refusals
from flowproject.errors import DeployError
from flowproject.flowfiles import Cron, Dependency, FlowFile

TAGS = ("git_branch:main", "git_commit:1")


def compiled(  # noqa: PLR0913  # each test changes one of them
    name: str = "OneFlow",
    *,
    argo_name: str = "",
    variables: dict[str, str] | None = None,
    image: str = "python:3.11",
    files: dict[str, str] | None = None,
    tags: tuple[str, ...] = TAGS,
    key: str = "aa",
    cron: str = "",
    annotations: dict[str, str] | None = None,
) -> CompiledFlow:
    """One flow of one step, in the shape that Metaflow gives it."""
    url = f"s3://b/p/{key}"
    moving = {"METAFLOW_CODE_URL": url, "METAFLOW_CODE_SHA": key, "METAFLOW_OWNER": key}
    env = [{"name": n, "value": v} for n, v in {**moving, **(variables or {})}.items()]
    command = ["bash", f"get b p/{key} && run {' '.join(f'--tag {tag}' for tag in tags)}"]
    step = {"name": "start", "container": {"image": image, "env": env, "command": command}}
    template = {
        "metadata": {
            "name": argo_name or name.lower(),
            "annotations": {
                "metaflow/tags": str(list(tags)).replace("'", '"'),
                "metaflow/deployment_timestamp": key,
                **(annotations or {}),
            },
        },
        "spec": {"templates": [step]},
    }
    objects = [{"plural": "workflowtemplates", "namespace": "w", "body": template}]
    if cron:
        body = {"metadata": {"name": argo_name or name.lower()}, "spec": {"schedule": cron}}
        objects.append({"plural": "cronworkflows", "namespace": "w", "body": body})
    flow = FlowFile(name=name, path=Path(f"/p/{name.lower()}.py"), project="p", branch="prod")
    answer = {
        "flow": flow.to_json(),
        "name": argo_name or name.lower(),
        "objects": objects,
        "files": files or {"oneflow.py": "11"},
        "package": [url, key],
    }
    return compiled_from(answer, tags)


def there(one: CompiledFlow) -> list[DeployedObject]:
    """What is found on the cluster after it was deployed."""
    return [
        DeployedObject(
            kind=each.kind,
            name=each.name,
            namespace=each.namespace,
            version="1",
            annotations=each.body["metadata"]["annotations"],
        )
        for each in one.annotated({}).objects
    ]


def planned(
    new: Sequence[CompiledFlow], found: Sequence[DeployedObject], **options: Any
) -> list[Action]:
    bodies = options.pop("bodies", {})
    return make_plan(new, found, bodies, project="p", branch="prod", **options)


def change(old: CompiledFlow, new: CompiledFlow) -> Action:
    bodies = {(each.kind, each.name): each.body for each in old.annotated({}).objects}
    [action] = planned([new], there(old), bodies=bodies)
    return action


def test_who_deploys_when_and_from_which_commit_is_no_change() -> None:
    old = compiled(key="aa", tags=("git_branch:main", "git_commit:1", "ci_run:7"))
    new = compiled(key="bb", tags=("git_branch:main", "git_commit:2-dirty", "ci_run:8"))
    assert change(old, new).state == "unchanged"
    by_hand = compiled(key="cc", tags=("git_branch:main",))
    assert change(old, by_hand).state == change(by_hand, old).state == "unchanged"


def test_another_tag_of_ones_own_is_a_change() -> None:
    assert change(compiled(), compiled(tags=(*TAGS, "team:sky"))).state == "changed"


def test_a_changed_file_is_named() -> None:
    old = compiled(files={"a.py": "1", "b.py": "1", "gone.py": "1"})
    new = compiled(files={"a.py": "2", "b.py": "1", "new.py": "1"})
    assert change(old, new).why == ("code: a.py, new.py (new), gone.py (gone)",)


def test_what_kind_of_file_changed_is_said() -> None:
    names = ("oneflow.py", "flowproject.toml", "sql/a.sql", "package flowproject", "package x")
    old, new = (compiled(files=dict.fromkeys(names, content)) for content in "12")
    assert change(old, new).why == (
        "SQL: sql/a.sql",
        "configuration: flowproject.toml",
        "flow: oneflow.py",
        "packages: flowproject, x",
    )


def test_values_that_may_be_secret_are_not_shown() -> None:
    told = change(compiled(variables={"TOKEN": "old-secret"}), compiled(variables={"TOKEN": "s3"}))
    assert told.why == ("start: env.TOKEN",)


def test_images_and_schedules_are_shown_with_what_they_were() -> None:
    old, new = compiled(cron="0 * * * *"), compiled(cron="1 * * * *", image="python:3.12")
    assert change(old, new).why == (
        "start: image python:3.11 → python:3.12",
        "schedule 0 * * * * → 1 * * * *",
    )


def test_the_annotations_of_metaflow_are_told_in_words() -> None:
    old = compiled(annotations={"metaflow/cron": "1", "workflows.argoproj.io/title": "a"})
    new = compiled(annotations={"metaflow/cron": "2", "workflows.argoproj.io/title": "b"})
    assert change(old, new).why == ("schedule", "title")


def test_what_is_unchanged_is_deployed_when_asked_for() -> None:
    [action] = planned([compiled()], there(compiled()), everything=True)
    assert (action.state, action.why) == ("changed", ("asked for with --all",))


def test_only_what_changed_is_read_whole() -> None:
    same, other = compiled("OneFlow"), compiled("TwoFlow")
    moved = replace(other, files={"twoflow.py": "other"})
    assert objects_to_read([same, moved], there(same) + there(other)) == there(other)


@pytest.mark.parametrize("left", ["workflowtemplates", "cronworkflows"])
def test_half_of_a_deployment_is_completed(left: str) -> None:
    one = compiled(cron="* * * * *")
    [action] = planned([one], [each for each in there(one) if each.kind == left])
    missing = {"workflowtemplates": "cron", "cronworkflows": "template"}[left]
    assert (action.state, action.why) == ("changed", (f"half-done: the {missing} is missing",))
    assert [KINDS[each.kind] for each in action.to_write] == [missing]


def test_a_schedule_that_a_flow_never_had_is_new_and_not_missing() -> None:
    [action] = planned([compiled(cron="* * * * *", files={"a.py": "2"})], there(compiled()))
    assert "cron (new)" in action.why
    assert {each.kind for each in action.to_write} == {"workflowtemplates", "cronworkflows"}


def test_what_did_not_change_of_a_flow_that_did_is_not_written() -> None:
    """A sensor that is written anew starts its pod anew."""
    old, new = (with_sensor(compiled(files={"a.py": number})) for number in "12")
    [action] = planned([new], there(old))
    assert [each.kind for each in action.to_write] == ["workflowtemplates"]
    [everything] = planned([new], there(old), everything=True)
    assert everything.to_write == new.objects


def test_when_metaflow_compiled_a_sensor_says_nothing_of_it() -> None:
    first, second = (with_sensor(compiled(), time=time) for time in ("09:00", "10:00"))
    assert change(first, second).state == "unchanged"


def test_a_sensor_that_is_made_anew_has_another_trigger_and_keeps_it() -> None:
    """What an earlier one left on the bus is found by the name of its trigger."""
    one = with_sensor(compiled())
    [first] = planned([one], [], now="2026-11-30T09:00:00+00:00")
    assert trigger_of(first) == "oneflow-20261130090000"
    found = [
        replace(each, annotations=sent.body["metadata"]["annotations"])
        for each, sent in zip(there(one), first.to_write, strict=True)
    ]
    changed = replace(one, flow=one.flow, objects=with_sensor(compiled(), event="f").objects)
    [again] = planned([changed], found, now="2026-11-30T10:00:00+00:00")
    assert trigger_of(again) == "oneflow-20261130090000"
    by_metaflow = [each for each in there(one) if each.kind == "sensors"]
    [taken_over] = planned([changed], by_metaflow, now="2026-11-30T10:00:00+00:00")
    assert trigger_of(taken_over) == "oneflow"


@pytest.mark.parametrize(
    "event, files, forgets",
    [("e", "2", False), ("f", "1", True)],
)
def test_what_waits_for_a_flow_is_forgotten_when_what_it_waits_for_changes(
    event: str, files: str, *, forgets: bool
) -> None:
    old = with_sensor(compiled(files={"a.py": "1"}))
    new = with_sensor(compiled(files={"a.py": files}), event=event)
    bodies = {(each.kind, each.name): each.body for each in old.annotated({}).objects}
    [action] = planned([new], there(old), bodies=bodies, now="10:00")
    assert (action.state, action.forgot_at) == ("changed", "10:00" if forgets else "")
    [again] = planned([old], there(old), now="10:00", everything=True)
    assert again.forgot_at == ""


def test_when_the_bus_forgot_is_noted_on_the_sensor_for_the_next_deployment() -> None:
    """That is told to the ticks last of all, and a deployment may stop before."""
    one = with_sensor(compiled())
    [first] = planned([one], [], now="09:00")
    assert first.forgot_at == "09:00"
    found = [
        replace(each, annotations=sent.with_annotations(marks).body["metadata"]["annotations"])
        for each, sent in zip(there(one), first.to_write, strict=True)
        for marks in ({"flowproject/fingerprint": each.fingerprint},)
    ]
    [next_time] = planned([one], found, now="10:00")
    assert (next_time.state, next_time.forgot_at) == ("unchanged", "09:00")


def trigger_of(action: Action) -> str:
    [sensor] = [each for each in action.to_write if each.kind == "sensors"]
    return str(sensor.body["spec"]["triggers"][0]["template"]["name"])


def test_two_git_branches_whose_names_meet_do_not_share_a_deployment() -> None:
    one, other = (noted(compiled(), git_branch) for git_branch in ("a", "b"))
    with pytest.raises(DeployError, match="the deployment of 'a'.*teardown --git-branch a") as told:
        planned([other], there(one), git_branch="b")
    assert "Give this branch another name" in str(told.value)
    [action] = planned([one], there(one), git_branch="a")
    assert action.state == "unchanged"


def test_production_may_have_another_git_branch_than_before() -> None:
    [action] = planned([noted(compiled(), "main")], there(noted(compiled(), "master")))
    assert action.state == "unchanged"


def test_a_teardown_leaves_what_another_git_branch_has_under_the_same_name() -> None:
    mine, other = there(noted(compiled(), "a")), there(noted(compiled("TwoFlow"), "b"))
    bare = there(compiled("ThreeFlow"))
    gone = objects_of_branch([*mine, *other, *bare], project="p", branch="prod", git_branch="a")
    assert gone == [*mine, *bare]
    assert objects_of_branch([*mine, *other], project="p", branch="prod") == [*mine, *other]


@pytest.mark.parametrize(
    "event, kind, told",
    [
        ("mfns.p.prod.weather_changed", "event", "starts on weather_changed"),
        ("mfns.p.prod.prices.new-list", "event", "starts on prices.new-list"),
        ("vendor.feed", "event", "starts on vendor.feed"),
        ("mfns.q.prod.feed", "event", "starts on mfns.q.prod.feed"),
        ("metaflow.p.prod.OtherFlow.end", "run", "starts when OtherFlow has succeeded"),
        ("metaflow.q.prod.OtherFlow.end", "run", "starts when q.prod.OtherFlow has succeeded"),
    ],
)
def test_a_new_flow_tells_the_whole_name_of_what_starts_it(
    event: str, kind: Literal["event", "run"], told: str
) -> None:
    one = with_sensor(compiled())
    dependency = Dependency(event=event, type=kind, alias="e", flow="OtherFlow")
    [action] = planned([replace(one, flow=replace(one.flow, dependencies=(dependency,)))], [])
    assert action.why == (told,)


def test_a_schedule_goes_where_a_branch_has_none_any_more() -> None:
    [action] = planned([compiled()], there(compiled(cron="* * * * *")))
    assert [each.kind for each in action.extra] == ["cronworkflows"]
    assert "cron oneflow goes" in action.why


def test_a_schedule_that_metaflow_wrote_itself_is_known_by_its_name() -> None:
    theirs = DeployedObject(kind="cronworkflows", name="oneflow", namespace="w", version="1")
    [action] = planned([compiled()], [*there(compiled()), theirs])
    assert action.extra == (theirs,)


def test_a_sensor_in_a_namespace_of_before_goes() -> None:
    sensor = {
        "plural": "sensors",
        "namespace": "new",
        "body": {"metadata": {"name": "oneflow"}, "spec": {"x": 1}},
    }
    one = compiled(annotations={"metaflow/sensor_name": "s", "metaflow/sensor_namespace": "old"})
    [action] = planned([replace(one, objects=(*one.objects, *sensor_of(sensor)))], there(one))
    assert action.extra == (DeployedObject(kind="sensors", name="s", namespace="old"),)


def with_sensor(one: CompiledFlow, *, time: str = "09:00", event: str = "e") -> CompiledFlow:
    """The same flow, started by an event."""
    pod = {"annotations": {"metaflow/deployment_timestamp": time, "metaflow/flow_name": "OneFlow"}}
    spec = {
        "template": {"metadata": pod},
        "dependencies": [{"name": event}],
        "triggers": [{"template": {"name": "oneflow"}}],
    }
    sensor = {
        "plural": "sensors",
        "namespace": "w",
        "body": {"metadata": {"name": "oneflow"}, "spec": spec},
    }
    return replace(one, objects=(*one.objects, *sensor_of(sensor)))


def noted(one: CompiledFlow, git_branch: str) -> CompiledFlow:
    """The same flow, deployed from a git branch."""
    mark = {"flowproject/git_branch": git_branch}
    return replace(one, objects=one.annotated(mark).objects)


def sensor_of(answer: dict[str, Any]) -> tuple[Any, ...]:
    flow = FlowFile(name="OneFlow", path=Path("/p/oneflow.py"), project="p", branch="prod")
    told = {"flow": flow.to_json(), "name": "oneflow", "files": {}, "package": ["", ""]}
    return compiled_from({**told, "objects": [answer]}, ()).objects


def test_a_flow_that_others_deployed_is_shown_and_stays() -> None:
    theirs = replace(
        there(compiled("OldFlow"))[0],
        annotations={
            "metaflow/project_name": "p",
            "metaflow/branch_name": "prod",
            "metaflow/flow_name": "OldFlow",
        },
    )
    _, action = planned([compiled()], [theirs])
    assert (action.flow, action.state, action.extra) == ("OldFlow", "foreign", ())


def test_two_flows_of_one_name_on_argo_are_refused() -> None:
    with pytest.raises(DeployError, match="OneFlow and One_Flow|One_Flow and OneFlow"):
        planned([compiled("OneFlow"), compiled("One_Flow", argo_name="oneflow")], [])


def test_a_name_that_somebody_else_has_is_refused() -> None:
    other = DeployedObject(
        kind="workflowtemplates",
        name="oneflow",
        namespace="w",
        annotations={"metaflow/project_name": "q", "metaflow/flow_name": "OneFlow"},
    )
    with pytest.raises(DeployError, match="'oneflow' on Argo Workflows is taken by q/OneFlow"):
        planned([compiled()], [other])


def test_the_essence_has_no_address_of_the_code_in_it() -> None:
    body = compiled(key="f00d").objects[0].body
    assert "f00d" not in str(essence_of(body, ("s3://b/p/f00d", "f00d"), TAGS))


def test_a_flow_that_does_not_compile_keeps_the_others_away() -> None:
    target = Target(git_branch="main", branch="", production=True, schedules=True)
    refused = CompilationFailure(path=Path("/p/twoflow.py"), reason="twoflow.py:3: SyntaxError")
    report = of_refusals("p", target, DeploymentPlan(results=(compiled(), refused)))
    assert [row.cells for row in report.rows] == [
        ("OneFlow", "not tried", "it compiles"),
        ("twoflow.py", "does not compile", "twoflow.py:3: SyntaxError"),
    ]
    assert report.exit_code == 7
    assert report.notes == ("Nothing was deployed.",)


def test_a_branch_deployed_from_several_git_branches_is_not_understood() -> None:
    found = [
        DeployedObject(
            kind="workflowtemplates",
            name=name,
            namespace="w",
            annotations={
                "metaflow/project_name": "p",
                "metaflow/branch_name": "test.x",
                "flowproject/git_branch": name,
            },
        )
        for name in ("x", "y")
    ]
    [judged] = judge_branches(found, project="p", alive=(), named=lambda name: f"test.{name}")
    assert judged.verdict == "kept"


@pytest.mark.parametrize("schedules", [True, False])
def test_a_schedule_that_is_never_due_is_a_note_of_the_plan_where_it_runs(*, schedules: bool):
    one = compiled(cron="0 0 30 2 *")
    one = replace(one, flow=replace(one.flow, schedule=Cron(expression="0 0 30 2 *")))
    target = Target(git_branch="main", branch="", production=True, schedules=schedules)
    report = of_plan("p", target, [Action(flow="OneFlow", state="new", why=(), compiled=one)])
    assert any("is never due" in note for note in report.notes) is schedules
    assert report.exit_code == 0
