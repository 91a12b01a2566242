"""A bare walk of a folder with `os.scandir`, which asks for the status of each file.

Takes the folder.
"""

import os
import sys

from benchmarks.probe import report


def walk() -> dict[str, int]:
    """How many files there are."""
    files = 0
    folders = [sys.argv[1]]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    entry.stat()
                    files += 1
    return {"files": files}


report(walk)
