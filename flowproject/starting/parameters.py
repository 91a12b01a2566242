"""How a `Parameter` gets the value that an event has for it, as it was before it was encoded.

An event's value comes as text, on a cluster by Metaflow's way through a shell and in the local
loop as an argument. It is decoded before the declared type reads it, which then does what it
does with text that a person types.
"""

from typing import Any

from metaflow import JSONTypeClass

from flowproject.changes.canonical import dumps
from flowproject.changes.payload import decode, decode_text
from flowproject.metaflow_internals.flows import convert_parameter, is_plain_parameter

__all__ = ["decode_parameter"]


def decode_parameter(parameter: Any) -> None:
    """Let the command line decode what it is given for a `Parameter` of Metaflow's.

    What else a flow has for parameters is left alone: files, and configurations.
    """
    if is_plain_parameter(parameter):
        convert_parameter(parameter, _convert)


def _convert(declared: Any, value: Any, parameter: Any, context: Any) -> Any:
    """What the declared type makes of the value, decoded."""
    is_json = isinstance(declared, JSONTypeClass)
    given = decode_text(value) if isinstance(value, str) else value
    if given is not value:
        if given is None:
            return None  # the command line takes the default, as it does without a value
        if is_json and not isinstance(given, str):
            return given
        text = given if isinstance(given, str) else dumps(given)
        return declared.convert(text, parameter, context)
    read = declared.convert(value, parameter, context)
    return decode(read) if is_json else read
