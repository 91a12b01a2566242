"""Holds the command line: a file for each command, and one place for failures and exit codes.

A command parses its arguments, calls the layers below, and prints. It decides nothing. A new one is
a file here and a line in `app`.
"""

from flowproject.cli.app import main

__all__ = ["main"]
