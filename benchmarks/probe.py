"""One way to do it, in a process of its own: seconds, CPU and the most memory it ever had.

`report` is for the process that does it, `probe` for the one that asks. What a method imports is
loaded before the clock starts: every flow has paid for that already. What it opens is timed.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["ENVIRONMENT", "PEERS_PYTHON", "Probe", "probe", "report"]

ENVIRONMENT: Final = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Of whoever talks to the replay server, which takes everybody."""

_ROOT: Final = Path(__file__).resolve().parent.parent

PEERS_PYTHON: Final = _ROOT / ".venv-peers/bin/python"
"""The environment of what flowproject does not need, and may not fit beside it."""

_PATIENCE: Final = 1800
_MEGABYTE: Final = 1e6


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Seconds of the clock and of all processors, the most memory at any time, and what it said."""

    wall: float
    cpu: float
    peak_mb: float
    said: dict[str, Any]


def report(work: Callable[[], Mapping[str, Any]]) -> None:
    """Do it once and print the figures, with what it returns."""
    cpu, wall = _cpu(), time.perf_counter()
    said = work()
    wall = time.perf_counter() - wall
    figures = {"wall": wall, "cpu": _cpu() - cpu, "peak_mb": _peak_mb(), "said": said}
    print(json.dumps(figures), flush=True)
    os._exit(0)  # what a method would still clear up is not its cost, and may take seconds


def probe(
    module: str,
    *arguments: object,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
    told: str = "",
) -> Probe:
    """The figures of `python -m <module> <arguments>`, which reads what it is `told`."""
    ended = subprocess.run(
        [python, "-m", module, *map(str, arguments)],
        cwd=_ROOT,
        env={**os.environ, **ENVIRONMENT, **(environment or {})},
        input=told,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if ended.returncode:
        raise RuntimeError(f"{module} failed:\n{ended.stdout}{ended.stderr}")
    return Probe(**json.loads(ended.stdout.splitlines()[-1]))


def _cpu() -> float:
    """The seconds that this process and its children have computed."""
    whose: Sequence[int] = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = map(resource.getrusage, whose)
    return sum(each.ru_utime + each.ru_stime for each in used)


def _peak_mb() -> float:
    """The most memory that this process, or the largest of its children, ever had."""
    children = _resident(resource.RUSAGE_CHILDREN)
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except FileNotFoundError:
        return max(children, _resident(resource.RUSAGE_SELF)) / _MEGABYTE
    # ru_maxrss would contain what the process that started this one had.
    kilobytes = status.partition("VmHWM:")[2].split()[0]
    return max(children, int(kilobytes) * 1024) / _MEGABYTE


def _resident(whose: int) -> int:
    most = resource.getrusage(whose).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
