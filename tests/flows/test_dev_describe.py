"""Flow files described by Metaflow itself, in real child processes."""

from pathlib import Path
from textwrap import dedent

import pytest

from flowproject.errors import FlowError
from flowproject.flowfiles import Cron, Dependency, FlowFile, FlowParameter, describe_flows
from tests.argo_rules import RESETS_LEFT_OUT

pytestmark = pytest.mark.usefixtures("warm_children")

HEAD = """
from metaflow import *
from metaflow.user_decorators.user_flow_decorator import FlowMutator

"""
BODY = """
    @step
    def start(self):
        self.next(self.end)

    @step
    def end(self):
        pass

if __name__ == "__main__":
    F()
"""


@pytest.fixture(scope="module")
def datastore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("datastore")


@pytest.fixture
def root(tmp_path: Path, datastore: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("METAFLOW_DATASTORE_SYSROOT_LOCAL", str(datastore))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    return tmp_path


def write(root: Path, text: str, *, name: str = "fflow.py", body: str = BODY) -> None:
    (root / name).write_text(HEAD + dedent(text).strip("\n") + "\n" + body)


def describe(root: Path, text: str, *, branch: str = "", production: bool = False) -> FlowFile:
    write(root, text)
    (flow,) = describe_flows(root, branch=branch, production=production)
    return flow


def test_a_bare_flow_is_its_name_and_its_place(root: Path, datastore: Path):
    flow = describe(root, "class F(FlowSpec):")
    assert (flow.name, flow.path, flow.full_name) == ("F", root / "fflow.py", "F")
    assert (flow.schedule, flow.dependencies, flow.parameters) == (None, (), ())
    assert flow.metadata == f"local@{datastore}"
    assert flow.local_root == str(datastore / ".metaflow")
    assert not flow.inherits_ours


def test_parameters_carry_what_decides_about_events(root: Path):
    flow = describe(
        root,
        """
        class F(FlowSpec):
            a = Parameter("a", required=True)
            b = Parameter("b", default=3)
            c = Parameter("c", type=JSONType, default={"x": 1})
            d = Parameter("d", default=lambda context: "late")
        """,
    )
    assert {item.name: item for item in flow.parameters} == {
        "a": FlowParameter(name="a", required=True, type="str", has_default=False),
        "b": FlowParameter(name="b", required=False, type="int", has_default=True),
        "c": FlowParameter(name="c", required=False, type="JSON", has_default=True),
        "d": FlowParameter(name="d", required=False, type="str", has_default=True),
    }


@pytest.mark.parametrize(
    "branch,production,expected",
    [("", False, "user.tester"), ("x", False, "test.x"), ("x", True, "prod.x"), ("", True, "prod")],
)
def test_names_of_events_are_resolved_for_the_branch(
    root: Path,
    branch: str,
    production: bool,  # noqa: FBT001
    expected: str,
):
    text = """
        @project(name="p")
        @trigger(event=namespaced_event_name("e"))
        class F(FlowSpec):
    """
    flow = describe(root, text, branch=branch, production=production)
    assert (flow.project, flow.branch) == ("p", expected)
    assert [item.event for item in flow.dependencies] == [f"mfns.p.{expected}.e"]


def test_one_event_without_a_mapping_maps_every_parameter(root: Path):
    flow = describe(
        root,
        """
        @trigger(event="e")
        class F(FlowSpec):
            a = Parameter("a", default="")
            dashed = Parameter("with-dash", default="")
        """,
    )
    assert flow.dependencies[0].parameters == {"a": "a", "with-dash": "with-dash"}


def test_several_events_map_only_what_they_say(root: Path):
    flow = describe(
        root,
        """
        @trigger(events=["e", {"name": lambda context: "f", "parameters": ["a", ("b", "key")]}],
                 options={"reset_at": {"cron": "0 0 * * *", "timezone": "Europe/Zurich"}})
        class F(FlowSpec):
            a = Parameter("a", default="")
            b = Parameter("b", default="")
            c = Parameter("c", default="")
        """,
    )
    mapped = [(item.event, item.parameters) for item in flow.dependencies]
    assert mapped == [("e", {}), ("f", {"a": "a", "b": "key"})]
    assert flow.reset == Cron(expression="0 0 * * *", timezone="Europe/Zurich")


def test_a_finished_run_is_waited_for_with_the_filters_of_argo(root: Path):
    text = """
        @project(name="p")
        @trigger_on_finish(flow="Up")
        class F(FlowSpec):
    """
    (dependency,) = describe(root, text).dependencies
    branch = "user.tester"
    assert dependency == Dependency(
        event=f"metaflow.p.{branch}.Up.end",
        type="run",
        alias=dependency.alias,
        filters={
            "auto-generated-by-metaflow": "True",
            "project_name": "p",
            "branch_name": branch,
        },
        flow="Up",
    )


@pytest.mark.parametrize(
    "schedule,cron,left_out",
    [
        ("hourly=True", "0 * * * ?", "*"),
        ("weekly=True", "0 0 ? * SUN", "*"),
        ("", "0 0 * * ?", "*"),
        ("cron='*/5 * * * *'", "*/5 * * * *", ""),
        ("cron='0 0 1 1 ? 2027'", "0 0 1 1 ?", "2027"),
    ],
)
def test_a_schedule_has_five_fields_and_what_is_left_out_is_known(
    root: Path, schedule: str, cron: str, left_out: str
):
    flow = describe(root, f"@schedule({schedule})\nclass F(FlowSpec):")
    assert flow.schedule == Cron(expression=cron, left_out=left_out)


@pytest.mark.parametrize("reset", RESETS_LEFT_OUT)
def test_a_reset_that_metaflow_compiles_to_nothing_is_refused(root: Path, reset: str):
    text = f"""
        @trigger(event="e", options={{"reset_at": {reset}}})
        class F(FlowSpec):
    """
    with pytest.raises(FlowError, match="compiles anything else to nothing, silently"):
        describe(root, text)


def test_configurations_and_mutators_have_done_their_work(root: Path):
    (root / "settings.json").write_text('{"project": "p", "cron": "1 2 3 4 5"}')
    text = """
        class Scheduled(FlowMutator):
            def pre_mutate(self, mutable_flow):
                mutable_flow.add_decorator(
                    "schedule", deco_kwargs={"cron": mutable_flow.settings.cron}
                )

        @Scheduled
        @project(name=config_expr("settings.project"))
        class F(FlowSpec):
            settings = Config("settings", default="settings.json")
    """
    flow = describe(root, text, branch="x")
    assert flow.schedule == Cron(expression="1 2 3 4 5")
    assert flow.full_name == "p.test.x.F"


def test_what_a_flow_file_prints_does_not_matter(root: Path):
    assert describe(root, 'print("hello")\nclass F(FlowSpec):').name == "F"


def test_a_file_without_a_flow_is_passed_over(root: Path):
    write(root, "class F(FlowSpec):", name="base_flow.py", body="    pass\n")
    (root / "workflow.py").write_text("X = 1\n")
    assert describe_flows(root) == ()


@pytest.mark.parametrize(
    "text,reason",
    [
        ("import nosuch\nclass F(FlowSpec):", r"fflow\.py:5: ModuleNotFoundError: .*'nosuch'"),
        ("class F(FlowSpec)", r"fflow\.py:5: SyntaxError: "),
        (
            "def f():\n    raise ValueError('x')\nf()\nclass F(FlowSpec):",
            "fflow.py:6: ValueError: x",
        ),
        (
            '@trigger(event="e")\n@trigger_on_finish(flow="G")\nclass F(FlowSpec):',
            r"fflow\.py.*doesn't support both",
        ),
        ('@trigger(event="no spaces")\nclass F(FlowSpec):', "Invalid event name"),
        (
            '@trigger(event={"name": "e", "parameters": ["zzz"]})\nclass F(FlowSpec):',
            r"\*zzz\*.*not found in the flow",
        ),
        (
            (
                '@trigger(events=[{"name": n, "parameters": ["a"]} for n in "ef"])\n'
                'class F(FlowSpec):\n    a = Parameter("a", default="")'
            ),
            "Duplicate entries for parameter",
        ),
        (
            '@trigger(event="e")\nclass F(FlowSpec):\n    a = Parameter("Alpha", default="")',
            r"'Alpha' has upper-case letters.*Parameter\('alpha'\)",
        ),
        (
            '@schedule(daily=True)\nclass F(FlowSpec):\n    a = Parameter("a", required=True)',
            "Scheduling such parameters",
        ),
        (
            "@trigger(event=lambda context: 1 / 0)\nclass F(FlowSpec):",
            r"fflow\.py:5: ZeroDivisionError: division by zero",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_with_its_place(root: Path, text: str, reason: str):
    write(root, text)
    with pytest.raises(FlowError, match=reason) as caught:
        describe_flows(root)
    assert "\n" not in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_flow_that_nobody_starts_is_said(root: Path):
    write(root, "class F(FlowSpec):", body=BODY.replace("    F()", "    pass"))
    with pytest.raises(FlowError, match=r"never starts its flow.*F\(\)"):
        describe_flows(root)


def test_a_file_that_ends_python_is_a_problem_like_any_other(root: Path):
    (root / "fflow.py").write_text("import os\nos._exit(0)\n")
    with pytest.raises(FlowError, match=r"fflow\.py: it ended Python with exit code 0"):
        describe_flows(root)


def test_the_problems_of_all_files_come_at_once(root: Path):
    write(root, "import nosuch\nclass F(FlowSpec):", name="aflow.py")
    write(root, "import neither\nclass F(FlowSpec):", name="bflow.py")
    with pytest.raises(FlowError, match=r"(?s)aflow\.py.*bflow\.py"):
        describe_flows(root)


def test_an_answer_is_kept_until_a_file_changes(root: Path):
    first = describe(root, "class F(FlowSpec):")
    assert describe_flows(root)[0] is first
    assert describe(root, '@project(name="p")\nclass F(FlowSpec):').project == "p"


def test_a_flow_of_ours_belongs_to_the_project_that_its_file_lies_in(project: Path):
    settings = project / "flowproject.toml"
    settings.write_text(
        settings.read_text().replace('project_name = "weather"', 'project_name = "x"')
    )
    flows = {flow.name: flow for flow in describe_flows(project)}
    assert {flow.project for flow in flows.values()} == {"x"}
    assert flows["SensorFlow"].inherits_ours
    assert flows["SensorFlow"].schedule is not None
    assert [d.type for d in flows["StarterFlow"].dependencies] == ["event"]
