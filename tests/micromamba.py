"""What Metaflow asks of micromamba, answered with venv and pip: conda's channels aren't needed.

Metaflow makes an environment of conda's for every step and lets pip fill it. With this in place of
conda's part, the rest is real: the resolution, the download, and a task in an environment that has
nothing but what Metaflow was told. A program, not a module: `python tests/micromamba.py ARGUMENTS`.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

# Where the environments are made.
FOLDER = Path(os.environ["STAND_IN_FOLDER"])


def answer(command: list[str]) -> Any:
    """What micromamba prints for a command, as JSON; None for what only has an effect."""
    if command[:2] == ["config", "list"]:
        return {
            "channels": [],
            "envs_dirs": [str(FOLDER)],
            "pkgs_dirs": [],
            "platform": "linux-64",
        }
    if command[:2] == ["env", "list"]:
        return {"envs": [str(path) for path in FOLDER.glob("metaflow/*/*")]}
    if command[0] == "list":
        return [{"name": "python", "version": platform.python_version()}]
    if "--dry-run" in command:
        return {"actions": {"LINK": []}}
    if "--download-only" not in command:
        prefix = command[command.index("--prefix") + 1]
        subprocess.run([sys.executable, "-m", "venv", prefix], check=True)
    return None


def main() -> None:
    command = sys.argv[1:]
    if command[0] == "run":
        _, _, prefix, program, *arguments = command
        sys.exit(subprocess.run([f"{prefix}/bin/{program}", *arguments], check=False).returncode)
    if (told := answer(command)) is not None:
        sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
