"""A project in a folder of its own, and its flows run as a user runs them: in a subprocess."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flowproject.changes.payload import payload
from flowproject.config.parse import load
from flowproject.journal import open_store
from flowproject.sensing import ProjectContext
from tests.conftest import ROOT
from tests.warm import python

__all__ = ["ProjectFolder", "Ran", "make_project"]

_PREFIX = re.compile(r"^[\d-]{10} [\d:.]{12} (?:\[\d+/\S+ \(pid \d+\)\] )?", re.MULTILINE)
_RUN_ID = re.compile(r"run-id (\d+)")
_PATIENCE = 240


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a command or a flow said, without Metaflow's time and task before each line."""

    code: int
    text: str
    run_id: str = ""

    @property
    def lines(self) -> list[str]:
        return [line.strip() for line in self.text.splitlines() if line.strip()]

    def said(self) -> Any:
        """What the flow told the test: one line of JSON."""
        [line] = [line for line in self.lines if line.startswith("SAID ")]
        return json.loads(line.removeprefix("SAID "))


@dataclass(frozen=True, kw_only=True)
class ProjectFolder:
    """A project, and the environment that its flows run in."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    interpreter: str = field(default_factory=python)

    def cold(self) -> "ProjectFolder":
        """The same project, whose processes the interpreter itself starts, as a user's."""
        return replace(self, interpreter=sys.executable)

    def start(
        self, *command: str, cwd: Path | None = None, **environment: str
    ) -> subprocess.Popen[str]:
        """A Python process in a process group of its own, so that it can be killed whole."""
        return subprocess.Popen(
            [self.interpreter, *command],
            cwd=cwd or self.root,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )

    def python(self, *command: str, cwd: Path | None = None, **environment: str) -> Ran:
        process = self.start(*command, cwd=cwd, **environment)
        text, _ = process.communicate(timeout=_PATIENCE)
        found = _RUN_ID.search(text)
        return Ran(
            code=process.returncode,
            text=_PREFIX.sub("", text),
            run_id=found[1] if found else "",
        )

    def run(self, file: str, *arguments: str, **environment: str) -> Ran:
        return self.python(file, "run", *arguments, **environment)

    def command(self, *arguments: str, cwd: Path | None = None) -> Ran:
        return self.python("-m", "flowproject", *arguments, cwd=cwd)

    def write(self, name: str, text: str) -> None:
        """Put a file there whole: nobody sees a part of it."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = self.root / "staged"
        staged.write_text(text)
        staged.rename(path)

    def journal(self) -> dict[str, tuple[int, bytes]]:
        """Every file of the journal with its modification time and its content."""
        folder = self.root / ".metaflow" / "flowproject"
        return {
            str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
            for path in sorted(folder.rglob("*"))
            if path.is_file() and "dev/" not in str(path)
        }

    def history(self, sensor: str = "") -> list[dict[str, Any]]:
        """The entries of the journal, newest first."""
        told: list[dict[str, Any]] = json.loads(
            self.command("history", *([sensor] if sensor else []), "--json").text
        )
        return told

    def context(self) -> ProjectContext:
        """The project as `SensorFlow` sees it, for ticks in this process: they cost no run."""
        store = open_store(str(self.root / ".metaflow"))
        return ProjectContext(
            project=load(self.root), root=self.root, store=store, branch="user.tester"
        )

    def event(self, sensor: str, seq: int, *, attempt: int = 1) -> dict[str, str]:
        """The variable in which Argo brings a recorded change to each step of a run."""
        journal = self.context().journal(sensor)
        entry = journal.get(seq)
        assert entry
        message = payload(
            entry, payload_key="value", location=journal.entry_key(seq), attempt=attempt
        )
        # The name that Metaflow's compiler to Argo gives it: type, sanitized event, hash.
        name = f"METAFLOW_ARGO_EVENT_PAYLOAD_event_mfns_demo_user_tester_{sensor}_changed_c0ffee"
        event = f"mfns.demo.user.tester.{sensor}_changed"
        return {name: json.dumps({"name": event, "timestamp": 1, **message})}

    def wait_until(self, condition: Callable[[], bool], seconds: float = _PATIENCE) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)


def make_project(
    root: Path, config: str, *, demo: bool = False, **environment: str
) -> ProjectFolder:
    """A project in an empty folder: its configuration and our own flows, the starter if asked."""
    mine = ("baseflow.py", "sensorflow.py")
    for name in (*mine, *(["starterflow.py", "forecast.py"] if demo else [])):
        shutil.copy(ROOT / name, root)
    for name in ("sql", "data") if demo else ():
        shutil.copytree(ROOT / name, root / name)
    (root / "flowproject.toml").write_text(config)
    own = {"METAFLOW_DATASTORE_SYSROOT_LOCAL": str(root), "PYTHONPATH": str(ROOT)}
    return ProjectFolder(root=root, environment={**os.environ, **own, **environment})
