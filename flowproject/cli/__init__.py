"""The command line: one file for each command, and one place that turns failures into exit codes.

A command parses its arguments, calls the layers below, and prints. It decides nothing.
"""

from flowproject.cli.app import main

__all__ = ["main"]
