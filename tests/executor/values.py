"""What events become in the first pod of the runs that they start: many of them at little cost.

The way is the whole one: Sensor, workflow, validation, template, Kubernetes' expansion, Metaflow's
own `set_parameters`, and a real shell that sources what that wrote. Only the processes are shared:
one for all events, in place of a pod with a Python of its own for each.
"""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.executor.events import accepts, workflow
from tests.executor.golang import compact, is_json
from tests.executor.pods import Pod, command, variables
from tests.executor.run import Run
from tests.executor.templating import TemplateError

__all__ = ["Carried", "carry"]

_LARGEST: Final = 131_072
"""Bytes that the system allows for one argument or variable, the zero behind it included."""

_SETTING: Final = re.compile(
    r"python -m metaflow\.plugins\.argo\.set_parameters (\w+) ([^&]*) && \. `pwd`/\1"
)
# For each file its own subshell, which writes what became of it into a file beside it.
_SHELL: Final = """
for file in *.sh; do (
  if . ./$file; then for name in ${!METAFLOW_INIT_*}; do printf '%s=%s\\0' "$name" "${!name}"; done
  else printf failed; fi
) >"${file%.sh}.out" 2>"${file%.sh}.err" </dev/null; done
"""


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What a run was given, or why there is none."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """The variables of the first pod, `METAFLOW_ARGO_EVENT_PAYLOAD_…` among them."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    """`METAFLOW_INIT_…`, as the shell exports them: what Metaflow takes for Parameters."""

    refused: str = ""
    """Why no pod's step starts: the webhook, a filter, the controller, the system or the shell."""


def carry(
    sensor: Mapping[str, Any],
    template: Mapping[str, Any],
    bodies: Sequence[bytes],
    folder: Path,
    step: str = "start",
) -> list[Carried]:
    """What becomes of each posted body; `folder` is where the shell runs, and must be empty.

    Each body is an event of its own that starts a run at once, so the sensor has one dependency.
    `sensor` and `template` are the deployed objects. What a text that was executed has done lies in
    the folder: nothing but `*.sh`, `*.out` and `*.err` should.
    """
    carried = [_rendered(sensor, template, body, step) for body in bodies]
    folder.mkdir(parents=True, exist_ok=True)
    for number, (_, words) in enumerate(carried):
        _set_parameters(words, folder / f"{number:06}.sh")
    subprocess.run(["bash", "-c", _SHELL], cwd=folder, check=True, timeout=600)
    return [
        _sourced(before, folder / f"{number:06}.out") if words else before
        for number, (before, words) in enumerate(carried)
    ]


def _rendered(
    sensor: Mapping[str, Any], template: Mapping[str, Any], body: bytes, step: str
) -> tuple[Carried, list[str]]:
    """The environment of the pod, and its command; no command if there is no pod."""
    text = body.decode("utf-8", errors="replace")
    if not is_json(text):
        return Carried(refused="the webhook takes no such body"), []
    event = f'{{"body":{compact(text)}}}'
    [dependency] = sensor["spec"]["dependencies"]
    if not accepts(dependency, event):
        return Carried(refused="a filter of the sensor"), []
    made = workflow(sensor, {dependency["name"]: event})
    metadata = {"name": "flow-x7k2p", "namespace": "flows", "uid": "uid-1"}
    made["metadata"] |= metadata | {"creationTimestamp": "2026-01-01T00:00:00Z"}
    try:
        container = Run(made, template).container(step)
    except TemplateError as error:
        return Carried(refused=str(error)), []
    pod = Pod(name="flow-x7k2p-start", namespace="flows", uid="uid-2", container=container)
    environment = variables(pod, {})
    words = command(pod, environment)
    longest = max(map(_bytes, [*words, *(f"{name}={environment[name]}" for name in environment)]))
    if longest >= _LARGEST:
        return Carried(environment=environment, refused="argument list too long"), []
    return Carried(environment=environment), words


def _bytes(text: str) -> int:
    return len(text.encode()) + 1


def _set_parameters(words: Sequence[str], file: Path) -> None:
    """Do what the command does before its first step, if it does: write a file to be sourced."""
    from metaflow.plugins.argo.set_parameters import export_parameters

    found = _SETTING.search(words[-1]) if words else None
    given = [word.split(",") for word in found[2].split()] if found else []
    export_parameters(str(file), {name: (value, kind == "t") for name, kind, value in given})


def _sourced(before: Carried, out: Path) -> Carried:
    text = out.read_bytes().decode("utf-8", errors="surrogateescape")
    if text == "failed":
        told = out.with_suffix(".err").read_text("utf-8", errors="replace").strip()
        return Carried(environment=before.environment, refused=f"the shell: {told}")
    lines = [line.partition("=") for line in text.split("\0") if line]
    parameters = {name: value for name, _, value in lines}
    return Carried(environment=before.environment, parameters=parameters)
