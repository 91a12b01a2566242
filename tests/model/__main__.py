"""`python -m tests.model`: the protocol and its mutants, what was searched and what was found."""

import argparse
import json

from tests.model.table import ALL, THOROUGH, as_json, shown


def main() -> int:
    """Zero if the protocol holds, and each mutant breaks what it must."""
    options = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    options.add_argument("--json", action="store_true", help="for machines")
    options.add_argument("--thorough", action="store_true", help="larger worlds, some minutes")
    options.add_argument("--only", metavar="NAME", help="one line of the table")
    chosen = options.parse_args()
    every = (*ALL, *THOROUGH) if chosen.thorough else ALL
    cases = [case for case in every if chosen.only in (None, case.name)]
    found = []
    for case in cases:
        found.append((case, case.find()))
        if not chosen.json:
            print("\n".join(shown(*found[-1])), flush=True)  # noqa: T201  # a command prints
    if chosen.json:
        print(json.dumps([as_json(*one) for one in found], indent=1))  # noqa: T201  # the same
    return int(any(case.breaks != finding.broken for case, finding in found))


if __name__ == "__main__":
    raise SystemExit(main())
