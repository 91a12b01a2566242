"""Starts a Python interpreter that is warm: a fork of a process that has imported what takes long.

A flow is a Python process for each run and each step, busy with imports most of the time. What is
started with the program that `start` makes is done by `forkserver.py`; the program stands in for
it, and passes on input, output, environment and signals. Nothing of flowproject is imported here.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

__all__ = ["can_start", "pods_program", "start"]

_SERVER: Final = Path(__file__).with_name("forkserver.py")
_PATIENCE: Final = 120.0

_VERSIONED: Final = f"python{sys.version_info.major}.{sys.version_info.minor}"
_KNOWN: Final = (b"PYTHONPATH", b"PYTHONUNBUFFERED", b"PYTHONDONTWRITEBYTECODE")

_STAND_IN: Final = """#!{python} -IS
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


def can_start() -> bool:
    """Whether this system can keep a process for that: Linux, if not in too strict a container."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def start(folder: Path, owner: int) -> int:
    """Make the program `python` in a folder, for as long as process `owner` lives.

    The id of the process behind it comes back, which leads a session.
    """
    clean = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    log = folder / "log"
    with log.open("wb") as written:
        kept = subprocess.Popen(  # noqa: S603  # our own program
            [sys.executable, _SERVER, folder, str(owner)],
            cwd="/",
            env=clean,
            stdin=subprocess.DEVNULL,
            stdout=written,
            stderr=written,
            start_new_session=True,
        )
    deadline = time.monotonic() + _PATIENCE
    while not (folder / "socket").exists():
        if kept.poll() is not None or time.monotonic() > deadline:
            message = f"The warm process of the tests did not start: {log.read_text()}"
            raise RuntimeError(message)
        time.sleep(0.02)
    kept.returncode = 0  # it outlives who started it
    staged = folder / "staged"
    staged.write_text(_stand_in(folder, sys.executable))
    staged.chmod(0o755)
    staged.rename(folder / "python")
    return kept.pid


def pods_program(folder: Path, home: str) -> str:
    """The text of a program for pods, whose mounts are their own; `start` has been in `folder`.

    `home` is where a pod sees its virtual environment, with an interpreter that starts cold.
    """
    return _stand_in(folder, f"{home}/bin/{_VERSIONED}", home)


def _stand_in(folder: Path, python: str, home: str = "") -> str:
    return _STAND_IN.format(
        python=python,
        address=str(folder / "socket"),
        known=(*_KNOWN, b"PYTHONPYCACHEPREFIX") if home else _KNOWN,
        home=home,
        modules=f"/lib/{_VERSIONED}/site-packages",
    )
