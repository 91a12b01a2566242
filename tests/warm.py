"""A Python interpreter that starts warm: a fork of a process that has imported what takes long.

A flow is a Python process for each run and each step, and most of its time is spent on imports. A
test that starts `python()` instead of `sys.executable` starts a small program that stands in for
the interpreter (`flowproject/testing/warm.py`). What the fork starts with `sys.executable` starts
warm, too.

`pods_python()` is the same for a pod of `tests/executor`: the fork goes to where the pod is (it has
mounts of its own), and has only the modules that are installed there.

It is not the same as a cold start: modules are there that the program has not imported itself, and
the fork is in a session of its own. Who asks about imports, terminals or a processor's time starts
cold; so does the demo, as a newcomer does.
"""

import functools
import os
import sys
import tempfile
from pathlib import Path

from flowproject.testing import warm
from tests.sharing import end_with_the_run, one_at_a_time, owner, shared_folder

__all__ = ["commands", "pods_python", "python"]


@functools.cache
def python() -> str:
    """The interpreter that starts warm; the usual one where the system can't keep a process."""
    if not warm.can_start():
        return sys.executable
    with one_at_a_time("warm") as folder:
        program = folder / "python"
        if not program.exists():
            end_with_the_run(warm.start(folder, owner()))
    return str(program)


@functools.cache
def pods_python(home: str) -> tuple[str, Path] | None:
    """A program for pods to have as their Python, and the folder that it has to see.

    `home` is where a pod sees its virtual environment. None where the system has no such thing, or
    where nobody but root may enter what another process has mounted.
    """
    interpreter = python()
    if interpreter == sys.executable or os.geteuid() != 0:
        return None
    folder = Path(interpreter).parent
    return warm.pods_program(folder, home), folder


@functools.cache
def commands() -> Path:
    """A folder for the beginning of PATH, with `python` and `flowproject` that start warm."""
    interpreter = python()
    scripts = Path(sys.executable).parent
    if interpreter == sys.executable:
        return scripts
    folder = Path(tempfile.mkdtemp(dir=shared_folder()))
    (folder / "python").symlink_to(interpreter)
    command = folder / "flowproject"
    _, _, code = (scripts / "flowproject").read_text().partition("\n")
    command.write_text(f"#!{interpreter}\n{code}")
    command.chmod(0o755)
    return folder
