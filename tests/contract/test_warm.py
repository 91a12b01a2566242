"""An interpreter that starts warm does what a cold one does, as far as a program can tell."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.running_loop import wait_for
from tests.warm import python

PROGRAMS = {
    "it ends well": "print('é', flush=True)",
    "it ends with a number": "import sys; sys.exit(7)",
    "it ends with words": "import sys; sys.exit('no more')",
    "it fails": "def f():\n    return 1 / 0\nprint('so far')\nf()",
    "it is no Python": "this is no Python",
    "it has arguments": "import sys; print(sys.argv)",
    "it knows where it is": "import os, sys; print(os.getcwd(), sys.path[0])",
    "it has an environment": "import os; print(sorted(os.environ.items()))",
    "it reads": "print(input() + '!')",
    "it complains": "import sys; print('out'); print('err', file=sys.stderr)",
    "it has last words": "import atexit; atexit.register(print, 'last')",
    "its threads go on": "import threading, time\n"
    "threading.Thread(target=lambda: (time.sleep(0.05), print('thread'))).start()",
    "it dies": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "it kills itself": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "it is interrupted": "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    "it is main": "import sys; print(__name__, vars(sys.modules['__main__']) is globals())",
    "its classes have sources": "import inspect\nclass A:\n    a = 1\nprint(inspect.getsource(A))",
    "its stack is its own": "import traceback; print(''.join(traceback.format_stack()[-1:]))",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder, on a system that can keep a process."""
    if python() == sys.executable:
        pytest.skip("nothing starts warm here: the system has no pidfd_open")
    return tmp_path


def ends(interpreter: str, folder: Path, *words: str, **environment: str) -> tuple[Any, ...]:
    """How a program ends, and what it says meanwhile."""
    done = subprocess.run(
        [interpreter, *words],
        cwd=folder,
        env={**os.environ, "METAFLOW_DATASTORE_SYSROOT_LOCAL": "/nowhere", **environment},
        input="something\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_ends_and_says_the_same(folder: Path, program: str) -> None:
    (folder / "program.py").write_text(PROGRAMS[program])
    warm = ends(python(), folder, "program.py", "a b", "-c")
    assert warm == ends(sys.executable, folder, "program.py", "a b", "-c")


@pytest.mark.parametrize(
    "words",
    [
        ("-c", "import sys; print(sys.argv, sys.path[0])", "-x"),
        ("-m", "package.module", "-x"),
        ("-u", "program.py", "-x"),
        ("no-such-program.py",),
        ("-X", "utf8", "-c", "import sys; print(sys.flags.utf8_mode)"),
    ],
)
def test_it_is_told_what_to_run_in_every_way(folder: Path, words: tuple[str, ...]) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "module.py").write_text("import sys; print(sys.argv, sys.path[0])")
    (folder / "program.py").write_text("import sys; print(sys.argv, sys.stdout.write_through)")
    code, out, err = ends(python(), folder, *words)
    cold = ends(sys.executable, folder, *words)
    assert (code, out, bool(err)) == (*cold[:2], bool(cold[2]))


def test_what_it_needs_is_there_already_and_what_it_starts_has_that_too(folder: Path) -> None:
    ask = "import sys; print([one in sys.modules for one in ('pandas', 'metaflow.task')])"
    start = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ask!r}])"
    assert ends(python(), folder, "-c", start)[1] == "[True, True]\n"


def test_metaflow_has_the_settings_of_each_environment(folder: Path) -> None:
    ask = "from metaflow.metaflow_config import *; print(DATASTORE_SYSROOT_LOCAL, USER)"
    for name in ("ann", "bob", "ann"):
        told = ends(python(), folder, "-c", ask, METAFLOW_USER=name)[1]
        assert told == f"/nowhere {name}\n"


WAITING = """
import os, subprocess, sys, time
if len(sys.argv) == 1:
    child = subprocess.Popen([sys.executable, __file__, "child"])
open(f"pid{len(sys.argv)}", "w").write(str(os.getpid()))
time.sleep(100)
"""


def waiting(folder: Path) -> tuple["subprocess.Popen[bytes]", list[int]]:
    """A program that waits, with a child that waits: what was started, and who works for it."""
    (folder / "program.py").write_text(WAITING)
    command = [python(), "program.py"]
    process = subprocess.Popen(command, cwd=folder, start_new_session=True)
    marks = [folder / "pid1", folder / "pid2"]
    wait_for(lambda: all(mark.exists() and mark.read_text() for mark in marks))
    return process, [int(mark.read_text()) for mark in marks]


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_who_kills_its_group_kills_all_of_it(folder: Path, number: signal.Signals) -> None:
    process, workers = waiting(folder)
    os.killpg(process.pid, number)
    assert process.wait(60) == -number
    wait_for(lambda: not any(map(is_there, workers)))


def test_who_kills_its_group_from_within_kills_all_of_it(folder: Path) -> None:
    process, workers = waiting(folder)
    os.killpg(os.getpgid(workers[1]), signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    wait_for(lambda: not any(map(is_there, workers)))


def test_a_signal_is_passed_on(folder: Path) -> None:
    say = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(3)); "
    say += "open('ready', 'w'); time.sleep(100)"
    process = subprocess.Popen([python(), "-c", say], cwd=folder)
    wait_for((folder / "ready").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 3
