"""`flowproject dev` as a person starts it, on a copy of this project, and all that it tells."""

import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.project_folder import ProjectFolder, make_project

__all__ = ["LocalLoop", "arrive", "demo_place", "running_loop"]

_PATIENCE = 100.0


class LocalLoop:
    """A running loop; it writes its messages as JSON, anything else that it says is kept too."""

    def __init__(self, project_folder: ProjectFolder, process: subprocess.Popen[str]) -> None:
        self.project_folder = project_folder
        self._process = process
        self._messages: list[dict[str, Any]] = []
        self._other: list[str] = []
        self._ended = False
        self._stopped = False
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def page(self) -> str:
        """The address of the page."""
        [started] = self.wait("Started")
        address: str = started["page"]
        return address

    def wait(self, kind: str, many: int = 1, **facts: Any) -> list[dict[str, Any]]:
        """The messages of a kind that have these facts, once there are that many."""
        with self._news:
            self._news.wait_for(
                lambda: self._ended or len(self._found(kind, facts)) >= many, _PATIENCE
            )
            assert len(self._found(kind, facts)) >= many, self._story()
            return self._found(kind, facts)

    def told(self, kind: str, **facts: Any) -> list[dict[str, Any]]:
        """The messages of a kind that have these facts, so far."""
        with self._news:
            return self._found(kind, facts)

    def _found(self, kind: str, facts: dict[str, Any]) -> list[dict[str, Any]]:
        wanted = {"kind": kind, **facts}
        return [
            item
            for item in self._messages
            if all(item.get(name) == value for name, value in wanted.items())
        ]

    def stop(self) -> None:
        """End it as Ctrl-C does; nothing of it is left, and it does not take its time."""
        if self._stopped:
            return
        self._stopped = True
        assert self._process.poll() is None, self._story()
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(_PATIENCE)
        finally:
            self._kill()
        assert self._process.returncode == 130, self._story()

    def _kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._reader.join()
        self._process.communicate()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._news:
                if line.startswith("{"):
                    self._messages.append(json.loads(line))
                else:
                    self._other.append(line)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _story(self) -> str:
        told = [json.dumps(item) for item in self._messages if item["kind"] != "RunPrinted"]
        return "\n".join([*told, *self._other])


def arrive(project_folder: ProjectFolder, month: str) -> None:
    """A month of weather, such as `2015-01`, is there at once and whole."""
    text = (ROOT / "data" / "incoming" / f"{month}.csv").read_text("utf-8")
    project_folder.write(f"data/weather/{month}.csv", text)


def demo_place(root: Path) -> ProjectFolder:
    """A copy of this project in an empty folder, and beside its flows one that takes its time."""
    config = (ROOT / "flowproject.toml").read_text("utf-8")
    project_folder = make_project(root, config, demo=True)
    shutil.copy(Path(__file__).parent / "talkflow.py", root)
    return project_folder


@contextmanager
def running_loop(project_folder: ProjectFolder, *, every: str) -> Iterator[LocalLoop]:
    """The loop of a project, whose sensors look so often."""
    settings = str(project_folder.root / "no-configuration")
    process = project_folder.start(
        *("-m", "flowproject", "dev", "--every", every, "--json"), METAFLOW_HOME=settings
    )
    loop = LocalLoop(project_folder, process)
    try:
        yield loop
    finally:
        loop.stop()
