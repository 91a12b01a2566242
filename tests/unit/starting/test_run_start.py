"""What a parameter makes of the text that it is given: what an event encoded is decoded first."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from metaflow import Config, IncludeFile, JSONType, Parameter
from metaflow._vendor import click

from flowproject.changes.canonical import Json, dumps
from flowproject.changes.payload import PREFIX, encode, encode_whole
from flowproject.starting import decode_parameter

CONTEXT = click.Context(click.Command("run"))


def converted(text: Json, **declared: Any) -> Any:
    """What a flow has in the parameter when the command line, or a variable, says `text`."""
    parameter = Parameter("x", **declared)
    parameter.init()
    decode_parameter(parameter)
    option = click.Option(("--x",), **parameter.option_kwargs(deploy_mode=False))
    return option.full_process_value(CONTEXT, text)


@given(st.text())
def test_a_text_is_itself_encoded_or_typed(text: str):
    assert converted(encode_whole(text), type=str) == text
    if not text.startswith(PREFIX):
        assert converted(text, type=str) == text


@given(st.integers())
def test_an_integer_has_all_its_digits(number: int):
    assert converted(str(encode_whole(number)), type=int) == number
    assert converted(str(encode_whole(number)), type=str) == str(number)


@pytest.mark.parametrize("value", [[], {}, [1, "é"], {"a": {"b": [None, True]}}, 2**60])
def test_json_is_the_very_value_and_a_text_has_it_spelled(value: Json):
    assert converted(encode_whole(value), type=JSONType) == value
    assert converted(encode_whole(value), type=str) == dumps(value)


def test_a_text_for_json_is_read_as_json_whether_it_was_encoded_or_not():
    assert converted('{"a": 1}', type=JSONType) == {"a": 1}
    assert converted(encode_whole('{"a": "$"}'), type=JSONType) == {"a": "$"}
    with pytest.raises(click.BadParameter, match="not a valid JSON"):
        converted(encode_whole("$(id)"), type=JSONType)


def test_what_is_encoded_inside_of_json_is_decoded_as_well():
    value = {"city": "Zürich", "$": [2**60, "plain"]}
    assert converted(dumps(encode(value)), type=JSONType) == value


@pytest.mark.parametrize("text", ["typed", "$(id)", "", PREFIX, f"{PREFIX}x", f"{PREFIX}????"])
def test_what_a_person_types_stays_as_it_is(text: str):
    assert converted(text, type=str) == text


@pytest.mark.parametrize("text", [None, encode_whole(None)], ids=["no value", "null"])
@pytest.mark.parametrize("declared", [{"default": 7}, {"default": 1.5}, {"default": True}, {}])
def test_a_default_holds_if_there_is_nothing(declared: dict[str, Any], text: Json):
    assert converted(text, **declared) == declared.get("default")


@pytest.mark.parametrize("kind", [str, int, float, bool, JSONType])
def test_metaflow_sees_the_type_that_was_declared(kind: Any):
    """Its compilers ask the parameter, and its Runner the class of the option's type."""
    parameter = Parameter("x", type=kind)
    parameter.init()
    before = click.Option(("--x",), **parameter.option_kwargs(deploy_mode=False))
    decode_parameter(parameter)
    after = click.Option(("--x",), **parameter.option_kwargs(deploy_mode=False))
    assert parameter.kwargs["type"] is kind
    assert type(after.type) is type(before.type)


def test_files_and_configurations_are_left_alone():
    for other in (IncludeFile("x"), Config("x"), "not a parameter"):
        before = dict(vars(other)) if hasattr(other, "__dict__") else None
        decode_parameter(other)
        assert before is None or vars(other) == before
