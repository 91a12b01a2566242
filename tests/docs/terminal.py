"""Commands on a terminal of their own, and whether what they print is what a page shows.

What differs from run to run (moments, ids of runs, ports, seconds) is not compared, nor is how a
table is drawn. `...` stands for anything in a line; alone on a line, for any number of lines.
"""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from pathlib import Path

COLUMNS = 150
SECONDS = 120.0

_DRAWN = re.compile("\x1b\\[[0-9;?]*[A-Za-z]|[\u2500-\u257f]|[^\r\n]*[\u2800-\u28ff][^\r\n]*")
"""Colours and movements of the cursor, lines of tables, and whole lines with a spinner."""
_VARIES = [
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?([+]00:00)?"), "MOMENT"),
    (re.compile(r"\b\d\d:\d\d:\d\d\b"), "TIME"),
    (re.compile(r"\b\d{16}\b"), "RUN"),
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"\b(?=\w*\d)[0-9a-f]{8}\b"), "ID"),
    (re.compile(r"\b\d+\.\d+s?\b(?! °C)"), "SECONDS"),
    (re.compile(r"\(pid \d+\)"), "(pid)"),
]


def type_in(command: str, folder: Path, environment: dict[str, str]) -> tuple[str, int]:
    """What the command printed on a terminal, and its exit code."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    shell = subprocess.Popen(
        ["/bin/bash", "-c", command],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    limit = threading.Timer(SECONDS, os.killpg, (shell.pid, signal.SIGKILL))
    limit.start()
    try:
        printed = _read(ours)
        return printed, shell.wait()
    finally:
        limit.cancel()
        os.close(ours)


def fits(shown: str, printed: str, *, ordered: bool = True) -> bool:
    """Whether a page shows what was printed."""
    expected, actual = normal(shown), normal(printed)
    if ordered:
        pattern = "".join(_any_lines(line) or f"{_pattern(line)}\n" for line in expected)
        return bool(re.fullmatch(pattern, "".join(f"{line}\n" for line in actual)))
    left = list(actual)
    for line in expected:
        found = next((one for one in left if re.fullmatch(_pattern(line), one)), None)
        if _any_lines(line):
            continue
        if found is None:
            return False
        left.remove(found)
    return not left or "..." in expected


def normal(text: str) -> list[str]:
    """The lines of a text that say something, without what differs from run to run."""
    text = _DRAWN.sub(" ", text)
    for pattern, name in _VARIES:
        text = pattern.sub(name, text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def _any_lines(line: str) -> str:
    return r"(?:[^\n]*\n)*?" if line == "..." else ""


def _pattern(line: str) -> str:
    return r"[^\n]*".join(re.escape(part) for part in line.split("..."))


def _read(terminal: int) -> str:
    printed = b""
    while True:
        try:
            chunk = os.read(terminal, 65536)
        except OSError:  # Linux says so when the other side is closed
            chunk = b""
        if not chunk:
            return printed.decode(errors="replace").replace("\r\n", "\n")
        printed += chunk
