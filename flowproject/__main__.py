"""`python -m flowproject` is the same as `flowproject`."""

import sys

from flowproject.cli import main

if __name__ == "__main__":
    sys.exit(main())
