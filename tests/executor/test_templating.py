"""Texts on their way into a pod: what Argo Workflows 4.1.2 and Kubernetes did with them."""

import pytest

from tests.executor.expressions import ExpressionError, evaluate
from tests.executor.templating import TemplateError, expand, nested, replace, tags

KNOWN = {"workflow.name": "wf-1", "workflow.parameters.day": 'a "b"\n', "inputs.parameters.x": "y"}


@pytest.mark.parametrize(
    "text, became",
    [
        ("argo-{{workflow.name}}", "argo-wf-1"),
        ("{{ workflow.name }}", "wf-1"),
        ("{{workflow.parameters.day}}", 'a "b"\n'),
        ("{{=toBase64(workflow.parameters['day'])}}", "YSAiYiIK"),
        ("{{=workflow.name == 'wf-1'}}", "true"),
        ("{{retries}} and {{=asInt(retries)}}", "{{retries}} and {{=asInt(retries)}}"),
        ("{{workflow.parameters.{{inputs.parameters.x}}}}", "{{workflow.parameters.y}}"),
        ("no tag } } {", "no tag } } {"),
    ],
)
def test_what_is_known_is_replaced_and_the_rest_stays(text: str, became: str) -> None:
    assert replace({"k": [text]}, KNOWN) == {"k": [became]}


def test_a_tag_inside_a_value_is_met_by_the_next_pass() -> None:
    values = {"a": "{{b}}", "b": "found"}
    once = replace("{{a}}", values)
    assert (once, replace(once, values)) == ("{{b}}", "found")


@pytest.mark.parametrize("sign", ["\x01", "\x07", "\x7f", "\U000e0001"])
def test_a_sign_that_go_quotes_in_its_own_way_breaks_the_template(sign: str) -> None:
    with pytest.raises(TemplateError, match="invalid JSON"):
        replace("{{a}}", {"a": sign})


def test_other_signs_arrive_as_they_are() -> None:
    text = "\b\t\n\f\r \"\\ $$ ` ' ä \u2028 \xad \N{GRINNING FACE} <&>"
    assert replace("{{a}}", {"a": text}) == text


@pytest.mark.parametrize("text", ["{{=", "{{=1 +}}", "{{=)}}"])
def test_what_is_no_expression_breaks_the_template(text: str) -> None:
    with pytest.raises(TemplateError):
        replace(text, {})


def test_what_depends_on_a_task_waits_for_it() -> None:
    with pytest.raises(TemplateError) as caught:
        replace("{{tasks.a.outputs.parameters.b}}", {}, ("tasks", "steps"))
    assert caught.value.missing
    assert replace("{{tasks.a}}", {}) == "{{tasks.a}}"


def test_the_names_of_tags_are_found_and_expressions_are_not_among_them() -> None:
    assert tags(["{{a.b}}", "x{{ c }}", "{{=d}}"]) == ["a.b", "c"]


SKIPPED = {"tasks.a.status": "Skipped", "tasks.b.outputs.parameters.switch-step": "end"}


@pytest.mark.parametrize(
    "expression, value",
    [
        ("(tasks['a'].status == 'Succeeded' ? tasks['x'].outputs.none : nil) == 'end'", False),
        ("get((tasks['x']?.outputs ?? tasks['b']?.outputs)?.parameters, 'switch-step')", "end"),
        ("!(true && (false || 'a' != 'b'))", False),
        ("1.5 == 1.5", True),
    ],
)
def test_expressions_as_metaflow_writes_them(expression: str, value: object) -> None:
    assert evaluate(expression, nested(SKIPPED)) == value


@pytest.mark.parametrize("expression", ["tasks['x'].outputs.none", "a b", "'x", "(", "a = b"])
def test_an_expression_without_a_value_is_an_error(expression: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(expression, nested(SKIPPED))


def test_in_a_condition_a_bare_word_is_its_own_text() -> None:
    assert evaluate("Failed != Succeeded", {}, words_are_text=True)
    assert evaluate("(a-b==c)||(t-1f==t-1f)", {}, words_are_text=True)


@pytest.mark.parametrize(
    "text, became",
    [
        ("$$", "$"),
        ("$(A)-$(B)", "1-$(B)"),
        ("$$(A)", "$(A)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
        ("$(pwd)", "$(pwd)"),
    ],
)
def test_kubernetes_expands_what_it_knows(text: str, became: str) -> None:
    assert expand(text, {"A": "1"}) == became
