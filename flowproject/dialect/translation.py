"""Translates a query: its parameters stay, and its columns keep the names that they had."""

from itertools import pairwise
from typing import TYPE_CHECKING

from flowproject.dialect.parsing import normal_name, parsed, parts, place, written
from flowproject.dialect.snowflake import UntranslatableError, written_for_duckdb
from flowproject.errors import QueryError
from flowproject.sql import Query, parameters

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["translate"]


def translate(query: Query, *, read: str, write: str) -> Query:
    """Translate a query, under the name of its file; every `:name` is still one.

    Columns that the result names without quotes are called what the dialect `read` calls them, so
    that `SELECT id` has the column `ID` in Snowflake's words.

    Raises:
        QueryError: if the query does not parse, does not only read, or has no translation.
    """
    from sqlglot import exp
    from sqlglot.errors import ErrorLevel, UnsupportedError

    tree = parsed(query, query.text, read)
    # `$name` is no parameter of ours on Snowflake, and one on DuckDB.
    for variable in parts(tree, exp.Parameter):
        raise _untranslatable(query, variable, read, write, "it is a variable of the session")
    _name_columns(tree, read)
    if (read, write) == ("snowflake", "duckdb"):
        try:
            tree = written_for_duckdb(tree)
        except UntranslatableError as refused:
            raise _untranslatable(query, refused.node, read, write, refused.reason) from None
    try:
        text = tree.sql(write, unsupported_level=ErrorLevel.RAISE, comments=False, pretty=True)
    except UnsupportedError as error:
        node = _unsupported(tree, write)
        raise _untranslatable(query, node, read, write, str(error).partition("\n")[0]) from error
    translated = Query(file=query.file, text=_with_names(text, write))
    _check_names(query, translated, read)
    return translated


def _with_names(text: str, dialect: str) -> str:
    """The text of a translation with `:name` for what sqlglot spells `$name` or the like."""
    import sqlglot

    for token, following in pairwise(sqlglot.tokenize(text, read=dialect)):
        if text[token.start : following.start] == "$":
            text = text[: token.start] + ":" + text[following.start :]
    return text


def _check_names(query: Query, translated: Query, dialect: str) -> None:
    """Raise a QueryError unless both have the same parameters: `a :b` is a path to some."""
    kept = {parameter.name for parameter in parameters(translated.text)}
    for parameter in parameters(query.text):
        if parameter.name not in kept:
            raise query.error(
                f"{dialect.capitalize()}'s SQL takes :{parameter.name} for something else than a "
                "parameter",
                at=parameter.start,
                fix="Put it in parentheses, or leave no space before the colon of a path",
            )


def _name_columns(tree: "exp.Query", dialect: str) -> None:
    """Give each column of the result that is named without quotes the name that it has there."""
    from sqlglot import exp

    first = tree
    while isinstance(first, exp.SetOperation | exp.Subquery):
        first = first.this
    for column in first.expressions if isinstance(first, exp.Select) else ():
        named = column.args.get("alias") if isinstance(column, exp.Alias) else column.this
        if isinstance(column, exp.Alias | exp.Column) and isinstance(named, exp.Identifier):
            inner = column.this if isinstance(column, exp.Alias) else column
            name = exp.to_identifier(normal_name(named, dialect), quoted=True)
            column.replace(exp.Alias(this=inner.copy(), alias=name))


def _unsupported(tree: "exp.Expr", dialect: str) -> "exp.Expr":
    """The smallest part of the tree that has no translation."""
    from sqlglot.errors import ErrorLevel, UnsupportedError

    def fails(node: "exp.Expr") -> bool:
        try:
            node.sql(dialect, unsupported_level=ErrorLevel.RAISE)
        except UnsupportedError:
            return True
        return False

    return min(filter(fails, tree.walk()), key=lambda node: sum(1 for _ in node.walk()))


def _untranslatable(
    query: Query, node: "exp.Expr", read: str, write: str, reason: str
) -> QueryError:
    return query.error(
        f"{written(query, node, read)} has no translation from {read} to {write}: {reason}",
        at=place(query, node, read),
        fix="Write it in another way, or keep this query for the engine that it is written for",
    )
