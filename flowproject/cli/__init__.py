"""Holds the command line: the commands, and one place for failures and exit codes.

A command parses its arguments, calls the layers below, and prints. It decides nothing. A new one is
a function here and a line in `app`, which says of each in which file it is.
"""

from flowproject.cli.app import main

__all__ = ["main"]
