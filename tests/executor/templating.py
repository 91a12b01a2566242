"""Texts on their way from an object to a process: Argo's `{{...}}`, Kubernetes' `$(NAME)`.

Argo replaces in the JSON text of a template, so what a value may do to that text, it does here:
tags inside values are found by the next pass, and a sign that Go quotes in a way that JSON does not
know breaks the template. Pure.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tests.executor.expressions import ExpressionError, InvalidExpressionError, evaluate

__all__ = ["TemplateError", "expand", "go_quoted", "nested", "replace", "tags"]

_LATE: Final = ("item", "retries", "lastRetry", "workflow.status", "workflow.failures")
"""Variables that a later pass knows: an expression with one of them waits for it."""

_OF_GO: Final = {'"': '\\"', "\\": "\\\\"} | {
    chr(code): f"\\{letter}" for code, letter in zip(range(7, 14), "abtnvfr", strict=True)
}
_PATH: Final = re.compile(r"[A-Za-z_]\w*(?:\.[\w-]+|\['[^']*'\])*")


class TemplateError(ValueError):
    """Argo can't make sense of a template; `missing` if it waits for what is never coming."""

    def __init__(self, message: str, *, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


def replace(template: Any, values: Mapping[str, str | None], strict: Sequence[str] = ()) -> Any:
    """The template with the tags that are known replaced, as one pass of Argo does it.

    A tag that begins with one of `strict` must be known. Raises `TemplateError`.
    """
    written = json.dumps(template, ensure_ascii=False)
    parts: list[str] = []
    for text, tag in _pieces(written):
        parts.append(text)
        if tag is not None:
            parts.append(_replaced(tag, values, strict))
    try:
        return json.loads("".join(parts))
    except ValueError as error:
        message = "cannot finish template replacement because the result was invalid JSON"
        raise TemplateError(message) from error


def tags(template: Any) -> list[str]:
    """The names between braces, expressions not among them. Raises `TemplateError`."""
    pieces = _pieces(json.dumps(template, ensure_ascii=False))
    return [tag.strip() for _, tag in pieces if tag is not None and not tag.startswith("=")]


def _pieces(text: str) -> Iterator[tuple[str, str | None]]:
    """Text and the tag behind it, in turn; no tag behind the last."""
    position = 0
    while (start := text.find("{{", position)) >= 0:
        end = text.find("}}", start + 2)
        if end < 0:
            raise TemplateError(f'Cannot find end tag="}}}}" in the template={text[:200]!r}')
        yield text[position:start], text[start + 2 : end]
        position = end + 2
    yield text[position:], None


def _replaced(tag: str, values: Mapping[str, str | None], strict: Sequence[str]) -> str:
    if tag.startswith("="):
        return _expression(tag, values, strict)
    name = tag.strip()
    if name in values:
        value = values[name]
        if value is None:
            raise TemplateError(f"unable to substitute {{{{{tag}}}}}: output is an absent optional")
        return go_quoted(value)
    before, braces, inner = tag.rpartition("{{")
    if braces and before and (known := values.get(inner)) is not None:
        return "{{" + before + go_quoted(known)
    _refuse_missing(name, tag, strict)
    return "{{" + tag + "}}"


def _expression(tag: str, values: Mapping[str, str | None], strict: Sequence[str]) -> str:
    unresolved = "{{" + tag + "}}"
    try:
        expression = json.loads(f'"{tag[1:]}"')
    except ValueError as error:
        raise TemplateError(f"failed to unmarshall JSON expression: {error}") from error
    for path in _paths(expression):
        if path not in values:
            _refuse_missing(path, path, strict)
            if path in _LATE or path.partition(".")[0] in _LATE:
                return unresolved
    try:
        result = evaluate(expression, nested(values))
    except InvalidExpressionError as error:
        raise TemplateError(f"failed to evaluate expression: {error}") from error
    except (ExpressionError, AttributeError, TypeError, ValueError):
        return unresolved
    if result is None:
        return unresolved
    if isinstance(result, str):
        return json.dumps(result, ensure_ascii=False)[1:-1]
    return go_quoted(json.dumps(int(result) if isinstance(result, float) else result))


def _paths(expression: str) -> list[str]:
    """The variables of an expression, with dots; behind `?.` and `??` nothing is required."""
    bare = re.sub(r"'[^']*'(?!\])", "", expression)
    found = [re.sub(r"\['([^']*)'\]", r".\1", path) for path in _PATH.findall(bare)]
    return [path for path in found if "." in path and "?" not in expression]


def _refuse_missing(name: str, tag: str, strict: Sequence[str]) -> None:
    if name.partition(".")[0] in strict and ".outputs.artifacts." not in name:
        raise TemplateError(f"failed to resolve {{{{{tag}}}}}", missing=True)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Names with dots as a tree, for expressions."""
    tree: dict[str, Any] = {}
    for name, value in values.items():
        *way, last = name.split(".")
        place = tree
        for part in way:
            inner = place.get(part)
            place[part] = place = inner if isinstance(inner, dict) else {}
        if not isinstance(place.get(last), dict):
            place[last] = value
    return tree


def go_quoted(text: str) -> str:
    """The text as Go's strconv.Quote writes it, without the quotes around it."""
    return _QUOTED.sub(_quoted, text)


_QUOTED: Final = re.compile(r"[^ !#-\[\]-~]")
"""What is not simply itself: looked at sign by sign, which takes long."""


def _quoted(found: re.Match[str]) -> str:
    letter = found[0]
    if letter in _OF_GO:
        return _OF_GO[letter]
    code = ord(letter)
    if letter == " " or unicodedata.category(letter)[0] in "LMNPS":
        return letter
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def expand(text: str, known: Mapping[str, str]) -> str:
    """What Kubernetes makes of `$$` and `$(NAME)` in values, commands and arguments."""
    parts: list[str] = []
    position = 0
    while (dollar := text.find("$", position)) >= 0:
        parts.append(text[position:dollar])
        following = text[dollar + 1 : dollar + 2]
        end = text.find(")", dollar) if following == "(" else -1
        if following == "$":
            parts.append("$")
            position = dollar + 2
        elif end >= 0:
            name = text[dollar + 2 : end]
            parts.append(known.get(name, f"$({name})"))
            position = end + 1
        else:
            parts.append("$" + following)
            position = dollar + 1 + len(following)
    return "".join([*parts, text[position:]])
