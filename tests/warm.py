"""A Python interpreter that starts warm: a fork of a process that has imported what takes long.

A flow is a Python process for each run and each step, and most of its time is spent on imports. A
test that starts `python()` instead of `sys.executable` starts a small program that stands in for
the interpreter. It has its work done by `tests/forkserver.py`, and is itself what a parent sees: it
passes on input, output, environment and signals, and ends as the fork has ended. What the fork
starts with `sys.executable` starts warm, too.

`pods_python()` is the same for a pod of `tests/executor`: the fork goes to where the pod is (it has
mounts of its own), and has only the modules that are installed there.

It is not the same as a cold start: modules are there that the program has not imported itself, and
the fork is in a session of its own. Who asks about imports, terminals or a processor's time starts
cold; so does the demo, as a newcomer does.
"""

import functools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.sharing import end_with_the_run, one_at_a_time, owner, shared_folder

__all__ = ["commands", "pods_python", "python"]

_SERVER: Final = Path(__file__).with_name("forkserver.py")
_PATIENCE: Final = 120.0

_PODS_PYTHON: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
_KNOWN: Final = (b"PYTHONPATH", b"PYTHONUNBUFFERED", b"PYTHONDONTWRITEBYTECODE")
_OF_PODS: Final = (*_KNOWN, b"PYTHONPYCACHEPREFIX")

_STAND_IN: Final = """#!{runs_on} -IS
import _signal, _socket, posix, sys

PYTHON, words, known, home = {python!r}, sys.argv[1:], {known!r}, {home!r}

def cold(*_):
    posix.execv(PYTHON, [PYTHON, *words])

forms = [word for word in words if word != "-u"][:1]
odd = [one for one in posix.environ if one.startswith(b"PYTHON") and one not in known]
if odd or not forms or (forms[0][0] == "-" and forms[0] not in ("-c", "-m")):
    cold()
if home and words[:2] == ["-m", "pip"]:
    cold()  # it asks where the interpreter keeps its modules, and changes what is there
process, early = [], []

def pass_on(number, _):
    if not process:
        early.append(number)
    elif process[0] == process[1]:
        posix.killpg(process[1], number)
    else:
        posix.kill(process[0], number)

ignores = _signal.getsignal(_signal.SIGINT) == _signal.SIG_IGN
umask = posix.umask(0)
posix.umask(umask)
numbers = (umask, posix.getpgrp(), int(ignores), len(words))
modules = sorted(posix.listdir(home + {modules!r})) if home else []
fields = [posix.getcwdb(), *(b"%d" % one for one in numbers)]
fields += [part.encode() for part in (home and sys.argv[0], home, "/".join(modules))]
fields += [word.encode(sys.getfilesystemencoding(), "surrogateescape") for word in words]
fields += [name + b"=" + text for name, text in posix.environ.items()]
body = b"\\0".join(fields)
line = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
try:
    line.connect({address!r})
    mounts = posix.open("/proc/self/ns/mnt", posix.O_RDONLY | posix.O_CLOEXEC)
    files = b"".join(one.to_bytes(4, sys.byteorder) for one in (0, 1, 2, mounts))
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, files)]
    line.sendmsg([len(body).to_bytes(8, sys.byteorder)], rights)
except OSError:
    cold()
for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGUSR1):
    if _signal.getsignal(number) != _signal.SIG_IGN:
        _signal.signal(number, pass_on)
line.sendall(body)
told = b""
while told.count(b"\\n") < 2:
    if told.endswith(b"\\n") and not process:
        process += map(int, told.split())
        for number in early:
            pass_on(number, None)
    part = line.recv(100)
    if not part:
        posix.write(2, b"The warm process is gone\\n")
        posix._exit(70)
    told += part
ended = int(told.split(b"\\n")[1])
if ended < 0:
    if ended != -_signal.SIGKILL:
        _signal.signal(-ended, _signal.SIG_DFL)
    posix.kill(posix.getpid(), -ended)
posix._exit(ended)
"""


@functools.cache
def python() -> str:
    """The interpreter that starts warm; the usual one where the system can't keep a process."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):  # no Linux, or one in which a container may not
        return sys.executable
    with one_at_a_time("warm") as folder:
        program = folder / "python"
        if not program.exists():
            _start(folder, program)
    return str(program)


@functools.cache
def pods_python(home: str) -> tuple[str, Path] | None:
    """The program that stands in for the interpreter of pods, and the folder that it has to see.

    `home` is where a pod has its virtual environment, with an interpreter that starts cold. None
    where the system has no such thing, or where nobody but root may enter what another has mounted.
    """
    warm = python()
    if warm == sys.executable or os.geteuid() != 0:
        return None
    folder = Path(warm).parent
    text = _STAND_IN.format(
        runs_on=f"{home}/bin/{_PODS_PYTHON}",
        python=f"{home}/bin/{_PODS_PYTHON}",
        address=str(folder / "socket"),
        known=_OF_PODS,
        home=home,
        modules=f"/lib/{_PODS_PYTHON}/site-packages",
    )
    return text, folder


@functools.cache
def commands() -> Path:
    """A folder for the beginning of PATH, with `python` and `flowproject` that start warm."""
    warm = python()
    scripts = Path(sys.executable).parent
    if warm == sys.executable:
        return scripts
    folder = Path(tempfile.mkdtemp(dir=shared_folder()))
    (folder / "python").symlink_to(warm)
    command = folder / "flowproject"
    _, _, code = (scripts / "flowproject").read_text().partition("\n")
    command.write_text(f"#!{warm}\n{code}")
    command.chmod(0o755)
    return folder


def _start(folder: Path, program: Path) -> None:
    clean = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    log = folder / "log"
    with log.open("wb") as written:
        kept = subprocess.Popen(
            [sys.executable, _SERVER, folder, str(owner())],
            cwd="/",
            env=clean,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    end_with_the_run(kept.pid)
    deadline = time.monotonic() + _PATIENCE
    while not (folder / "socket").exists():
        assert kept.poll() is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kept.returncode = 0  # it outlives this worker
    text = _STAND_IN.format(
        runs_on=sys.executable,
        python=sys.executable,
        address=str(folder / "socket"),
        known=_KNOWN,
        home="",
        modules="",
    )
    staged = folder / "staged"
    staged.write_text(text)
    staged.chmod(0o755)
    staged.rename(program)
