"""One run of a workflow: its templates are walked through, its pods run, its nodes written.

The order of substitutions is the controller's: values into the spec, then for each template the
workflow's values, the inputs, and once more for the pod; so a tag inside a value is met as there.
"""

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

from tests.executor.expressions import ExpressionError, evaluate
from tests.executor.pods import Ended, Machine, NotStartedError, Pod
from tests.executor.templating import TemplateError, go_quoted, nested, replace, tags

__all__ = ["Run"]

_LABEL: Final = "workflows.argoproj.io"
_FULFILLED: Final = ("Succeeded", "Failed", "Error")
_ALL_PARAMETERS: Final = 520_000
"""Bytes: with 500,000 workflows of Argo 4.1.2 ran, with 540,000 they ended in Error."""

_CHECKED: Final = ("steps.", "inputs.", "outputs.", "pod.", "workflow.", "tasks.", "item")
"""What a tag must begin with for the controller to mind whether it knows it."""

_ALWAYS_KNOWN: Final = (
    "outputs.",
    "workflow.creationTimestamp",
    "workflow.scheduledTime",
    "workflow.duration",
    "workflow.status",
    "workflow.failures",
    "workflow.labels",
    "workflow.annotations",
    "pod.name",
    "tasks.name",
    "steps.name",
)

_INNER: Final = re.compile(r"^(\[\d+\])?\.")
"""What stands between the name of a DAG or of steps and those of their parts."""

Values = dict[str, str | None]


class _StuckError(Exception):
    """The controller waits for something that never comes: the run stays as it is."""


@dataclass
class Node:
    """What became of one template, step or task; `status` is what Argo writes of it."""

    name: str
    kind: str
    template: str
    boundary: str
    phase: str = "Running"
    message: str = ""
    outputs: dict[str, str | None] = field(default_factory=dict)
    children: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.time)
    ended: float | None = None

    def end(self, phase: str, message: str = "") -> "Node":
        self.phase, self.message, self.ended = phase, message, time.time()
        return self


class Run:
    """A workflow on its way: `go` returns when it has ended, or when it will never go on."""

    def __init__(
        self,
        workflow: Mapping[str, Any],
        template: Mapping[str, Any],
    ) -> None:
        """Take the workflow, and the template that it refers to."""
        self._metadata = workflow["metadata"]
        self.name: str = self._metadata["name"]
        self._spec = _joined(workflow["spec"], template["spec"])
        self._templates = {one["name"]: one for one in self._spec.get("templates") or ()}
        self._nodes: dict[str, Node] = {}
        self._before = _succeeded(workflow.get("status") or {})
        self._values = self._own_values()

    def go(
        self,
        machine: Machine,
        write: Callable[[Mapping[str, Any]], None],
        pause: Callable[[float], None],
    ) -> None:
        """Run it to its end on a machine; `write` changes the object on the server."""
        self._machine, self._write, self._pause = machine, write, pause
        try:
            self._validate()
        except TemplateError as error:
            self._end("Failed", f"invalid spec: {error}")
            return
        spec = {name: part for name, part in self._spec.items() if name != "templates"}
        try:
            self._spec = replace(spec, self._values)
        except TemplateError:
            return  # as the controller does: no phase, no message, no event
        self._begin()
        try:
            self._walk()
        except _StuckError:
            self._save()

    def container(self, template: str) -> dict[str, Any]:
        """The container of a template without inputs, as the pod of its first attempt gets it.

        Raises `TemplateError` if the run never comes to that.
        """
        self._validate()
        replace(
            {name: self._spec[name] for name in self._spec if name != "templates"}, self._values
        )
        node = Node(f"{self.name}.{template}", "Pod", template, self.name)
        local: Values = {"pod.name": self._pod_name(node), "node.name": node.name, "retries": "0"}
        rendered = self._rendered(self._templates[template], {}, local)
        container: dict[str, Any] = replace(rendered["container"], self._values | local)
        return container

    def _walk(self) -> None:
        arguments = _parameters(self._spec.get("arguments"))
        node = self._execute(self.name, self._spec["entrypoint"], arguments, boundary="")
        phase, message = node.phase, node.message
        phase = phase if phase in _FULFILLED else "Succeeded"
        self._values["workflow.status"] = phase
        self._values["workflow.failures"] = f'"{go_quoted(json.dumps(self._failures()))}"'
        hooks = self._spec.get("hooks") or {}
        for name, hook in hooks.items():
            if name != "exit" and evaluate(hook["expression"], nested(self._values)):
                self._execute(f"{self.name}.hooks.{name}", hook["template"], {}, boundary="")
        last = self._spec.get("onExit") or hooks.get("exit", {}).get("template")
        if last:
            left = self._execute(f"{self.name}.onExit", last, arguments, boundary="")
            if phase == "Succeeded" and left.phase in {"Failed", "Error"}:
                phase, message = left.phase, left.message
        total = sum(len((value or "").encode()) for value in arguments.values())
        if total > _ALL_PARAMETERS:
            phase, message = "Error", "the workflow's parameters are too large to be kept with it"
        self._end(phase, message)

    # ------------------------------------------------------------------------- values

    def _own_values(self) -> Values:
        """What every template of the run may refer to."""
        created = str(self._metadata["creationTimestamp"])
        annotations = self._metadata.get("annotations") or {}
        arguments = (self._spec.get("arguments") or {}).get("parameters") or []
        values: Values = {
            "workflow.name": self.name,
            "workflow.namespace": self._metadata["namespace"],
            "workflow.uid": self._metadata["uid"],
            "workflow.mainEntrypoint": self._spec["entrypoint"],
            "workflow.serviceAccountName": self._spec.get("serviceAccountName") or "",
            "workflow.creationTimestamp": created,
            "workflow.creationTimestamp.RFC3339": created,
            "workflow.parameters": json.dumps(arguments),
            "workflow.parameters.json": json.dumps(arguments),
        }
        if scheduled := annotations.get(f"{_LABEL}/scheduled-time"):
            values["workflow.scheduledTime"] = scheduled
        own = _parameters(self._spec.get("arguments"))
        return values | {f"workflow.parameters.{name}": value for name, value in own.items()}

    def _validate(self) -> None:
        """Refuse what the controller refuses before it makes any pod. Raises `TemplateError`."""
        for parameter in (self._spec.get("arguments") or {}).get("parameters") or ():
            if parameter.get("value") is None:
                name = parameter["name"]
                raise TemplateError(f"spec.arguments.{name}.value is required")
        for template in self._templates.values():
            inputs = {one["name"] for one in _inputs(template)}
            rendered = replace(replace(template, self._values), self._values)
            tasks = {one["name"] for one in _tasks(template)}
            for tag in tags(rendered):
                if tag.startswith(_CHECKED) and not _is_known(tag, inputs, tasks, self._values):
                    raise TemplateError(f"failed to resolve {{{{{tag}}}}}")

    # -------------------------------------------------------------------------- nodes

    def _execute(
        self, name: str, template: str, arguments: Mapping[str, str | None], *, boundary: str
    ) -> Node:
        """Run a template to its end; one that succeeded in an earlier attempt counts."""
        node = Node(name, _kind(self._templates[template]), template, boundary)
        if name in self._before:
            node.outputs = self._before[name]
            return self._keep(node.end("Succeeded"))
        self._nodes[name] = node
        local: Values = {"node.name": name}
        if "retryStrategy" not in self._templates[template]:
            local["pod.name"] = self._pod_name(node)
        try:
            rendered = self._rendered(self._templates[template], arguments, local)
            return self._keep(self._dispatch(node, rendered))
        except TemplateError as error:
            return self._keep(node.end("Error", str(error)))

    def _dispatch(self, node: Node, template: Mapping[str, Any]) -> Node:
        if "dag" in template:
            return self._dag(node, template)
        if "steps" in template:
            return self._steps(node, template)
        if "http" in template:
            return _request(node, template["http"])
        if template.get("daemon") or "container" not in template:
            raise NotImplementedError(f"template {template['name']!r} is of no kind known here")
        if template.get("retryStrategy"):
            return self._attempts(node, template)
        return self._pod(node, template)

    def _rendered(
        self, template: Mapping[str, Any], arguments: Mapping[str, str | None], local: Values
    ) -> dict[str, Any]:
        """The template with its inputs filled in, and everything replaced that is known by now."""
        parameters = []
        for one in _inputs(template):
            value = arguments.get(one["name"], one.get("value", one.get("default")))
            if value is None:
                raise TemplateError(f"inputs.parameters.{one['name']} was not supplied")
            parameters.append({**one, "value": value})
        filled = {**template, "inputs": {"parameters": parameters}}
        return self._substituted(filled, local)

    def _substituted(self, template: Mapping[str, Any], local: Values) -> dict[str, Any]:
        first = replace(template, self._values | local)
        inputs: Values = {
            f"inputs.parameters.{one['name']}": one["value"] for one in _inputs(first)
        }
        whole: dict[str, Any] = replace(first, self._values | local | inputs)
        return whole

    # -------------------------------------------------------------------------- tasks

    def _dag(self, node: Node, template: Mapping[str, Any]) -> Node:
        tasks = {task["name"]: task for task in template["dag"]["tasks"]}
        needs = {name: _needs(task, tasks) for name, task in tasks.items()}
        done: dict[str, Node] = {}
        with ThreadPoolExecutor(len(tasks)) as pool:
            running: dict[Future[Node], str] = {}
            waiting = list(tasks)
            while waiting or running:
                for name in [one for one in waiting if needs[one] <= done.keys()]:
                    waiting.remove(name)
                    scope = self._scope("tasks", {n: done[n] for n in _ancestry(name, needs)})
                    work = pool.submit(self._task, node, tasks[name], done.copy(), scope)
                    running[work] = name
                ready, _ = wait(running, return_when=FIRST_COMPLETED)
                for work in ready:
                    done[running.pop(work)] = work.result()
        phase = _phase_of_dag(needs, done)
        if phase == "Succeeded":
            return self._succeeded(node, template, self._scope("tasks", done))
        return node.end(phase)

    def _task(
        self, parent: Node, task: Mapping[str, Any], done: Mapping[str, Node], scope: Values
    ) -> Node:
        """One task of a DAG, expanded over its items if it has any."""
        node = Node(f"{parent.name}.{task['name']}", "Skipped", task["template"], parent.name)
        try:
            depends = task.get("depends")
            if depends and not evaluate(depends, _results(done)):
                return self._keep(node.end("Omitted", "omitted: depends condition not met"))
            return self._step(node, task, self._values | scope)
        except (TemplateError, ExpressionError) as error:
            if isinstance(error, TemplateError) and error.missing:
                raise _StuckError from error
            return self._keep(node.end("Error", str(error)))

    def _step(self, node: Node, step: Mapping[str, Any], values: Values) -> Node:
        """A task or step whose turn it is: its condition, its arguments, its items, its template.

        Raises `TemplateError`, `ExpressionError`.
        """
        strict = ("tasks", "steps")
        if "when" in step and "withParam" not in step:
            condition = replace(step["when"], values, strict)
            if not _holds(condition):
                reason = f"when '{condition}' evaluated false"
                return self._keep(node.end("Skipped", reason))
        resolved = replace(step, values, strict)
        if "withParam" not in step:
            arguments = _parameters(resolved.get("arguments"))
            return self._execute(node.name, step["template"], arguments, boundary=node.boundary)
        return self._group(node, resolved, values)

    def _group(self, node: Node, step: Mapping[str, Any], values: Values) -> Node:
        items = json.loads(step["withParam"])
        if not items:
            return self._keep(node.end("Skipped", "Skipped, empty params"))
        self._nodes[node.name] = node
        node.kind = "TaskGroup"

        def one(number: int, item: Any) -> Node:
            text = item if isinstance(item, str) else json.dumps(item)
            each = replace({**step, "withParam": None}, values | {"item": text})
            name = f"{node.name}({number}:{text})"
            if "when" in each and not _holds(each["when"]):
                skipped = Node(name, "Skipped", step["template"], node.boundary)
                return self._keep(skipped.end("Skipped", f"when '{each['when']}' evaluated false"))
            arguments = _parameters(each.get("arguments"))
            return self._execute(name, step["template"], arguments, boundary=node.boundary)

        with ThreadPoolExecutor(len(items)) as pool:
            children = list(pool.map(one, count(), items))
        node.children = [child.name for child in children]
        bad = [child.phase for child in children if child.phase in {"Failed", "Error"}]
        return self._keep(node.end(bad[-1] if bad else "Succeeded"))

    def _steps(self, node: Node, template: Mapping[str, Any]) -> Node:
        done: dict[str, Node] = {}
        for number, group in enumerate(template["steps"]):
            values = self._values | self._scope("steps", done)
            for step in group:
                name = f"{node.name}[{number}].{step['name']}"
                child = Node(name, "Skipped", step["template"], node.name)
                try:
                    done[step["name"]] = self._step(child, step, values)
                except (TemplateError, ExpressionError) as error:
                    return node.end("Error", str(error))
            bad = [done[one["name"]] for one in group if done[one["name"]].phase in _BAD]
            if bad:
                return node.end("Failed", f"child '{self._id(bad[0].name)}' failed")
        return self._succeeded(node, template, self._scope("steps", done))

    def _succeeded(self, node: Node, template: Mapping[str, Any], scope: Values) -> Node:
        """A DAG or steps at their good end, with the outputs that they take from their parts."""
        for one in (template.get("outputs") or {}).get("parameters") or ():
            source = one["valueFrom"]
            if "parameter" in source:
                node.outputs[one["name"]] = replace(source["parameter"], self._values | scope)
            else:
                value = evaluate(source["expression"], nested(self._values | scope))
                node.outputs[one["name"]] = value
        return node.end("Succeeded")

    def _scope(self, prefix: str, done: Mapping[str, Node]) -> Values:
        """What later parts may know of those that are done."""
        scope: Values = {}
        for name, node in done.items():
            scope |= {
                f"{prefix}.{name}.id": self._id(node.name),
                f"{prefix}.{name}.status": node.phase,
            }
            outputs = dict(node.outputs)
            if node.phase in {"Skipped", "Omitted"}:
                declared = (self._templates[node.template].get("outputs") or {}).get("parameters")
                outputs = {
                    one["name"]: (one.get("valueFrom") or {}).get("default")
                    for one in declared or ()
                }
            scope |= {f"{prefix}.{name}.outputs.parameters.{key}": outputs[key] for key in outputs}
        return scope

    # --------------------------------------------------------------------------- pods

    def _attempts(self, node: Node, template: Mapping[str, Any]) -> Node:
        """A pod and, as its retry strategy says, others after it: the same step in the same run."""
        strategy = template["retryStrategy"]
        node.kind = "Retry"
        last: Values = {"exitCode": "0", "duration": "0", "status": "", "message": ""}
        for number in count():
            child = Node(f"{node.name}({number})", "Pod", node.template, node.boundary)
            self._nodes[child.name] = child
            node.children.append(child.name)
            local: Values = {f"lastRetry.{name}": value for name, value in last.items()}
            local |= {"retries": str(number), "pod.name": self._pod_name(child)}
            self._keep(self._pod(child, self._substituted(template, local)))
            if child.phase == "Succeeded":
                node.outputs = child.outputs
                return node.end("Succeeded")
            if not _is_retried(strategy, child.phase):
                return node.end(child.phase, child.message)
            if number >= int(strategy.get("limit") or 0):
                return node.end(child.phase, "No more retries left")
            last |= {"status": child.phase, "message": child.message}
            self._pause(_backoff(strategy.get("backoff") or {}, number))
        raise AssertionError("count() has no end")

    def _pod(self, node: Node, template: Mapping[str, Any]) -> Node:
        self._save()
        values: Values = {f"inputs.parameters.{p['name']}": p["value"] for p in _inputs(template)}
        name = self._pod_name(node)
        container = replace(template["container"], self._values | values | {"pod.name": name})
        seconds = template.get("activeDeadlineSeconds")
        pod = Pod(
            name=name,
            namespace=self._metadata["namespace"],
            uid=f"uid-of-{name}",
            container=container,
            labels=(template.get("metadata") or {}).get("labels") or {},
            service_account=template.get("serviceAccountName") or "default",
            seconds=float(seconds) if seconds else None,
        )
        try:
            ended = self._machine.run(pod)
        except NotStartedError as error:
            node.phase, node.message = "Pending", str(error)
            raise _StuckError from error
        return _after_pod(node, template, ended)

    def _pod_name(self, node: Node) -> str:
        if node.name == self.name:
            return self.name
        return f"{self.name}-{node.template}-{_fnv(node.name)}"

    def _id(self, name: str) -> str:
        return self.name if name == self.name else f"{self.name}-{_fnv(name)}"

    # ------------------------------------------------------------------------- status

    def _begin(self) -> None:
        told = self._spec.get("workflowMetadata") or {}
        labels = {
            **(told.get("labels") or {}),
            f"{_LABEL}/workflow-template": self._spec["workflowTemplateRef"]["name"],
            f"{_LABEL}/phase": "Running",
        }
        change = {"labels": labels, "annotations": told.get("annotations") or {}}
        self._write({"metadata": change, "status": {"phase": "Running", "startedAt": _time()}})

    def _keep(self, node: Node) -> Node:
        self._nodes[node.name] = node
        return node

    def _save(self) -> None:
        self._write({"status": {"nodes": self._statuses()}})

    def _end(self, phase: str, message: str) -> None:
        labels = {f"{_LABEL}/phase": phase, f"{_LABEL}/completed": "true"}
        status = {"phase": phase, "message": message, "finishedAt": _time()}
        nodes = {"nodes": self._statuses()}
        self._write({"metadata": {"labels": labels}, "status": status | nodes})

    def _statuses(self) -> dict[str, Any]:
        return {self._id(node.name): self._status(node) for node in list(self._nodes.values())}

    def _status(self, node: Node) -> dict[str, Any]:
        outputs = [{"name": name, "value": value} for name, value in node.outputs.items()]
        return {
            "id": self._id(node.name),
            "name": node.name,
            "displayName": _INNER.sub("", node.name.removeprefix(node.boundary)),
            "type": node.kind,
            "templateName": node.template,
            "phase": node.phase,
            "message": node.message,
            "startedAt": _time(node.began),
            "finishedAt": _time(node.ended) if node.ended else None,
            "children": [self._id(child) for child in node.children],
            **({"boundaryID": self._id(node.boundary)} if node.boundary else {}),
            **({"outputs": {"parameters": outputs}} if outputs else {}),
        }

    def _failures(self) -> list[dict[str, Any]]:
        return [
            {
                "displayName": status["displayName"],
                "message": status["message"],
                "templateName": status["templateName"],
                "phase": status["phase"],
                "podName": self._pod_name(node),
                "finishedAt": status["finishedAt"],
            }
            for node in self._nodes.values()
            if node.phase in _BAD and (status := self._status(node))
        ]


_BAD: Final = ("Failed", "Error")


def _joined(own: Mapping[str, Any], template: Mapping[str, Any]) -> dict[str, Any]:
    """The spec that runs: the template's, with the workflow's parameters in place of its own."""
    parameters = {
        one["name"]: dict(one) for one in (template.get("arguments") or {}).get("parameters") or ()
    }
    for one in (own.get("arguments") or {}).get("parameters") or ():
        parameters[one["name"]] = parameters.get(one["name"], {}) | one
    return {
        "entrypoint": template["entrypoint"],
        "arguments": {"parameters": list(parameters.values())},
        **{
            name: part for name, part in template.items() if name not in {"entrypoint", "arguments"}
        },
        "workflowTemplateRef": own["workflowTemplateRef"],
    }


def _parameters(arguments: Mapping[str, Any] | None) -> dict[str, str | None]:
    return {one["name"]: one.get("value") for one in (arguments or {}).get("parameters") or ()}


def _inputs(template: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return (template.get("inputs") or {}).get("parameters") or ()


def _tasks(template: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    steps = [step for group in template.get("steps") or () for step in group]
    return [*steps, *(template.get("dag") or {}).get("tasks", ())]


def _kind(template: Mapping[str, Any]) -> str:
    kinds = {"dag": "DAG", "steps": "Steps", "http": "HTTP"}
    return next((kinds[name] for name in kinds if name in template), "Pod")


def _is_known(tag: str, inputs: set[str], tasks: set[str], values: Mapping[str, Any]) -> bool:
    if tag in values or tag.startswith(_ALWAYS_KNOWN):
        return True
    if tag.startswith(("tasks.", "steps.")):
        return tag.split(".")[1] in tasks
    if tag.startswith("inputs.parameters."):
        return tag.removeprefix("inputs.parameters.") in inputs
    return tag.startswith("item") and bool(tasks)


def _succeeded(status: Mapping[str, Any]) -> dict[str, dict[str, str | None]]:
    """Name → outputs of the nodes of an earlier attempt at the run that need not run again."""
    return {
        node["name"]: {
            one["name"]: one.get("value")
            for one in (node.get("outputs") or {}).get("parameters") or ()
        }
        for node in (status.get("nodes") or {}).values()
        if node["phase"] == "Succeeded" and ".onExit" not in node["name"]
    }


def _needs(task: Mapping[str, Any], tasks: Iterable[str]) -> set[str]:
    """The tasks that a `depends` names."""
    words = {word.partition(".")[0] for word in _words(task.get("depends") or "")}
    return words & set(tasks)


def _words(expression: str) -> list[str]:
    return expression.translate(str.maketrans("()&|!", "     ")).split()


def _ancestry(name: str, needs: Mapping[str, set[str]]) -> set[str]:
    return needs[name].union(*(_ancestry(one, needs) for one in needs[name]))


def _results(done: Mapping[str, Node]) -> dict[str, dict[str, bool]]:
    phases = {"Succeeded", "Failed", "Skipped", "Omitted"}
    return {
        name: {phase: node.phase == phase for phase in phases} | {"Errored": node.phase == "Error"}
        for name, node in done.items()
    }


def _phase_of_dag(needs: Mapping[str, set[str]], done: Mapping[str, Node]) -> str:
    """That of its last tasks; one that did not run counts as what it waited for."""

    def branch(name: str) -> str:
        if done[name].phase in _FULFILLED:
            return done[name].phase
        phases = [branch(one) for one in sorted(needs[name])]
        return next((one for one in phases if one in _BAD), "Succeeded")

    needed = set().union(*needs.values())
    phases = [branch(name) for name in sorted(needs.keys() - needed)]
    return next((one for one in phases if one in _BAD), "Succeeded")


def _holds(condition: str) -> bool:
    value = evaluate(condition, {}, words_are_text=True)
    if not isinstance(value, bool):
        raise ExpressionError(f"Expected boolean evaluation for '{condition}'. Got {value}")
    return value


def _is_retried(strategy: Mapping[str, Any], phase: str) -> bool:
    policies = {"Always": _BAD, "OnFailure": ("Failed",), "OnError": ("Error",)}
    return phase in policies[strategy.get("retryPolicy") or "OnFailure"]


def _backoff(backoff: Mapping[str, Any], number: int) -> float:
    """Seconds between an attempt and the next."""
    text = str(backoff.get("duration") or "0s")
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1])
    seconds = float(text[:-1]) * unit if unit else float(text)
    return seconds * float(backoff.get("factor") or 1) ** number


def _after_pod(node: Node, template: Mapping[str, Any], ended: Ended) -> Node:
    if ended.overdue:
        return node.end("Failed", "Pod was active on the node longer than the specified deadline")
    if ended.code:
        reason = "OOMKilled" if ended.code == 137 else "Error"
        told = f": {ended.log}" if ended.log else ""
        return node.end("Failed", f"main: {reason} (exit code {ended.code}){told}")
    for one in (template.get("outputs") or {}).get("parameters") or ():
        source = one["valueFrom"]
        value = ended.output(source["path"])
        if value is None and "default" not in source:
            return node.end("Error", f"open {source['path']}: no such file or directory")
        node.outputs[one["name"]] = value if value is not None else source["default"]
    return node.end("Succeeded")


def _request(node: Node, http: Mapping[str, Any]) -> Node:
    """What a template of the kind HTTP does."""
    headers = {one["name"]: one["value"] for one in http.get("headers") or ()}
    headers.setdefault("Content-Type", "")  # urllib would call the body a form; Argo says nothing
    body = http.get("body")
    request = urllib.request.Request(  # noqa: S310  # the template's own address
        http["url"],
        method=http.get("method") or "GET",
        headers=headers,
        data=body.encode() if body else None,
    )
    try:
        with urllib.request.urlopen(request, timeout=30):  # noqa: S310
            return node.end("Succeeded")
    except OSError as error:
        if http.get("successCondition") == "true == true":
            return node.end("Succeeded")
        return node.end("Failed", str(error))


def _fnv(text: str) -> int:
    """The hash of 32 bits that Argo gives a node for a name."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def _time(moment: float | None = None) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
