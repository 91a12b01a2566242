"""Reads SQL where there is no engine to ask, and writes it in another engine's words.

The one home of sqlglot, and pure. Dialects have sqlglot's names: `snowflake`, `duckdb`. What an
engine makes of a query that is well-formed is still the engine's to say, in `sources`.
"""

from flowproject.dialect.macros import NO_TRANSLATION, NO_VALUE, macros
from flowproject.dialect.parsing import (
    check_syntax,
    table_names,
    unknown_functions,
    volatile_parts,
    with_tables_at,
)
from flowproject.dialect.translation import translate

__all__ = [
    "NO_TRANSLATION",
    "NO_VALUE",
    "check_syntax",
    "macros",
    "table_names",
    "translate",
    "unknown_functions",
    "volatile_parts",
    "with_tables_at",
]
