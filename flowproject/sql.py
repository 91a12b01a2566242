"""Finds queries under `sql/`, and the named parameters in them.

Pure text: no engine is known here. What a statement means, and whether it parses, is the engine's
to say, in `sources`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from flowproject.errors import QueryError, closest
from flowproject.secrecy import covered

__all__ = [
    "Parameter",
    "Query",
    "Style",
    "bind",
    "dollar",
    "find_query",
    "find_sensor_query",
    "parameters",
    "statement",
]

_FOLDER: Final = "sql"
_SHOWN_WIDTH: Final = 100

Style = Callable[[str], str]
"""How an engine spells the parameter of a given name."""

_GLUE: Final = r"[\w$\"')\]}]"
_COMMENT_BRACKET: Final = re.compile(r"/\*|\*/")
_TOKEN: Final = re.compile(
    rf"""
      [eE]'(?:[^'\\]|\\.|'')*+'?                        # string with backslash escapes
    | '(?:[^']|'')*+'?                                  # string
    | "(?:[^"]|"")*+"?                                  # quoted identifier
    | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)  # dollar string
    | --[^\n]*                                          # comment to the end of the line
    | (?P<comment>/\*)                                  # comment, ended by _end_of_comment
    | [^\W\d][\w$]*                                     # word
    | ::                                                # cast
    | (?P<end>;)
    | (?<!{_GLUE}):(?P<name>[^\W\d]\w*)             # parameter
    """,
    re.VERBOSE | re.DOTALL,
)


def dollar(name: str) -> str:
    """Spell a parameter as DuckDB does: `$name`."""
    return f"${name}"


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One place where a query names a parameter: `text[start:end]` is `:name`."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Query:
    """A query's text and the file it came from, relative to the project's folder."""

    file: str
    text: str

    def error(self, what: str, *, at: int, allowed: str = "", fix: str = "") -> QueryError:
        """An error at a place in the text: its line and column, and the line with a caret below."""
        text = covered(self.text)
        before, broken, left = text[:at].rpartition("\n")
        number = before.count("\n") + len(broken) + 1
        right = text[at:].partition("\n")[0]
        # A long line is cut from the left, so that the caret stays on the screen.
        near = _short(left[max(0, len(left) - _SHOWN_WIDTH // 2) :])
        shown = (near + _short(right[:_SHOWN_WIDTH])).replace("\t", " ").rstrip()
        shown = shown[:_SHOWN_WIDTH]
        caret = " " * len(near) + "^ here"
        return QueryError(
            what,
            where=f"{self.file}, line {number}, column {len(left) + 1}",
            allowed=allowed.strip(),
            fix=f"{fix or 'This line'}:\n    {shown}\n    {caret}",
        )


def _short(covered_line: str) -> str:
    """Shorten what covers secrets, so that it does not tell how long they are."""
    return re.sub(r"\*{4,}", "***", covered_line)


def find_query(root: Path, name: str) -> Query:
    """The query that `sql/<name>.sql` under the project's folder holds.

    Raises:
        QueryError: if the name leaves `sql/`, or there is no such file, or it can't be read.
    """
    file = PurePosixPath(_FOLDER, f"{name}.sql")
    if not name or PurePosixPath(name).is_absolute() or ".." in file.parts or "\0" in name:
        raise QueryError(
            f"{name!r} does not name a query",
            allowed=f"A name is the path of a file in {_FOLDER}/, without its ending",
            fix='For sql/sensor.sql write "sensor"',
        )
    try:
        text = (root / file).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise _missing(root, name, str(file)) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise QueryError(f"{str(file)!r} can't be read: {reason}") from error
    return Query(file=str(file), text=text)


def find_sensor_query(root: Path, name: str) -> Query:
    """Find the query of a sensor, which must have no parameter: nobody gives it values.

    Raises:
        QueryError: as `find_query` does, and if the query has a parameter.
    """
    query = find_query(root, name)
    for parameter in parameters(query.text):
        raise query.error(
            f"A sensor's query has no parameters, and this one has :{parameter.name}",
            at=parameter.start,
            fix="Put the value into the query",
        )
    return query


def parameters(text: str) -> tuple[Parameter, ...]:
    """Every `:name` in a query, in the order of the text.

    A colon in a string, a quoted identifier or a comment is text. One that is glued to what stands
    on its left is a cast (`a::int`), a slice (`list[1:n]`), a key (`{'a':b}`) or a path
    (`column:field`): a parameter has a space or an operator before it.
    """
    return tuple(
        Parameter(name=token["name"], start=token.start(), end=token.end())
        for token in _tokens(text)
        if token["name"]
    )


def statement(text: str) -> str:
    """The text up to the semicolon that ends its first statement, so that it can be nested."""
    ends = (token.start() for token in _tokens(text) if token["end"])
    return text[: next(ends, len(text))]


def bind(query: Query, values: Mapping[str, Any], style: Style) -> str:
    """The query with every `:name` in the engine's own spelling; values are never pasted in.

    Raises:
        QueryError: if a parameter has no value, or a value no parameter.
    """
    found = parameters(query.text)
    names = [parameter.name for parameter in found]
    for parameter in found:
        if parameter.name not in values:
            raise _without_value(query, parameter, [name for name in values if name not in names])
    for name in values:
        if name not in names:
            raise _without_parameter(query, name, names)
    return _spelled(query.text, found, style)


def _tokens(text: str) -> Iterator[re.Match[str]]:
    position = 0
    while token := _TOKEN.search(text, position):
        yield token
        position = token.end()
        if token["comment"]:
            position = _end_of_comment(text, position)


def _end_of_comment(text: str, position: int) -> int:
    """Where a comment ends whose `/*` ends at `position`; comments nest, as in standard SQL."""
    depth = 1
    while depth:
        bracket = _COMMENT_BRACKET.search(text, position)
        if bracket is None:
            return len(text)
        depth += 1 if bracket[0] == "/*" else -1
        position = bracket.end()
    return position


def _spelled(text: str, found: tuple[Parameter, ...], style: Style) -> str:
    pieces, position = [], 0
    for parameter in found:
        pieces += [text[position : parameter.start], style(parameter.name)]
        position = parameter.end
    return "".join([*pieces, text[position:]])


def _missing(root: Path, name: str, file: str) -> QueryError:
    folder = root / _FOLDER
    names = sorted(
        path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.sql")
    )
    exists = ", ".join(names) if names else "none"
    return QueryError(
        f"There is no query {name!r}",
        where=f"Looked for {file} in {str(root)!r}",
        allowed=f"There are: {exists}. {closest(name, names)}",
        fix=f"Create `{file}`, or name one of these",
    )


def _without_value(query: Query, parameter: Parameter, unused: list[str]) -> QueryError:
    given = f"Given, but not used: {', '.join(unused)}." if unused else ""
    return query.error(
        f"Parameter :{parameter.name} has no value",
        at=parameter.start,
        allowed=f"{given} {closest(parameter.name, unused)}",
        fix=f"Pass {parameter.name}=... to the query",
    )


def _without_parameter(query: Query, name: str, names: list[str]) -> QueryError:
    what = f"The query has no parameter :{name}"
    if glued := re.search(rf"(?<={_GLUE}):{re.escape(name)}\b", query.text):
        return query.error(
            what, at=glued.start(), fix="Put a space before this colon to make it a parameter"
        )
    known = ", ".join(f":{known}" for known in dict.fromkeys(names)) or "none"
    return QueryError(
        what,
        where=query.file,
        allowed=f"Its parameters: {known}. {closest(name, names)}",
        fix=f"Leave out {name}=..., or use :{name} in the query",
    )
