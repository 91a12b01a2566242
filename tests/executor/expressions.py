"""The expressions that Metaflow writes into templates, `when`, `depends`, hooks and filters.

Two languages of Go stand behind them (expr-lang and govaluate), of which this is the common part:
member access, `?.`, `??`, a ternary, comparison, logic, and calls. In `when` a bare word is a text.
"""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

__all__ = ["ExpressionError", "InvalidExpressionError", "evaluate"]

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>-?\d+(?:\.\d+)?)(?![\w.-])|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<word>[A-Za-z_0-9/](?:[\w/-]*[\w/])?)|(?P<sign>\?\.|\?\?|==|!=|&&|\|\||[()\[\].,?:!]))"
)

_Value = Callable[[], Any]
"""Part of an expression, ready to be asked for its value."""


class ExpressionError(ValueError):
    """The expression has no value, such as the member of nothing."""


class InvalidExpressionError(ExpressionError):
    """It is no expression, or none of those that are known here."""


def evaluate(expression: str, names: Mapping[str, Any], *, words_are_text: bool = False) -> Any:
    """The value of the expression; None is Go's nil.

    With `words_are_text` a name that nothing has is its own text. Raises `ExpressionError`.
    """
    parser = _Parser(expression, {**_FUNCTIONS, **names}, words_are_text=words_are_text)
    value = parser.ternary()
    parser.end()
    return value()


def _get(value: Any, key: Any) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "toBase64": lambda text: base64.b64encode(text.encode()).decode(),
    "get": _get,
    "asInt": int,
    "string": str,
}


class _Parser:
    """Reads an expression whole, each part as something that can be evaluated later."""

    def __init__(self, text: str, names: Mapping[str, Any], *, words_are_text: bool) -> None:
        self._names = names
        self._words_are_text = words_are_text
        self._tokens: list[tuple[str, str]] = []
        position = 0
        while position < len(text.rstrip()):
            found = _TOKEN.match(text, position)
            if not found or not found.lastgroup:
                raise InvalidExpressionError(f"Invalid token at {text[position:]!r}")
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            position = found.end()

    def end(self) -> None:
        if self._tokens:
            raise InvalidExpressionError(f"unexpected {self._tokens[0][1]!r}")

    def _take(self, *signs: str) -> str:
        """The next sign, if it is one of these, else nothing."""
        if self._tokens and self._tokens[0][0] == "sign" and self._tokens[0][1] in signs:
            return self._tokens.pop(0)[1]
        return ""

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise InvalidExpressionError(f"{sign!r} is missing")

    def ternary(self) -> _Value:
        condition = self._binary(0)
        if not self._take("?"):
            return condition
        yes = self.ternary()
        self._expect(":")
        no = self.ternary()
        return lambda: yes() if condition() else no()

    def _binary(self, level: int) -> _Value:
        """Operators of one level and all that bind tighter, from `||` to `??`."""
        if level == len(_LEVELS):
            return self._unary()
        value = self._binary(level + 1)
        while sign := self._take(*_LEVELS[level]):
            value = _combined(value, self._binary(level + 1), _LEVELS[level][sign])
        return value

    def _unary(self) -> _Value:
        if self._take("!"):
            value = self._unary()
            return lambda: not value()
        return self._member()

    def _member(self) -> _Value:
        value = self._primary()
        while sign := self._take("?.", ".", "["):
            if sign == "[":
                key = self.ternary()
                self._expect("]")
            else:
                key = _constant(self._tokens.pop(0)[1] if self._tokens else "")
            value = _member_of(value, key, optional=sign == "?.")
        return value

    def _primary(self) -> _Value:
        kind, text = self._tokens.pop(0) if self._tokens else ("", "")
        if (kind, text) == ("sign", "("):
            value = self.ternary()
            self._expect(")")
            return value
        if kind == "text":
            return _constant(re.sub(r"\\(.)", r"\1", text[1:-1]))
        if kind == "number":
            return _constant(float(text))
        if kind == "word":
            return self._named(text)
        raise InvalidExpressionError(f"unexpected {text or 'end'!r}")

    def _named(self, name: str) -> _Value:
        if name in _WORDS:
            return _constant(_WORDS[name])
        known = self._names.get(name)
        if callable(known) and self._take("("):
            arguments: list[_Value] = []
            while not self._take(")"):
                arguments.append(self.ternary())
                self._take(",")
            return lambda: known(*(argument() for argument in arguments))
        return _constant(name if known is None and self._words_are_text else known)


_WORDS: Final[Mapping[str, Any]] = {"true": True, "false": False, "nil": None}

_Operator = Callable[[_Value, _Value], Any]
_LEVELS: Final[tuple[Mapping[str, _Operator], ...]] = (
    {"||": lambda one, other: bool(one()) or bool(other())},
    {"&&": lambda one, other: bool(one()) and bool(other())},
    {
        "==": lambda one, other: one() == other(),
        "!=": lambda one, other: one() != other(),
    },
    {"??": lambda one, other: other() if (value := one()) is None else value},
)


def _combined(one: _Value, other: _Value, operator: _Operator) -> _Value:
    return lambda: operator(one, other)


def _constant(value: Any) -> _Value:
    return lambda: value


def _member_of(value: _Value, key: _Value, *, optional: bool) -> _Value:
    def member() -> Any:
        whole = value()
        if whole is None and not optional:
            raise ExpressionError(f"cannot fetch {key()} from <nil>")
        return _get(whole, key())

    return member
