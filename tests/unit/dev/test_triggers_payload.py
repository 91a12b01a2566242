"""What a payload becomes, held against Metaflow's own code and a real shell."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from metaflow.plugins.argo.set_parameters import export_parameters

from flowproject.dev.triggers import Event, NotPassable, argument, variable
from flowproject.flowfiles import Dependency, FlowParameter

TEXT = FlowParameter(name="x", required=False, type="str", has_default=False)
DEFAULTED = FlowParameter(name="x", required=False, type="str", has_default=True)
JSON = FlowParameter(name="x", required=False, type="JSON", has_default=False)

letters = st.text().filter(lambda text: not set(text) & {"$", "`"})
"""A shell expands the rest: what it makes of them depends on where it runs."""

scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | letters
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(letters, inner, max_size=3)
)


def as_go_prints(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def on_argo(folder: Path, parameter: FlowParameter, value: object) -> str | None:
    """The parameter's environment variable in a pod: Metaflow's exporter, sourced by bash."""
    text = as_go_prints(value)
    if parameter.is_json and not isinstance(value, str):
        text = as_go_prints(text)
    file = folder / "exported"
    encoded = base64.b64encode(text.encode()).decode()
    export_parameters(str(file), {"x": (encoded, not parameter.has_default)})
    script = f'. {file} && if [ -v METAFLOW_INIT_X ]; then printf "=%s" "$METAFLOW_INIT_X"; fi'
    shell = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    if shell.returncode:
        raise NotPassable(shell.stderr)
    return shell.stdout[1:] if shell.stdout else None


@pytest.mark.seconds(60)  # a shell for each example
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(parameter=st.sampled_from([TEXT, DEFAULTED, JSON]), value=values)
def test_a_value_becomes_what_metaflow_and_a_shell_make_of_it_on_argo(
    tmp_path: Path, parameter: FlowParameter, value: object
):
    try:
        expected = on_argo(tmp_path, parameter, value)
    except NotPassable:
        with pytest.raises(NotPassable):
            argument(parameter, value)
    else:
        assert argument(parameter, value).text == expected


@given(value=values.filter(lambda value: not isinstance(value, str)))
def test_a_json_parameter_gets_the_very_value_of_the_payload(value: object):
    text = argument(JSON, value).text
    assert text is not None
    assert json.loads(text) == value


@pytest.mark.parametrize(
    "value,text",
    [
        (5, "5"),
        (5.0, "5"),
        (0.1, "0.1"),
        (1e21, "1e+21"),
        (10**20, "100000000000000000000"),
        (True, "true"),
        ("", ""),
        ('say "hi" \\ there', 'say "hi" \\ there'),
        ([1], "[1]"),
    ],
)
def test_numbers_pass_through_a_64_bit_float_and_texts_lose_their_quotes(value: object, text: str):
    assert argument(TEXT, value).text == text


def test_null_leaves_a_parameter_without_a_default_alone():
    assert argument(TEXT, None).text is None
    assert argument(DEFAULTED, None).text == "null"


def test_a_text_for_a_json_parameter_is_taken_as_json():
    assert argument(JSON, '{"a": 1}').text == '{"a": 1}'


def test_a_list_for_a_text_parameter_is_refused_with_the_way_out():
    with pytest.raises(NotPassable, match=r"can't take a list.*type=JSONType"):
        argument(TEXT, [1, 2])


@pytest.mark.parametrize(
    "value,warning",
    [
        ("Zürich", "JSON escapes"),
        ("two\nlines", "JSON escapes"),
        ("costs $HOME", "a shell expands"),
        ("`ls`", "a shell expands"),
        (2**53 + 1, "loses digits"),
        (float("inf"), "keeps its default"),
        ([1, float("-inf")], "keeps its default"),
        ("plain, 100 $", ""),
    ],
)
def test_what_a_cluster_would_change_is_said(value: object, warning: str):
    found = argument(TEXT, value).warning
    assert warning in found
    assert bool(found) == bool(warning)


def test_the_variable_that_carries_an_event_is_named_as_on_argo():
    dependency = Dependency(event="a.b", type="run", alias="ab_wxyz")
    payload = {"name": "a.b", "city": "Zürich"}
    name, text = variable(dependency, Event.sent(payload))
    assert name == "METAFLOW_ARGO_EVENT_PAYLOAD_run_ab_wxyz"
    assert json.loads(text) == payload


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text()
        | st.floats(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    ),
    st.integers(0, 3),
)
def test_what_was_sent_is_kept_as_it_was_sent_but_for_spaces(value: object, spaces: int):
    sent = json.dumps({"payload": {"name": "x", "k": value}}, indent=spaces)
    event = Event.received(sent.encode())
    assert event
    plain = json.dumps({"name": "x", "k": value}, separators=(",", ":"))
    for sign in "<>&":
        plain = plain.replace(sign, f"\\u{ord(sign):04x}")
    assert event.text == plain


def test_of_two_payloads_and_of_two_equal_keys_the_first_counts():
    event = Event.received(b'{"payload": {"name": "a", "name": "b"}, "payload": {"name": "c"}}')
    assert event
    assert (event.name, event.text) == ("a", '{"name":"a","name":"b"}')


def test_half_of_a_surrogate_pair_and_a_byte_that_is_no_utf_8_are_replaced_in_values():
    event = Event.received(b'{"payload": {"name": "x", "half": "a\\ud800", "byte": "b\xff"}}')
    assert event
    assert (event.payload["half"], event.payload["byte"]) == ("a\ufffd", "b\ufffd")
    assert r'"a\ud800"' in event.text
