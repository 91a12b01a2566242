"""What `flowproject/metaflow_internals` relies on: one case for each name of Metaflow's inside.

A case that fails says in one sentence what a release of Metaflow changed, and where we meet it. It
needs nothing of flowproject, whose import may be what fails: `pytest --noconftest` runs it alone.
"""

import ast
import importlib
import inspect
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

PACKAGE = Path(__file__).parents[2] / "flowproject" / "metaflow_internals"
PROBE = Path(__file__).with_name("metaflow_probe.py")

Facts = Mapping[str, Any]
Check = Callable[[str, Facts], str]
"""From the dotted name and what the probe saw to what is different, as a clause; or nothing."""


@dataclass(frozen=True)
class Reliance:
    """One name of Metaflow's inside: who uses it, for what, and what it must be like."""

    name: str
    user: str
    purpose: str
    check: Check

    def broken(self, facts: Facts) -> str:
        """A sentence that says what Metaflow has changed; empty if it is as it was."""
        try:
            changed = self.check(self.name, facts)
        except (AttributeError, ImportError):
            changed = "is gone"
        except Exception as error:  # noqa: BLE001  # whatever it does now
            changed = f"raises {type(error).__name__} ({error})"
        module, _, function = self.user.partition(".")
        return changed and (
            f"In Metaflow {version()} `{self.name}` {changed}, and flowproject needs it "
            f"{self.purpose}: see `{function}` in flowproject/metaflow_internals/{module}.py."
        )


def version() -> str:
    """The version of Metaflow, with the distribution's name where it is Outerbounds'."""
    for distribution in ("ob-metaflow", "metaflow"):
        try:
            known = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
        return known if distribution == "metaflow" else f"{known} ({distribution})"
    return "of unknown version"


def found(dotted: str) -> Any:
    """What a dotted name stands for: a module, or something in one."""
    module, names = dotted, []
    while True:
        try:
            value = importlib.import_module(module)
            break
        except ModuleNotFoundError:
            module, _, name = module.rpartition(".")
            names.insert(0, name)
            if not module:
                raise
    for name in names:
        value = getattr(value, name)
    return value


def there(dotted: str, _: Facts) -> str:
    """It is there, whatever it is."""
    found(dotted)
    return ""


def since(added: str) -> Check:
    """It is there from this version on; what does without it before stands where it is used."""

    def check(dotted: str, _: Facts) -> str:
        known, wanted = (tuple(map(int, one.split(".")[:3])) for one in (version(), added))
        return there(dotted, {}) if known >= wanted else ""

    return check


def takes(*arguments: object, **named: object) -> Check:
    """It can be called with these."""

    def check(dotted: str, _: Facts) -> str:
        signature = inspect.signature(found(dotted))
        try:
            signature.bind(*arguments, **named)
        except TypeError:
            words = [*("..." for _ in arguments), *(f"{name}=..." for name in named)]
            return f"takes {signature} and no more ({', '.join(words)})"
        return ""

    return check


def answers(expected: object, *arguments: object, **named: object) -> Check:
    """It gives this for these arguments."""

    def check(dotted: str, _: Facts) -> str:
        answer = found(dotted)(*arguments, **named)
        return "" if answer == expected else f"gives {answer!r} where it gave {expected!r}"

    return check


def saw(fact: str, expected: object) -> Check:
    """The probe, which uses it as we do, saw this."""

    def check(_: str, facts: Facts) -> str:
        if "failure" in facts:
            return f"can't be tried, because the probe fails ({facts['failure']})"
        answer = facts.get(fact)
        return "" if answer == expected else f"makes {fact} {answer!r} where it was {expected!r}"

    return check


def mentioned_in(dotted: str) -> Check:
    """The source of another part of Metaflow reads or writes it by its last name."""

    def check(name: str, _: Facts) -> str:
        word = name.rpartition(".")[2]
        return "" if word in inspect.getsource(found(dotted)) else f"is not used in `{dotted}` now"

    return check


def settings() -> Iterator[str]:
    """The names in `Setting`, read without importing it."""
    for node in ast.walk(ast.parse((PACKAGE / "settings.py").read_text())):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "Setting":
            yield from (one.value for one in ast.walk(node.value) if isinstance(one, ast.Constant))


def roots(dotted: str, _: Facts) -> str:
    types = {storage.TYPE: storage for storage in found(dotted)}
    missing = {"local", "s3", "azure", "gs"} - types.keys()
    if missing:
        return f"has no {', '.join(sorted(missing))} by their `TYPE`"
    for storage in types.values():
        inspect.signature(storage.get_datastore_root_from_config).bind(print)
    return ""


def user_of_environment(dotted: str, _: Facts) -> str:
    unknown = dict.fromkeys(("SUDO_USER", "USER"), "root")
    with (
        mock.patch.dict(os.environ, {**unknown, "USERNAME": "somebody"}),
        mock.patch("metaflow.metaflow_config.USER", None),
    ):
        answer = found(dotted)()
    return "" if answer == "somebody" else f"says {answer!r} where USERNAME says 'somebody'"


def tokens(dotted: str, _: Facts) -> str:
    module = found(dotted.rpartition(".")[0])
    inspect.signature(found(dotted)).bind("prefix")
    asked: list[str] = []
    with mock.patch.object(module, "_path", lambda prefix: asked.append(prefix) or "/no/such/file"):
        module.load_token("probe")
    return "" if asked == ["probe"] else "is not what `load_token` asks for its file now"


def compiler_of_command(dotted: str, _: Facts) -> str:
    module, name = found(dotted.rpartition(".")[0]), dotted.rpartition(".")[2]
    users = [one for one in vars(module).values() if inspect.isfunction(one)]
    if any(name in one.__code__.co_names for one in users if one.__module__ == module.__name__):
        return ""
    return "is not what the command `argo-workflows` makes its compiler from now"


def evaluated(dotted: str, _: Facts) -> str:
    unpack = found("metaflow.user_configs.config_parameters.unpack_delayed_evaluator")
    resolve = found("metaflow.user_configs.config_parameters.resolve_delayed_evaluator")
    there(dotted, {})
    answer = resolve(unpack({"packages": {"a": "1"}})[0], to_dict=True)
    return "" if answer == {"packages": {"a": "1"}} else f"makes {answer!r} of plain attributes"


def click_type(dotted: str, _: Facts) -> str:
    answer = found(dotted).types.convert_type(int).convert("7", None, None)
    return "" if answer == 7 else f"converts '7' to {answer!r}"


def branch(dotted: str, _: Facts) -> str:
    cases = {
        (False, None): "user.me",
        (False, "x"): "test.x",
        (True, None): "prod",
        (True, "x"): "prod.x",
    }
    for (production, name), expected in cases.items():
        answer = found(dotted)("Flow", "project", production, name, "me")[1]
        if answer != expected:
            return f"calls the branch {answer!r} where it called it {expected!r}"
    return ""


def walked(dotted: str, _: Facts) -> str:
    keep = found("metaflow.packaging_sys.utils.suffix_filter")([".py"])
    names = {
        name
        for _, name in found("metaflow.packaging_sys.utils.walk")(f"{PACKAGE}/", file_filter=keep)
    }
    there(dotted, {})
    return "" if "settings.py" in names else f"gives names such as {sorted(names)[:2]}"


MESSAGE = "metaflow.exception.MetaflowException"
GRAPH = "metaflow.FlowSpec._graph"
DECORATORS = "metaflow.FlowSpec._flow_decorators"
PACKED = "metaflow.package.MetaflowPackage"
ARGO = "metaflow.plugins.argo.argo_workflows.ArgoWorkflows"

RELIANCES = [
    # settings
    *(
        Reliance(
            f"metaflow.metaflow_config.{name}",
            "settings.setting",
            "to know this setting",
            since("2.19.32") if name == "ARGO_WORKFLOWS_USE_SCHEDULES" else there,
        )
        for name in settings()
    ),
    Reliance(
        "metaflow.metaflow_config_funcs.METAFLOW_CONFIG",
        "settings.configuration",
        "to tell whether a deployed flow would compile to the same",
        lambda name, _: "" if isinstance(found(name), dict) else "is no dict",
    ),
    Reliance(
        "metaflow.util.get_username", "settings.user_name", "to name a user's branch", takes()
    ),
    Reliance(
        "metaflow.util.get_username",
        "settings.name_user",
        "to give root in a container a name by USERNAME",
        user_of_environment,
    ),
    # exceptions
    Reliance(
        MESSAGE,
        "exceptions.MetaflowException",
        "to print an expected failure in two lines, without a traceback",
        lambda name, _: "" if hasattr(found(name)("text"), "headline") else "has no `headline`",
    ),
    Reliance(
        "metaflow.exception.MetaflowNotFound",
        "exceptions.MetaflowNotFound",
        "to tell that there is no such run",
        lambda name, _: "" if issubclass(found(name), found(MESSAGE)) else "is no Metaflow error",
    ),
    Reliance(
        "metaflow.exception.ParameterFieldFailed",
        "exceptions.users_error",
        "to show the error of a user's deploy-time function",
        there,
    ),
    # datastore
    Reliance(
        "metaflow.plugins.DATASTORES", "datastore.configured_root", "to place the journal", roots
    ),
    Reliance(
        "metaflow.plugins.datastores.local_storage.LocalStorage.get_datastore_root_from_config",
        "datastore.local_root",
        "to find the records of loops",
        takes(print),
    ),
    Reliance(
        "metaflow.FlowSpec._datastore._storage_impl.datastore_root",
        "datastore.root_of_task",
        "to open the journal in the datastore of the run",
        lambda _, facts: saw("task root", facts.get("expected root"))(_, facts),
    ),
    Reliance(
        "metaflow.plugins.aws.aws_client.get_aws_client",
        "datastore.s3_client",
        "to reach S3 as Metaflow does",
        takes("s3", role_arn=None, session_vars={}, client_params={}),
    ),
    Reliance(
        "metaflow.plugins.azure.azure_credential.create_cacheable_azure_credential",
        "datastore.azure_credential",
        "to reach Azure as Metaflow does",
        takes(),
    ),
    Reliance(
        "metaflow.plugins.gcp.gs_storage_client_factory.get_credentials",
        "datastore.google_credentials",
        "to reach Google Cloud Storage as Metaflow does",
        takes(["scope"]),
    ),
    # metadata
    *(
        Reliance(
            f"metaflow.{kind}",
            f"metadata.find_{kind.lower()}",
            "without the check of the namespace, because others' runs take changes",
            takes("path", _namespace_check=False),
        )
        for kind in ("Run", "Step", "Task")
    ),
    Reliance(
        "metaflow.metadata_provider.MetaDatum",
        "metadata.note",
        "to note what a run was told of",
        takes(field="a", value="b", type="a", tags=[]),
    ),
    Reliance(
        "metaflow.system_context.system_context.metadata.register_metadata",
        "metadata.note",
        "to note what a run was told of",
        saw("noted", "noted"),
    ),
    Reliance(
        "metaflow.system_context.system_context.metadata.metadata_str",
        "metadata.metadata_place",
        "to look for runs where the flow's own process records them",
        saw("metadata place", "local"),
    ),
    Reliance(
        "metaflow.Run.trigger",
        "metadata.note_triggers",
        "to show on a laptop which event started a run, by the note 'execution-triggers'",
        saw("client trigger", "orders"),
    ),
    Reliance(
        "metaflow.Task['_success']",
        "metadata.has_failed",
        "to tell a run that failed from one that goes on",
        saw("success", [True, False]),
    ),
    Reliance(
        "metaflow.Task.path_components",
        "metadata.step_name",
        "to name the step in logs and cards",
        saw("step of path", "start"),
    ),
    # cards
    Reliance(
        "metaflow.plugins.cards.card_modules.basic.SectionComponent",
        "cards.SectionComponent",
        "to write headings on cards that no data can break",
        takes(title="a", subtitle="b", contents=[]),
    ),
    Reliance(
        "metaflow.plugins.cards.card_modules.basic.TextComponent",
        "cards.TextComponent",
        "to write paragraphs on cards that no data can break",
        takes("text"),
    ),
    Reliance(
        "metaflow.plugins.cards.exception.CardNotPresentException",
        "cards.cards_of",
        "to tell that a task has no card",
        lambda name, facts: saw("without card", name)(name, facts),
    ),
    # how a flow is started and set up
    Reliance(
        "metaflow.FlowSpec.__init__",
        "flows.intercept_start",
        "to describe and compile a flow that its file starts",
        takes(None, use_cli=False),
    ),
    Reliance(
        "metaflow.cli.main",
        "flows.run_on_command_line",
        "to set a flow up, and to deploy it",
        takes(None, args=[], handle_exceptions=False),
    ),
    Reliance(
        "metaflow.parameters.flow_context", "flows.run_on_command_line", "to set it up", takes(str)
    ),
    Reliance(
        "metaflow.system_context.system_context.flow",
        "flows.set_up_flow",
        "to read a flow after its mutators",
        saw("flow", "ProbeFlow"),
    ),
    Reliance(
        "metaflow.user_decorators.mutable_flow.MutableFlow._flow_cls",
        "flows.mutated_class",
        "to tell a flow that it takes changes in order",
        saw("mutated class", "ProbeFlow"),
    ),
    Reliance(
        "metaflow.FlowMutator._flow_cls",
        "flows.class_under_mutators",
        "to say which flow a file never starts",
        saw("class under mutators", "ProbeFlow"),
    ),
    Reliance(
        "metaflow.plugins.project_decorator.format_name",
        "flows.branch_name",
        "to know a branch without running a flow",
        branch,
    ),
    Reliance(
        "metaflow.current._update_env",
        "flows.set_trigger",
        "to set `current.trigger` in runs of the local loop",
        saw("task trigger", "orders"),
    ),
    Reliance("metaflow.events.Trigger", "flows.set_trigger", "to set `current.trigger`", takes([])),
    # the graph of its steps
    Reliance(
        f"{GRAPH}[step]",
        "flows.step_node",
        "to pass by the steps of a run that does nothing",
        saw("node", [["middle"], "start", False, False]),
    ),
    Reliance(
        f"{GRAPH}.sorted_nodes",
        "flows.step_names",
        "to list the steps of a flow",
        saw("steps", ["start", "middle", "end"]),
    ),
    Reliance(
        f"{GRAPH}.start_step",
        "flows.start_step",
        "to take changes once",
        saw("ends", ["start", "end"]),
    ),
    Reliance(f"{GRAPH}.end_step", "flows.end_step", "to end a turn", saw("ends", ["start", "end"])),
    Reliance(
        "metaflow.FlowSpec._transition",
        "flows.go_straight_to",
        "to pass by a switch",
        saw("ran", ["end", "middle", "start"]),
    ),
    Reliance(
        "metaflow.FlowSpec._control_mapper_tasks",
        "flows.name_parallel_tasks",
        "to pass by a step with @parallel",
        mentioned_in("metaflow.runtime"),
    ),
    # decorators of flows and steps
    Reliance(
        DECORATORS,
        "flows.flow_decorators",
        "to read @project and @trigger",
        saw("flow decorators", ["project", "schedule", "trigger"]),
    ),
    Reliance(
        f"{DECORATORS}[name][0].attributes",
        "flows.flow_decorators",
        "to see what a trigger asks of a user's function",
        saw("trigger", ["orders"]),
    ),
    Reliance(
        "metaflow.plugins.aws.step_functions.schedule_decorator.ScheduleDecorator.schedule",
        "flows.written_schedule",
        "to say what Argo leaves out of it",
        saw("schedule", "5 4 * * ? 2030"),
    ),
    Reliance(
        "metaflow.step.decorators",
        "flows.step_decorators",
        "to read @retry, @catch, @card, @conda and @pypi",
        saw("step decorators", [["retry", 0]]),
    ),
    Reliance(
        "metaflow.step.config_decorators",
        "flows.step_mutators",
        "to see the mark @snowflake",
        saw("step mutators", ["mark"]),
    ),
    Reliance(
        "metaflow.plugins.STEP_DECORATORS",
        "flows.known_step_decorators",
        "to refuse an unknown name in `[deploy] with`",
        lambda name, _: (
            ""
            if {"retry", "kubernetes"} <= {one.name for one in found(name)}
            else "lacks known names"
        ),
    ),
    *(
        Reliance(
            f"metaflow.user_configs.config_parameters.{name}_delayed_evaluator",
            "flows.resolved_attributes",
            "to read packages that a step takes from the configuration",
            evaluated,
        )
        for name in ("unpack", "resolve")
    ),
    # parameters of flows
    Reliance(
        "metaflow.FlowSpec._get_parameters",
        "flows.PreparedParameters",
        "to decode what an event has for a parameter",
        saw("parameters", {"amount": False, "settings": True, "text": False}),
    ),
    Reliance(
        "metaflow.Parameter.IS_CONFIG_PARAMETER",
        "flows.is_plain_parameter",
        "to leave configurations alone",
        saw("parameters", {"amount": False, "settings": True, "text": False}),
    ),
    Reliance(
        "metaflow.Parameter.option_kwargs",
        "flows.convert_parameter",
        "to decode what an event has for a parameter",
        saw("amount", 6),
    ),
    Reliance(
        "metaflow.Parameter.kwargs",
        "flows.deploy_time_values",
        "to see defaults that are computed at deploy time",
        saw("deploy-time", [True]),
    ),
    Reliance(
        "metaflow.parameters.DeployTimeField.fun",
        "flows.function_of",
        "to see a user's function that is called at deploy time",
        saw("deploy-time", [True]),
    ),
    Reliance(
        "metaflow._vendor.click", "flows.convert_parameter", "to convert an option", click_type
    ),
    # packaging
    Reliance(
        "metaflow.packaging_sys.ContentType.USER_CONTENT",
        "packaging.project_file",
        "to take a project's queries along",
        saw("user files", ["metaflow_probe.py", "sql/query.sql"]),
    ),
    Reliance(
        "metaflow.package.DEFAULT_SUFFIXES_LIST",
        "packaging.takeable_files",
        "to know what travels without compiling",
        lambda name, _: "" if ".py" in found(name) else f"has only {found(name)}",
    ),
    *(
        Reliance(
            f"metaflow.packaging_sys.utils.{name}",
            "packaging.takeable_files",
            "to know what travels without compiling",
            walked,
        )
        for name in ("walk", "suffix_filter")
    ),
    Reliance(
        f"{PACKED}._user_code_tuples",
        "packaging.choose_files",
        "to leave out what no step needs",
        saw("user files", ["metaflow_probe.py", "sql/query.sql"]),
    ),
    Reliance(
        f"{PACKED}._user_content_from_addl",
        "packaging.choose_files",
        "to keep what somebody has asked for",
        saw("asked for", ["sql/query.sql"]),
    ),
    Reliance(
        f"{PACKED}._flow.script_name",
        "packaging.choose_files",
        "to keep the script of the flow",
        saw("script", "metaflow_probe.py"),
    ),
    Reliance(
        f"{PACKED}._mfcontent._files_from_modules",
        "packaging.choose_files",
        "to leave out flowproject's commands",
        saw("modules", expected=True),
    ),
    Reliance(
        f"{PACKED}.user_tuples",
        "packaging.project_files",
        "to note what a deployed flow is made of",
        saw("user files", ["metaflow_probe.py", "sql/query.sql"]),
    ),
    Reliance(
        f"{PACKED}.path_tuples",
        "packaging.packaged_files",
        "to note what a deployed flow is made of",
        lambda _, facts: (
            ""
            if {".mf_code", ".mf_meta"} <= set(facts["folders"])
            else f"has the folders {facts['folders']} and not .mf_code and .mf_meta"
        ),
    ),
    # argo
    Reliance(
        "metaflow.plugins.namespaced_events._make_namespaced_event_name",
        "argo.event_name",
        "to send an event under the name that flows wait for",
        answers("mfns.p.user.me.orders", "orders", "p", "user.me"),
    ),
    Reliance(
        "metaflow.plugins.argo.argo_workflows_decorator.METAFLOW_ARGO_EVENT_PAYLOAD_",
        "argo.EVENT_VARIABLE",
        "to read the events of a run",
        mentioned_in("metaflow.plugins.argo.argo_workflows_decorator"),
    ),
    Reliance(
        f"{ARGO}._process_parameters",
        "argo.read_flow",
        "to know which parameters an event must give",
        saw("argo parameters", [["amount", "1", "int", False], ["text", '"now"', "str", False]]),
    ),
    Reliance(
        f"{ARGO}._process_triggers",
        "argo.read_flow",
        "to know what a flow waits for",
        saw(
            "argo triggers",
            [{"name": "orders", "type": "event", "parameters": {"amount": "value"}}],
        ),
    ),
    Reliance(
        f"{ARGO}.trigger_options",
        "argo.read_flow",
        "to know when waiting events are forgotten",
        saw("argo options", {"reset_at": {"cron": "0 3 * * *"}}),
    ),
    Reliance(
        f"{ARGO}._get_schedule",
        "argo.read_flow",
        "to know when a flow is due",
        saw("argo schedule", ["5 4 * * ?", "Europe/Berlin"]),
    ),
    Reliance(
        f"{ARGO}.get_existing_deployment",
        "argo.hook_compiler",
        "to deploy as another user than the last one",
        takes("name"),
    ),
    Reliance(
        f"{ARGO}._compile_workflow_template",
        "argo.hook_compiler",
        "to compile the same flow to the same template",
        takes(None),
    ),
    *(
        Reliance(
            f"{ARGO}.{name}",
            "argo.hook_compiler",
            "to note what a deployed flow is made of",
            mentioned_in(f"{ARGO}.__init__"),
        )
        for name in ("code_package_url", "code_package_sha", "name")
    ),
    Reliance(
        "metaflow.plugins.argo.argo_workflows_cli.ArgoWorkflows",
        "argo.hook_compiler",
        "to compile a flow without deploying it",
        compiler_of_command,
    ),
    Reliance(
        "metaflow.plugins.argo.argo_client.ArgoClient",
        "argo.deployed_annotations",
        "to see who deployed a flow",
        takes(namespace="default"),
    ),
    Reliance(
        "metaflow.plugins.argo.argo_client.ArgoClient.get_workflow_template",
        "argo.deployed_annotations",
        "to see who deployed a flow",
        takes(None, "name"),
    ),
    Reliance(
        "metaflow.plugins.kubernetes.kubernetes_client.KubernetesClient.get",
        "argo.kubernetes_client",
        "to reach the cluster as Metaflow does",
        takes(None),
    ),
    # concurrency
    Reliance(
        "metaflow.plugins.datastores.local_storage.LocalStorage.get_datastore_root_from_config",
        "concurrency.make_folder_once",
        "to describe flows side by side in a new project",
        lambda name, _: "" if hasattr(found(name), "__func__") else "is no class method",
    ),
    Reliance(
        "metaflow.plugins.aws.step_functions.production_token._path",
        "concurrency.own_tokens",
        "to deploy flows side by side",
        tokens,
    ),
    Reliance(
        "metaflow.plugins.pypi.conda_environment.CondaEnvironment.init_environment",
        "concurrency.resolve_in_turn",
        "to make environments one after the other",
        takes(None, print),
    ),
]


@cache
def probed(folder: Path) -> Facts:
    """What the probe saw, or why it failed."""
    shutil.copy(PROBE, folder)
    (folder / "query.sql").write_text("SELECT 1")
    (folder / "other.py").write_text("")
    environment = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("METAFLOW_", "AWS_"))
    }
    environment |= {
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(folder),
        "METAFLOW_HOME": str(folder / "home"),
        "METAFLOW_USER": "tester",
    }

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, PROBE.name, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    ran = python("--quiet", "--no-pylint", "run", "--run-id-file", "run", "--amount", "3")
    if "on purpose" not in ran.stdout + ran.stderr:
        return {"failure": (ran.stderr.strip().splitlines() or ["it ends early"])[-1]}
    looked = python("look", (folder / "run").read_text())
    if looked.returncode:
        return {"failure": looked.stderr.strip().splitlines()[-1]}
    return {**json.loads(looked.stdout), "expected root": str(folder / ".metaflow")}


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return probed(tmp_path_factory.mktemp("probe"))


@pytest.mark.parametrize("reliance", RELIANCES, ids=lambda one: f"{one.name}-{one.user}")
def test_metaflow_is_inside_what_flowproject_relies_on(reliance: Reliance, facts: Facts) -> None:
    if sentence := reliance.broken(facts):
        pytest.fail(sentence, pytrace=False)


def reliance_on(name: str) -> Reliance:
    return next(one for one in RELIANCES if one.name == name)


def test_a_name_that_is_gone_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("metaflow.util.get_username")
    assert reliance_on("metaflow.util.get_username").broken({}) == (
        f"In Metaflow {version()} `metaflow.util.get_username` is gone, and flowproject needs it "
        "to name a user's branch: see `user_name` in flowproject/metaflow_internals/settings.py."
    )


def test_another_signature_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaflow.cli.main", lambda flow, words: (flow, words))
    assert reliance_on("metaflow.cli.main").broken({}) == (
        f"In Metaflow {version()} `metaflow.cli.main` takes (flow, words) and no more (..., "
        "args=..., handle_exceptions=...), and flowproject needs it to set a flow up, and to "
        "deploy it: see `run_on_command_line` in flowproject/metaflow_internals/flows.py."
    )


def test_another_behaviour_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "metaflow.plugins.namespaced_events._make_namespaced_event_name"
    monkeypatch.setattr(name, lambda event, project, branch: f"{project}.{branch}.{event}")
    assert reliance_on(name).broken({}) == (
        f"In Metaflow {version()} `{name}` gives 'p.user.me.orders' where it gave "
        "'mfns.p.user.me.orders', and flowproject needs it to send an event under the name that "
        "flows wait for: see `event_name` in flowproject/metaflow_internals/argo.py."
    )


@pytest.mark.parametrize("module", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.stem)
def test_every_import_from_inside_metaflow_has_its_case(module: Path) -> None:
    known = {one.name for one in RELIANCES}
    used = {
        f"{node.module}.{alias.name}"
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("metaflow.")
        for alias in node.names
        if node.module != "metaflow.cards"  # which is public
    }
    assert {one for one in used if not any(name.startswith(one) for name in known)} == set()


@pytest.mark.parametrize("user", sorted({one.user for one in RELIANCES}))
def test_every_case_names_what_is_there(user: str) -> None:
    module, _, name = user.partition(".")
    tree = ast.parse((PACKAGE / f"{module}.py").read_text())
    exported = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    assert name in exported
