"""`python -m benchmarks.replay`: serve until standard input is closed; print the address."""

import argparse
import sys
import threading

from benchmarks.replay.rows import render
from benchmarks.replay.server import Server


def main() -> None:
    """Serve as many objects as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.replay", description=__doc__)
    parser.add_argument("objects", type=int, nargs="?", default=1_000_000)
    server = Server(render(parser.parse_args().objects))
    threading.Thread(target=server.serve, daemon=True).start()
    print(server.url, flush=True)
    sys.stdin.read()  # whoever started this closes it, or is gone


if __name__ == "__main__":
    main()
