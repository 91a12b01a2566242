"""Writes Snowflake's SQL for DuckDB, in the forms that both answer alike, and refuses others.

Every form is in one of three places: it means the same there (`_ALIKE`), it is written anew here
(`_WRITTEN`), or it is refused by its name. So what nobody has looked at is refused, too.
"""

import re
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Final

from flowproject.dialect.parsing import normal_name

if TYPE_CHECKING:
    from sqlglot import exp

__all__ = ["FORMS", "UntranslatableError", "written_for_duckdb"]

_Write = Callable[["exp.Expr"], "exp.Expr"]

# Marks that a part of a tree carries: it is made here, takes JSON as it is, rounds what is in it.
_OURS: Final = "ours"
_TAKES_JSON: Final = "takes_json"
_ROUNDED: Final = "rounded"

# Names of sqlglot's classes: the structure of a query, operators, and functions.
_ALIKE: Final = frozenset(
    re.findall(
        r"\w+",
        """
        Alias All And Any Between Boolean CTE Case Distinct EQ Escape Except Exists From GT
        GTE Group Having Identifier IgnoreNulls In Intersect Is LT LTE Limit NEQ Neg Not Null
        NullSafeEQ NullSafeNEQ Offset Or Order Ordered Paren Placeholder Qualify RawString Rollup
        TableAlias Tuple Union Var Where WindowSpec With

        If Coalesce Nvl2 Nullif DecodeCase EqualNull Greatest Least Booland Boolor Boolnot Xor Abs
        Sign Sqrt Factorial Pi BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitwiseLeftShift
        BitwiseRightShift

        Like ILike Left Right Substring StrPosition StartsWith EndsWith Replace Reverse Repeat
        Space Translate Chr Unicode MD5 SHA Hex Base64Encode Levenshtein Upper Lower Trim Stuff
        Ascii

        Count CountIf Sum Min Max AnyValue LogicalAnd LogicalOr BitwiseAndAgg BitwiseOrAgg
        BitwiseXorAgg Grouping RowNumber Rank DenseRank Ntile CumeDist PercentRank Lag Lead
        FirstValue LastValue NthValue

        CurrentTimestamp CurrentDate DateFromParts TimeFromParts
        """,
    )
)

# What a refusal says besides the form: why, and what to write instead if there is something.
_REASONS: Final = {
    "AnonymousAggFunc": "DuckDB has no such function",
    "ApproxDistinct": "an estimate differs from engine to engine; use COUNT(DISTINCT ...)",
    "ApproxQuantile": "an estimate differs from engine to engine; use PERCENTILE_CONT",
    "Anonymous": "no function of this name is known to answer alike",
    "Rand": "chance has no second time; a sensor that draws changes at every tick",
    "Uniform": "chance has no second time; a sensor that draws changes at every tick",
    "Pivot": "its columns get other names; use an aggregate of IFF(...) for each",
    "Lambda": "functions of elements have other rules; use LATERAL FLATTEN",
    "TableSample": "chance has no second time; a sensor that draws changes at every tick",
    "HistoricalData": "DuckDB keeps no past",
    "Collate": "collations are Snowflake's own",
    "StarMap": "name the columns",
}
# Of everything else, and so of what a later sqlglot parses for the first time.
_UNLOOKED: Final = "nobody has verified that it means the same"

# Of other units, such as nanoseconds, DuckDB's types hold no part.
_DATE_UNITS: Final = frozenset({"YEAR", "QUARTER", "MONTH", "WEEK", "DAY"})
_TIME_UNITS: Final = frozenset({"HOUR", "MINUTE", "SECOND"})
_FRACTIONS: Final = frozenset({"MILLISECOND", "MICROSECOND"})
_PARTS: Final = frozenset(
    {"DAYOFWEEK", "DAYOFWEEKISO", "DAYOFYEAR", "DOW", "DOY", "WEEKISO", "ISODOW", "YEAROFWEEK"}
    | {"YEAROFWEEKISO", "EPOCH_SECOND", "EPOCH_MILLISECOND", "EPOCH_MICROSECOND", "EPOCH"}
)
# With Snowflake's defaults, by which a week is ISO's, and Sunday the day 0.
_OWN_PARTS: Final = {
    "DAYOFWEEKISO": "ISODOW",
    "WEEKISO": "WEEK",
    "YEAROFWEEK": "ISOYEAR",
    "YEAROFWEEKISO": "ISOYEAR",
}
_EPOCHS: Final = {
    "EPOCH": "EPOCH",
    "EPOCH_SECOND": "EPOCH",
    "EPOCH_MILLISECOND": "EPOCH_MS",
    "EPOCH_MICROSECOND": "EPOCH_US",
}
_PARSED: Final = re.compile(r"(%[YmdHMSbB]|[^A-Za-z%\"])*")
_OF_FLATTEN: Final = frozenset({"KEY", "VALUE", "TYPE", "ATOM", "ID", "PARENT", "FULLKEY", "PATH"})


class UntranslatableError(Exception):
    """A part of a query has no translation; `node` is the part, as it was written."""

    def __init__(self, node: "exp.Expr", reason: str) -> None:
        super().__init__(reason)
        self.node = node
        self.reason = reason


def written_for_duckdb(tree: "exp.Query") -> "exp.Query":
    """Rewrite the tree of a query in Snowflake's words, in place, as one that DuckDB answers alike.

    Raises:
        UntranslatableError: for the first part that has no translation.
    """
    _check_names(tree)
    # From the outside in: what a part may be depends on what stands around it. What is made here
    # is marked, and not looked at again: it has DuckDB's meaning already.
    todo: list[exp.Expr] = [tree]
    while todo:
        node = todo.pop()
        written = node if node.meta.get(_OURS) else _written(node)
        if written is not node:
            if node is tree:
                tree = written  # type: ignore[assignment]  # a query is only ever itself
            else:
                node.replace(written)
        todo += written.iter_expressions()
    return tree


def _written(node: "exp.Expr") -> "exp.Expr":
    kind = type(node).__name__
    if write := _WRITTEN.get(kind):
        return write(node)
    if kind in _ALIKE:
        return node
    # So is what a later sqlglot has a class for: nobody has compared it with Snowflake yet.
    raise UntranslatableError(node, _REASONS.get(kind, _UNLOOKED))


def _ours(name: str, *arguments: "exp.Expr | str", takes_json: bool = False) -> "exp.Expr":
    """A call of a function or macro of DuckDB, which is not looked at again."""
    from sqlglot import exp

    parts = [exp.Literal.string(part) if isinstance(part, str) else part for part in arguments]
    return _marked(exp.Anonymous(this=name, expressions=parts), takes_json=takes_json)


def _marked(node: "exp.Expr", *, takes_json: bool = False) -> "exp.Expr":
    node.meta[_OURS] = True
    node.meta[_TAKES_JSON] = takes_json
    return node


def _duckdb(text: str, **parts: "exp.Expr") -> "exp.Expr":
    """DuckDB's words with some parts of the query in place of the columns of these names."""
    import sqlglot
    from sqlglot import exp

    tree = sqlglot.parse_one(text, read="duckdb")
    for node in list(tree.walk()):
        _marked(node, takes_json=True)
    for node in list(tree.find_all(exp.Column)):
        if not node.table and node.name in parts:
            # A copy, because a part of a tree has one place, and a name may stand here twice.
            node.replace(parts[node.name].copy())
    return tree


def _cast(node: "exp.Expr", kind: str, *, tries: bool = False) -> "exp.Expr":
    from sqlglot import exp

    to = exp.DataType.build(kind, dialect="duckdb")
    made = (exp.TryCast if tries else exp.Cast)(this=node, to=_all_marked(to))
    return _marked(made, takes_json=True)


def _literal(node: "exp.Expr | None") -> str | None:
    """The text of a constant; None if it is none."""
    from sqlglot import exp

    if isinstance(node, exp.Literal | exp.Var):
        return str(node.this)
    if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal):
        return f"-{node.this.this}"
    return None


def _only(node: "exp.Expr", *known: str) -> None:
    """Raise UntranslatableError if the form has any part but these."""
    for name, value in node.args.items():
        # True is a flag of the parser's; what somebody wrote is a tree.
        if value and name not in known and value is not True:
            raise UntranslatableError(node, "this form of it has no translation")


def _column(node: "exp.Expr") -> "exp.Expr":
    """A column, guarded where a VARIANT would be taken for its text."""
    from sqlglot import exp

    # On Snowflake a VARIANT compares as what it holds, DuckDB's JSON as its text: with the quotes.
    # Only the engine knows which column is one, so the guard is a macro that asks for the type.
    if isinstance(node.this, exp.Star):
        return node
    part, above = node, node.parent
    while isinstance(above, exp.Paren | exp.Tuple | exp.Rollup | exp.Cube | exp.GroupingSets):
        part, above = above, above.parent
    if isinstance(above, exp.Group) or _takes_any(part, above):  # HAVING guards what is grouped by
        return node
    bare = node.copy()
    for inner in bare.walk():
        _marked(inner)
    return _ours("snowflake_plain", bare, takes_json=True)


def _takes_any(part: "exp.Expr", above: "exp.Expr | None") -> bool:
    """Whether a VARIANT may stand in this place as it is."""
    from sqlglot import exp

    if above is None or above.meta.get(_TAKES_JSON) or isinstance(above, exp.Is | exp.Star):
        return True
    if isinstance(above, exp.Grouping):
        return True
    if isinstance(above, exp.Count | exp.JSONExtract | exp.Bracket):
        return part.arg_key == "this"
    if isinstance(above, exp.Alias):
        return _takes_any(above, above.parent)
    if isinstance(above, exp.Ordered):
        # It orders what comes out, and decides on nothing else.
        query = above.parent.parent if above.parent else None
        return isinstance(query, exp.Query) and not query.args.get("limit")
    if isinstance(above, exp.Select) and part.arg_key == "expressions":
        around = above.parent.parent if isinstance(above.parent, exp.Subquery) else above.parent
        return not isinstance(around, exp.In) and not above.args.get("distinct")
    return False


def _semi_structured(node: "exp.Expr", written: "exp.Expr") -> "exp.Expr":
    """What becomes JSON, if it stands where that is no text."""
    # Refused here and not by a macro: that it is JSON is known from the form alone.
    part, above = node, node.parent
    from sqlglot import exp

    while isinstance(above, exp.Paren):
        part, above = above, above.parent
    if not _takes_any(part, above):
        raise UntranslatableError(node, "a VARIANT needs a cast here, as in v:name::STRING")
    return written


def _json(node: "exp.Expr") -> "exp.Expr":
    """Something to look into: JSON, or a text of it, or a list of the engine's own."""
    return _cast(node, "JSON")


def _extract(node: "exp.Expr") -> "exp.Expr":
    from sqlglot import exp

    path = node.args["expression"]
    if not isinstance(path, exp.JSONPath):
        raise UntranslatableError(node, "its path is no constant")
    for step in path.expressions:
        if not isinstance(step, exp.JSONPathRoot | exp.JSONPathKey | exp.JSONPathSubscript) or (
            isinstance(step, exp.JSONPathSubscript) and not _is_index(step.this)
        ):
            raise UntranslatableError(node, "only keys, and places from 0 on, have a translation")
    return _semi_structured(node, _inside(node.this, path.expressions))


def _is_index(place: object) -> bool:
    return isinstance(place, int) and place >= 0


def _inside(node: "exp.Expr", steps: "Iterable[exp.Expr]") -> "exp.Expr":
    """`node -> '$."a"[0]'`; a key is quoted, whatever is in it."""
    from sqlglot import exp

    path = "".join(
        f"[{step.this}]" if isinstance(step, exp.JSONPathSubscript) else f'."{_key(step)}"'
        for step in steps
        if not isinstance(step, exp.JSONPathRoot)
    )
    return _ours("json_extract", _json(node), f"${path}", takes_json=True)


def _key(step: "exp.Expr") -> str:
    key = str(step.this)
    # Within the quotes of a path such a key could end them.
    if '"' in key or "\\" in key:
        raise UntranslatableError(step, "a key with a quotation mark or a backslash")
    return key


def _bracket(node: "exp.Expr") -> "exp.Expr":
    from sqlglot import exp

    place = node.expressions[0] if len(node.expressions) == 1 else None
    if not isinstance(place, exp.Literal) or not (place.is_string or str(place.this).isdigit()):
        raise UntranslatableError(node, "its place is no constant")
    step = (
        exp.JSONPathKey(this=place.this)
        if place.is_string
        else exp.JSONPathSubscript(this=int(place.this))
    )
    return _semi_structured(node, _inside(node.this, [step]))


def _get(node: "exp.Expr") -> "exp.Expr":
    from sqlglot import exp

    return _bracket_of(node, exp.Bracket(this=node.this, expressions=[node.args["expression"]]))


def _bracket_of(node: "exp.Expr", bracket: "exp.Expr") -> "exp.Expr":
    place = bracket.expressions[0]
    if _literal(place) is None:
        raise UntranslatableError(node, "its place is no constant")
    # What is around decides whether JSON may stand here, and a new part has nothing around it.
    bracket.parent, bracket.arg_key = node.parent, node.arg_key
    try:
        return _bracket(bracket)
    except UntranslatableError as refused:
        raise UntranslatableError(node, refused.reason) from None


# By macros, as what a cast does depends on the type of what is cast.
_INTEGERS: Final = frozenset({"INT", "BIGINT", "SMALLINT", "TINYINT", "MEDIUMINT", "INT128"})
_CASTS: Final = {
    "TEXT": "snowflake_text",
    "VARCHAR": "snowflake_text",
    "BOOLEAN": "snowflake_boolean",
    "DATE": "snowflake_date",
    "TIME": "snowflake_time",
    "TIMESTAMP": "snowflake_timestamp",
    "TIMESTAMPNTZ": "snowflake_timestamp",
    "DATETIME": "snowflake_timestamp",
    "TIMESTAMPLTZ": "snowflake_zoned",
}
_TRIES: Final = {
    "TEXT": "snowflake_text",
    "VARCHAR": "snowflake_text",
    "BOOLEAN": "snowflake_try_boolean",
    "DATE": "snowflake_try_date",
    "TIMESTAMP": "snowflake_try_timestamp",
    "TIMESTAMPNTZ": "snowflake_try_timestamp",
    "DATETIME": "snowflake_try_timestamp",
}


def _as_type(node: "exp.Expr") -> "exp.Expr":
    from sqlglot import exp

    tries = isinstance(node, exp.TryCast)
    to = node.args["to"]
    # A type with a size, VARCHAR(3) or TIME(3), cuts or refuses by rules that differ.
    kind = to.this.value
    if kind in _INTEGERS and not to.expressions:
        # Snowflake's integers are NUMBER(38, 0), whatever they are called, and DuckDB's BIGINT
        # does not round a text by itself.
        whole = _number(node.this, "DECIMAL(38, 0)", tries=tries)
        return _cast(whole, "BIGINT")
    if kind == "DECIMAL":
        sizes = ", ".join(str(size.this.this) for size in to.expressions)
        return _number(node.this, f"DECIMAL({sizes})", tries=tries)
    if kind in ("DOUBLE", "FLOAT"):
        return _number(node.this, "DOUBLE", tries=tries)
    if kind == "VARIANT":
        return _semi_structured(node, _ours("snowflake_variant", node.this, takes_json=True))
    name = (_TRIES if tries else _CASTS).get(kind)
    if name is None or to.expressions:
        raise UntranslatableError(node, "a cast to this type is not known to answer alike")
    return _ours(name, node.this, takes_json=True)


def _number(node: "exp.Expr", kind: str, *, tries: bool = False) -> "exp.Expr":
    from sqlglot import exp

    # A DOUBLE has lost the digits anyway of which the macro says that they are lost.
    keeps = _marked(exp.Boolean(this=kind != "DOUBLE"))
    return _cast(_ours("snowflake_digits", node, keeps, takes_json=True), kind, tries=tries)


def _to_number(node: "exp.Expr") -> "exp.Expr":
    if node.args.get("format"):
        raise UntranslatableError(node, "formats of numbers have no translation")
    sizes = [node.args.get("precision"), node.args.get("scale")]
    if any(size is not None and _literal(size) is None for size in sizes):
        raise UntranslatableError(node, "its precision or scale is no constant")
    precision, scale = _literal(sizes[0]) or "38", _literal(sizes[1]) or "0"
    kind = f"DECIMAL({precision}, {scale})"
    return _number(node.this, kind, tries=bool(node.args.get("safe")))


def _to_double(node: "exp.Expr") -> "exp.Expr":
    if node.args.get("format"):
        raise UntranslatableError(node, "formats of numbers have no translation")
    return _number(node.this, "DOUBLE", tries=bool(node.args.get("safe")))


def _to_boolean(node: "exp.Expr") -> "exp.Expr":
    name = "snowflake_try_boolean" if node.args.get("safe") else "snowflake_boolean"
    return _ours(name, node.this, takes_json=True)


def _to_date(node: "exp.Expr") -> "exp.Expr":
    tries = bool(node.args.get("safe"))
    if node.args.get("format") is None:
        name = "snowflake_try_date" if tries else "snowflake_date"
        return _ours(name, node.this, takes_json=True)
    return _cast(_parsed_time(node, tries=tries), "DATE")


def _to_time(node: "exp.Expr") -> "exp.Expr":
    return _parsed_time(node, tries=bool(node.args.get("safe")))


def _parsed_time(node: "exp.Expr", *, tries: bool) -> "exp.Expr":
    # A format that is no constant can't be rewritten; strptime has other letters for its parts.
    form = _literal(node.args["format"])
    if form is None or not _PARSED.fullmatch(form):
        raise UntranslatableError(node, "a part of its format has no translation")
    return _ours("try_strptime" if tries else "strptime", node.this, form)


def _unix(node: "exp.Expr") -> "exp.Expr":
    from sqlglot import exp

    target = node.args.get("target_type")
    if target is not None and target.this.value not in ("TIMESTAMP", "TIMESTAMPNTZ"):
        raise UntranslatableError(node, "the time zone that comes with it is lost")
    scale = _literal(node.args.get("scale")) or "0"
    # DuckDB's TIMESTAMP has microseconds, so that nanoseconds have no place in it.
    if scale not in ("0", "3", "6"):
        raise UntranslatableError(node, "only the scales 0, 3 and 6 have a translation")
    return _to_timestamp(node.this, exp.Literal.number(10 ** int(scale)))


def _to_timestamp(node: "exp.Expr", units: "exp.Expr") -> "exp.Expr":
    return _ours("snowflake_to_timestamp", node, units, takes_json=True)


def _anonymous(node: "exp.Expr") -> "exp.Expr":
    from sqlglot import exp

    name = str(node.this).upper() if isinstance(node.this, str) else ""
    # A name with a schema before it or in quotes is that of somebody's own function.
    if isinstance(node.parent, exp.Dot) or not isinstance(node.this, str):
        raise UntranslatableError(node, "it is a function of your own")
    if name in ("TO_TIMESTAMP", "TO_TIMESTAMP_NTZ") and len(node.expressions) == 1:
        return _to_timestamp(node.expressions[0], exp.Literal.number(1))
    if name in ("TO_DATE", "DATE", "TRY_TO_DATE") and len(node.expressions) == 1:
        macro = "snowflake_try_date" if name == "TRY_TO_DATE" else "snowflake_date"
        return _ours(macro, node.expressions[0], takes_json=True)
    if name == "TO_TIMESTAMP_LTZ" and len(node.expressions) == 1:
        return _ours("snowflake_zoned", node.expressions[0], takes_json=True)
    raise UntranslatableError(node, _REASONS["Anonymous"])


# What strftime calls them. Longer ones first, because the first that matches is taken.
_ELEMENTS: Final = {
    "YYYY": "%Y", "YY": "%y", "MMMM": "%B", "MON": "%b", "MM": "%m", "DD": "%d", "DY": "%a",
    "HH24": "%H", "HH12": "%I", "AM": "%p", "PM": "%p", "MI": "%M", "SS": "%S", "FF3": "%g",
    "FF6": "%f",
}  # fmt: skip
_ELEMENT: Final = re.compile(rf'(?i)({"|".join(_ELEMENTS)})|"([^"]*)"|([^A-Za-z"])|(.)', re.DOTALL)


def _to_char(node: "exp.Expr") -> "exp.Expr":
    if node.args.get("format") is None:
        return _ours("snowflake_text", node.this, takes_json=True)
    form = _literal(node.args["format"]) or ""
    # One without any part of a date is a format of numbers, or a mistake.
    if not re.search("(?i)" + "|".join(_ELEMENTS), form):
        raise UntranslatableError(node, "its format has no translation")
    written = ""
    for element, quoted, sign, other in _ELEMENT.findall(form):
        if other:
            raise UntranslatableError(node, "a part of its format has no translation")
        written += _ELEMENTS[element.upper()] if element else (quoted or sign).replace("%", "%%")
    return _ours("strftime", _moment(node.this), written)


def _moment(node: "exp.Expr") -> "exp.Expr":
    return _ours("snowflake_timestamp", node)


def _unit(node: "exp.Expr", part: "exp.Expr | None", known: "Collection[str]") -> str:
    name = (_literal(part) or "").upper()
    if name not in known:
        raise UntranslatableError(
            node, f"of units {', '.join(sorted(known)).lower()} have a translation"
        )
    return name


def _date_add(node: "exp.Expr") -> "exp.Expr":
    unit = _unit(node, node.args.get("unit"), _DATE_UNITS | _TIME_UNITS | _FRACTIONS)
    return _added(node.this, node.args["expression"], unit)


def _added(moment: "exp.Expr", number: "exp.Expr", unit: str) -> "exp.Expr":
    # On Snowflake a DATE stays one by days and becomes a timestamp by hours; DuckDB makes a
    # timestamp of both, which has another fingerprint.
    name = "snowflake_add_days" if unit in _DATE_UNITS else "snowflake_add_time"
    step = "INTERVAL 3 MONTH" if unit == "QUARTER" else f"INTERVAL 1 {unit}"
    return _ours(name, _duckdb(step), number, moment)


def _sum(node: "exp.Expr") -> "exp.Expr":
    """`d + INTERVAL '2 days'` is DATEADD; another sum is one there."""
    # As DATEADD, because an interval makes a timestamp of a date on DuckDB.
    from sqlglot import exp

    if isinstance(node.this, exp.Interval):
        raise UntranslatableError(node, "write the interval behind what it is added to")
    interval = node.args["expression"]
    if not isinstance(interval, exp.Interval):
        return node
    number = _literal(interval.this)
    if number is None or not re.fullmatch(r"-?\d+", number) or not interval.args.get("unit"):
        raise UntranslatableError(
            node, "only INTERVAL '1 day' and the like, with one unit, have a translation"
        )
    interval.args["unit"].set("this", interval.args["unit"].name.upper().removesuffix("S"))
    unit = _unit(node, interval.args["unit"], _DATE_UNITS | _TIME_UNITS)
    signed = -int(number) if isinstance(node, exp.Sub) else int(number)
    return _added(node.this, _duckdb(str(signed)), unit)


def _date_diff(node: "exp.Expr") -> "exp.Expr":
    unit = _unit(node, node.args.get("unit"), _DATE_UNITS | _TIME_UNITS)
    # Starts of units that were crossed: of weeks DuckDB 2.0 counts the full ones.
    return _ours("snowflake_crossed", unit.lower(), node.args["expression"], node.this)


def _truncated_time(node: "exp.Expr") -> "exp.Expr":
    unit = _unit(node, node.args.get("unit"), _DATE_UNITS | _TIME_UNITS)
    return _ours("snowflake_trunc", unit.lower(), node.this)


def _part(node: "exp.Expr") -> "exp.Expr":
    known = _DATE_UNITS | _TIME_UNITS | _PARTS | _SPELLINGS.keys()
    unit = _unit(node, node.this, known)
    unit = _SPELLINGS.get(unit, unit)
    moment = _moment(node.args["expression"])
    if unit in _EPOCHS:  # with a fraction on DuckDB, and whole on Snowflake
        return _cast(_ours("floor", _ours(_EPOCHS[unit], moment)), "BIGINT")
    return _ours("date_part", _OWN_PARTS.get(unit, unit).lower(), moment)


# Snowflake has several names for one part; the parser keeps the one that was written.
_SPELLINGS: Final = {
    "DAYOFWEEK_ISO": "DAYOFWEEKISO", "WEEKDAY": "DAYOFWEEK", "DW": "DAYOFWEEK",
    "DAYOFMONTH": "DAY", "WEEK_ISO": "WEEKISO", "WEEKOFYEAR": "WEEK",
    "EPOCH_SECONDS": "EPOCH_SECOND", "EPOCH_MILLISECONDS": "EPOCH_MILLISECOND",
    "EPOCH_MICROSECONDS": "EPOCH_MICROSECOND",
}  # fmt: skip
_PART_OF: Final = {
    "Year": "year", "Month": "month", "Day": "day", "DayOfMonth": "day", "DayOfWeek": "dayofweek",
    "DayOfWeekIso": "isodow", "DayOfYear": "dayofyear", "Week": "week", "WeekOfYear": "week",
    "YearOfWeek": "isoyear", "YearOfWeekIso": "isoyear", "Quarter": "quarter", "Hour": "hour",
    "Minute": "minute", "Second": "second",
}  # fmt: skip


def _named_part(node: "exp.Expr") -> "exp.Expr":
    _only(node, "this")
    return _ours("date_part", _PART_OF[type(node).__name__], _moment(node.this))


def _name_of_time(node: "exp.Expr") -> "exp.Expr":
    form = {"Monthname": "%b", "Dayname": "%a"}[type(node).__name__]
    return _ours("strftime", _moment(node.this), form)


def _last_day(node: "exp.Expr") -> "exp.Expr":
    part = node.args.get("unit")
    unit = _unit(node, part, {"YEAR", "QUARTER", "MONTH"}) if part is not None else "MONTH"
    months = {"YEAR": 11, "QUARTER": 2, "MONTH": 0}[unit]
    text = f"last_day(date_trunc('{unit}', x) + INTERVAL {months} MONTH)"
    return _duckdb(text, x=_ours("snowflake_date", node.this))


def _weekday(node: "exp.Expr") -> "exp.Expr":
    name = (_literal(node.args["expression"]) or "").lower()[:2]
    days = ("mo", "tu", "we", "th", "fr", "sa", "su")
    if name not in days:
        raise UntranslatableError(node, "its day of the week is no constant")
    day = days.index(name) + 1
    # Always another day: of a Monday the next one is a week later.
    text = (
        f"CAST(x + CAST(((({day} - isodow(x)) + 6) % 7) + 1 AS INTEGER) AS DATE)"
        if type(node).__name__ == "NextDay"
        else f"CAST(x - CAST(((isodow(x) - {day} + 6) % 7) + 1 AS INTEGER) AS DATE)"
    )
    return _duckdb(text, x=_ours("snowflake_date", node.this))


def _slice(node: "exp.Expr") -> "exp.Expr":
    number = _literal(node.args["expression"])
    unit = _unit(node, node.args.get("unit"), (_DATE_UNITS | _TIME_UNITS) - {"WEEK", "QUARTER"})
    if number is None or not number.isdigit() or node.args.get("kind"):
        raise UntranslatableError(
            node, "only the start of a slice of constant length has a translation"
        )
    return _ours("snowflake_slice", _duckdb(f"INTERVAL {int(number)} {unit}"), node.this)


def _in_zone(node: "exp.Expr") -> "exp.Expr":
    zones = [node.args.get(name) for name in ("source_tz", "target_tz")]
    if any(_literal(zone) is None for zone in zones):
        raise UntranslatableError(node, "only both time zones as constants have a translation")
    text = "timezone(y, timezone(x, z))"
    x, y = zones
    return _duckdb(text, x=x, y=y, z=_moment(node.args["timestamp"]))  # type: ignore[arg-type]


def _timestamp_parts(node: "exp.Expr") -> "exp.Expr":
    _only(node, "year", "month", "day", "hour", "min", "sec")
    names = ("year", "month", "day", "hour", "min", "sec")
    return _ours("make_timestamp", *(node.args[name] for name in names))


def _binary(name: str) -> _Write:
    return lambda node: _ours(name, node.this, node.args["expression"])


_INEXACT: Final = (
    "Cbrt", "Exp", "Ln", "Log", "Degrees", "Radians", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan",
    "Atan2", "Sinh", "Cosh", "Tanh", "Cot",
)  # fmt: skip


def _inexact(node: "exp.Expr") -> "exp.Expr":
    from sqlglot import exp

    # They come from the mathematical library of each engine, which may differ in the last digit:
    # a sensor would see another value on the other engine, or after an update.
    above = node.parent
    while above is not None and not above.meta.get(_ROUNDED) and not isinstance(above, exp.Query):
        above = above.parent
    if above is None or not above.meta.get(_ROUNDED):
        raise UntranslatableError(node, "its last digits depend on the engine: ROUND it")
    return node


def _power(node: "exp.Expr") -> "exp.Expr":
    return node if re.fullmatch(r"\d+", _literal(node.args["expression"]) or "") else _inexact(node)


def _round(node: "exp.Expr") -> "exp.Expr":
    # Both round half away from zero by themselves.
    mode = _literal(node.args.get("truncate"))
    if mode not in (None, "HALF_AWAY_FROM_ZERO", "HALF_TO_EVEN"):
        raise UntranslatableError(node, "its rounding mode has no translation")
    digits = node.args.get("decimals") or _duckdb("0")
    made = _ours("round_even" if mode == "HALF_TO_EVEN" else "round", node.this, digits)
    made.meta[_ROUNDED] = True
    return made


def _whole(node: "exp.Expr") -> "exp.Expr":
    if node.args.get("decimals"):
        raise UntranslatableError(node, "with a scale it has no exact translation")
    return _ours(type(node).__name__.lower(), node.this)


def _trunc(node: "exp.Expr") -> "exp.Expr":
    digits = node.args.get("decimals")
    return _ours("trunc", node.this, *([digits] if digits is not None else []))


def _sha2(node: "exp.Expr") -> "exp.Expr":
    # sqlglot writes sha256 for every length, without a word.
    if (_literal(node.args.get("length")) or "256") != "256":
        raise UntranslatableError(node, "only 256 bits have a translation")
    return _ours("sha256", node.this)


def _texts(node: "exp.Expr") -> "exp.Expr":
    """A concatenation of texts."""
    # What is no text becomes one by a macro: of a decimal or a moment the engines' texts differ.
    from sqlglot import exp

    if isinstance(node, exp.DPipe):
        parts = [node.this, node.args["expression"]]
    elif isinstance(node, exp.ConcatWs):
        separator, *parts = node.expressions
        parts = [part for one in parts for part in (separator.copy(), one)][1:]
    else:
        parts = list(node.expressions)
    # Not concat(), which leaves NULLs out on DuckDB: on Snowflake the whole is NULL then.
    [first, *others] = [_ours("snowflake_text", part, takes_json=True) for part in parts]
    for other in others:
        first = _marked(exp.DPipe(this=first, expression=other))
    return _marked(exp.Paren(this=first))


def _contains(node: "exp.Expr") -> "exp.Expr":
    return _ours(
        "contains", *(_ours("snowflake_text", node.args[name]) for name in ("this", "expression"))
    )


def _length(node: "exp.Expr") -> "exp.Expr":
    return _ours("length", _ours("snowflake_text", node.this, takes_json=True))


def _byte_length(node: "exp.Expr") -> "exp.Expr":
    return _ours("strlen", _ours("snowflake_text", node.this, takes_json=True))


def _pad(node: "exp.Expr") -> "exp.Expr":
    # Snowflake fills with blanks if nothing is said; DuckDB's lpad has to be told.
    filling = node.args.get("fill_pattern") or _duckdb("' '")
    if _literal(filling) in (None, ""):
        raise UntranslatableError(node, "what it fills with is no constant text")
    return _ours(
        "lpad" if node.args["is_left"] else "rpad", node.this, node.args["expression"], filling
    )


def _split_part(node: "exp.Expr") -> "exp.Expr":
    place = _literal(node.args["part_index"])
    delimiter = _literal(node.args["delimiter"])
    if place is None or not delimiter:
        raise UntranslatableError(node, "its delimiter or place is no constant")
    number = _duckdb(str(int(place) or 1))  # place 0 is the first, too
    return _ours("split_part", node.this, node.args["delimiter"], number)


def _initcap(node: "exp.Expr") -> "exp.Expr":
    # The parser writes the delimiters of the documentation where there are none.
    given = _literal(node.args.get("expression"))
    if given is not None and not set("!?@_,.:;") <= set(given):
        raise UntranslatableError(node, "delimiters of its own have no translation")
    return _ours("snowflake_initcap", node.this)


def _regexp_substr(node: "exp.Expr") -> "exp.Expr":
    from sqlglot import exp

    flags = _literal(node.args["parameters"]) if node.args.get("parameters") else "c"
    place = _literal(node.args["position"]) if node.args.get("position") else "1"
    nth = _literal(node.args["occurrence"]) if node.args.get("occurrence") else "1"
    group = _literal(node.args["group"]) if node.args.get("group") else "0"
    if place != "1" or not (nth or "").isdigit() or not set(flags or "?") <= set("ceis"):
        raise UntranslatableError(
            node, "of its arguments only an occurrence, c, i, e and a group translate"
        )
    part = "1" if group == "0" and "e" in str(flags) else str(group)
    pattern = node.args["expression"]
    # DuckDB takes the flags as a part of the pattern; "c" is its default, too, and "e" no flag.
    before = "".join(f"(?{flag})" for flag in "is" if flag in str(flags))
    if before:
        pattern = _marked(exp.DPipe(this=exp.Literal.string(before), expression=pattern))
    return _ours("snowflake_regexp_substr", node.this, pattern, _duckdb(str(nth)), _duckdb(part))


def _regexp_replace(node: "exp.Expr") -> "exp.Expr":
    _only(node, "this", "expression", "replacement")
    replacement = node.args.get("replacement") or _duckdb("''")
    # "g", because DuckDB replaces the first match only, and Snowflake all of them.
    return _ours("regexp_replace", node.this, node.args["expression"], replacement, "g")


def _regexp_count(node: "exp.Expr") -> "exp.Expr":
    _only(node, "this", "expression")
    found = _ours("regexp_extract_all", node.this, node.args["expression"])
    return _cast(_ours("len", found), "BIGINT")


def _regexp_like(node: "exp.Expr") -> "exp.Expr":
    flags = node.args.get("flag")
    if flags is not None and not set(_literal(flags) or "?") <= set("cis"):
        raise UntranslatableError(node, "of its parameters c, i and s have a translation")
    return node


def _average(node: "exp.Expr", over: _Write) -> "exp.Expr":
    from sqlglot import exp

    # A quotient of exact numbers, as on Snowflake: DuckDB's own AVG is a DOUBLE.
    total = over(_marked(exp.Sum(this=node.this.copy())))
    count = over(_marked(exp.Count(this=node.this.copy())))
    return _ours("snowflake_divide", total, count)


def _median(node: "exp.Expr", over: _Write) -> "exp.Expr":
    return _percentile(node.this, "0.5", over)


def _percentile(value: "exp.Expr", part: str, over: _Write) -> "exp.Expr":
    from sqlglot import exp

    # Of a DOUBLE, and made a number again beside one of the values: the type is that of these.
    found = over(_ours("quantile_cont", _cast(value.copy(), "DOUBLE"), _duckdb(part)))
    one = over(_marked(exp.Min(this=value.copy())))
    return _ours("snowflake_between", found, one)


def _within_group(node: "exp.Expr", over: _Write) -> "exp.Expr":
    from sqlglot import exp

    inner, order = node.this, node.args["expression"].expressions
    if isinstance(inner, exp.ArrayAgg):
        return _array_agg(inner, over, order)
    if isinstance(inner, exp.PercentileCont):
        part = _literal(inner.this) or ""
        if not re.fullmatch(r"[01](\.\d{1,3})?|\.\d{1,3}", part) or len(order) != 1:
            raise UntranslatableError(
                node, "a percentile with up to three digits after the point translates"
            )
        share = f"{1 - float(part):.3f}" if order[0].args.get("desc") else part
        return _percentile(order[0].this, share, over)
    if isinstance(inner, exp.PercentileDisc) and not order[0].args.get("desc"):
        part = _literal(inner.this) or ""
        if not part:
            raise UntranslatableError(node, "its percentile is no constant")
        return over(_ours("quantile_disc", order[0].this, _duckdb(part)))
    raise UntranslatableError(node, _UNLOOKED)


def _array_agg(node: "exp.Expr", over: _Write, order: "Collection[exp.Expr]" = ()) -> "exp.Expr":
    from sqlglot import exp

    # The list is the value: in another order it is another one at every tick.
    if isinstance(node.this, exp.Distinct):
        raise UntranslatableError(node, "with DISTINCT its order is left to the engine")
    # Snowflake leaves NULLs out, and without rows it gives an empty array; DuckDB keeps them, and
    # gives NULL.
    value = node.this.copy()
    made: exp.Expr = _ours("snowflake_variant", value, takes_json=True)
    if order:
        made = _marked(exp.Order(this=made, expressions=[one.copy() for one in order]))
    found = _marked(
        exp.Filter(
            this=_ours("list", made),
            expression=_marked(
                exp.Where(
                    this=_marked(
                        exp.Not(this=_marked(exp.Is(this=value.copy(), expression=exp.Null())))
                    )
                )
            ),
        )
    )
    whole = _ours("to_json", over(found))
    return _semi_structured(
        node.parent if order and node.parent else node,
        _ours("coalesce", whole, _cast(_duckdb("'[]'"), "JSON")),
    )


def _listagg(node: "exp.Expr", over: _Write) -> "exp.Expr":
    from sqlglot import exp

    inner, order = node.this, []
    if isinstance(inner, exp.Order):
        inner, order = inner.this, inner.expressions
    separator = node.args.get("separator")
    if isinstance(inner, exp.Distinct):
        made: exp.Expr = inner.copy()
    else:
        made = _ours("snowflake_text", inner.copy(), takes_json=True)
    last: exp.Expr = _duckdb("''") if separator is None else separator.copy()
    if order:
        last = _marked(exp.Order(this=last, expressions=[one.copy() for one in order]))
    return _ours("coalesce", over(_ours("string_agg", made, last)), "")  # of no row NULL on DuckDB


def _by(node: "exp.Expr", over: _Write) -> "exp.Expr":
    _only(node, "this", "expression")
    # DuckDB's arg_min passes over a NULL beside the smallest value; Snowflake gives it.
    name = {"ArgMin": "arg_min_null", "ArgMax": "arg_max_null"}[type(node).__name__]
    return over(_ours(name, node.this.copy(), node.args["expression"].copy()))


# With OVER (...), if there is one: some become a quotient of two aggregates, and each needs it.
_AGGREGATES: Final[dict[str, Callable[["exp.Expr", _Write], "exp.Expr"]]] = {
    "Avg": _average,
    "Median": _median,
    "WithinGroup": _within_group,
    "ArrayAgg": _array_agg,
    "GroupConcat": _listagg,
    "ArgMin": _by,
    "ArgMax": _by,
}


def _aggregate(node: "exp.Expr") -> "exp.Expr":
    return _AGGREGATES[type(node).__name__](node, lambda made: made)


def _window(node: "exp.Expr") -> "exp.Expr":
    write = _AGGREGATES.get(type(node.this).__name__)
    if write is None:
        return node

    def over(made: "exp.Expr") -> "exp.Expr":
        window = node.copy()
        window.set("this", made)
        return _marked(window)

    return write(node.this, over)


def _parse_json(node: "exp.Expr") -> "exp.Expr":
    _only(node, "this")
    if node.args.get("safe"):
        return _semi_structured(node, _cast(node.this, "JSON", tries=True))
    return _semi_structured(node, _cast(node.this, "JSON"))


def _object(node: "exp.Expr") -> "exp.Expr":
    from sqlglot import exp

    # Not json_object: Snowflake leaves out the keys whose value is NULL, DuckDB keeps them.
    names, values = [], []
    for pair in node.expressions:
        if not isinstance(pair, exp.PropertyEQ):
            raise UntranslatableError(node, "its keys and values have to be written out")
        key = pair.this
        names.append(exp.Literal.string(key.name) if isinstance(key, exp.Identifier) else key)
        values.append(_ours("snowflake_variant", pair.args["expression"], takes_json=True))
    if not names:
        return _semi_structured(node, _cast(_duckdb("'{}'"), "JSON"))
    lists = [_ours("list_value", *names), _ours("list_value", *values)]
    return _semi_structured(node, _ours("snowflake_object", *lists, takes_json=True))


def _object_with_nulls(node: "exp.Expr") -> "exp.Expr":
    parts: list[exp.Expr] = []
    for pair in node.expressions:
        parts += [pair.this, _ours("snowflake_variant", pair.args["expression"], takes_json=True)]
    return _semi_structured(node, _ours("json_object", *parts))


def _array(node: "exp.Expr") -> "exp.Expr":
    parts = [_ours("snowflake_element", part, takes_json=True) for part in node.expressions]
    made = (
        _ours("to_json", _ours("list_value", *parts)) if parts else _cast(_duckdb("'[]'"), "JSON")
    )
    return _semi_structured(node, made)


def _of_json(name: str, *, makes_json: bool = False) -> _Write:
    def write(node: "exp.Expr") -> "exp.Expr":
        _only(node, "this")
        made = _ours(name, _json(node.this), takes_json=True)
        return _semi_structured(node, made) if makes_json else made

    return write


def _array_to_string(node: "exp.Expr") -> "exp.Expr":
    _only(node, "this", "expression")
    return _ours("snowflake_array_to_string", _json(node.this), node.args["expression"])


def _array_contains(node: "exp.Expr") -> "exp.Expr":
    element = _ours("snowflake_variant", node.args["expression"], takes_json=True)
    return _ours("snowflake_array_contains", _json(node.this), element, takes_json=True)


def _split(node: "exp.Expr") -> "exp.Expr":
    made = _ours("snowflake_split", node.this, node.args["expression"])
    return _semi_structured(node, made)


def _to_variant(node: "exp.Expr") -> "exp.Expr":
    return _semi_structured(node, _ours("snowflake_variant", node.this, takes_json=True))


def _flatten(node: "exp.Expr") -> "exp.Expr":
    """LATERAL FLATTEN as a subquery with its columns KEY, INDEX and VALUE."""
    import sqlglot
    from sqlglot import exp

    call = node.this
    if isinstance(node, exp.Lateral) and isinstance(call, exp.Subquery):
        return node
    source, is_outer = _flattened(node)
    # json_each goes through a single value as well, once; FLATTEN has no row for one.
    query = sqlglot.parse_one(
        "SELECT CASE WHEN json_type(x) = 'OBJECT' THEN e.key END AS key, "
        "CASE WHEN json_type(x) = 'ARRAY' THEN TRY_CAST(e.key AS BIGINT) END AS index, "
        "e.value AS value FROM json_each(x) AS e WHERE json_type(x) IN ('ARRAY', 'OBJECT')",
        read="duckdb",
    )
    for part in list(query.walk()):
        _marked(part)
    for place in [part for part in query.find_all(exp.Column) if part.name == "x"]:
        place.replace(_cast(source.copy(), "JSON"))
    # A row without elements stays by a LEFT join, whose condition is always true.
    join = node.parent
    if is_outer:
        if not isinstance(join, exp.Join):
            raise UntranslatableError(call, "OUTER needs a table before it")
        join.set("side", "LEFT")
        join.set("on", _marked(exp.true()))
    alias = node.args.get("alias")
    name = exp.TableAlias(this=alias.this.copy()) if alias and alias.this else None
    return _marked(
        exp.Lateral(this=_marked(exp.Subquery(this=query)), alias=name and _all_marked(name))
    )


def _flattened(node: "exp.Expr") -> tuple["exp.Expr", bool]:
    """What FLATTEN goes through, and whether a row without elements stays."""
    from sqlglot import exp

    call = node.this
    if not isinstance(call, exp.Explode):
        raise UntranslatableError(node, "of table functions only FLATTEN has a translation")
    named: dict[str, exp.Expr] = {"input": call.this}
    for argument in [call.this, *call.expressions]:
        if isinstance(argument, exp.Kwarg):
            named[str(argument.this.name).lower()] = argument.args["expression"]
    source, outer = named.pop("input"), named.pop("outer", exp.false())
    if named or not isinstance(outer, exp.Boolean):
        raise UntranslatableError(call, "only INPUT and OUTER of FLATTEN have a translation")
    # Within the subquery that is made of it, such a name would be that of a column of its own.
    for column in source.find_all(exp.Column):
        if not column.table and column.name.upper() in _OF_FLATTEN:
            raise UntranslatableError(
                call, f"name the table of {column.name}, as FLATTEN has such a column"
            )
    return source, bool(outer.this)


def _all_marked(node: "exp.Expr") -> "exp.Expr":
    for part in node.walk():
        _marked(part)
    return node


def _values(node: "exp.Expr") -> "exp.Expr":
    from sqlglot import exp

    # Snowflake calls them COLUMN1 and so on, DuckDB col0.
    alias = node.args.get("alias")
    if alias is None or not alias.args.get("columns"):
        rows = node.expressions
        width = len(rows[0].expressions) if rows and isinstance(rows[0], exp.Tuple) else 1
        names = [exp.to_identifier(f"column{number + 1}") for number in range(width)]
        this = alias.this if alias is not None and alias.this else exp.to_identifier("values_")
        node.set("alias", exp.TableAlias(this=this, columns=names))
    return node


def _table(node: "exp.Expr") -> "exp.Expr":
    from sqlglot import exp

    if not isinstance(node.this, exp.Identifier):
        raise UntranslatableError(node, "only tables and views by their names have a translation")
    return node


def _subquery(node: "exp.Expr") -> "exp.Expr":
    """One that stands for a value must not be a VARIANT."""
    from sqlglot import exp

    # What stands in the place of a table has columns, and these are guarded where they are used.
    around = exp.From | exp.Join | exp.SetOperation | exp.Subquery | exp.CTE | exp.Lateral | exp.In
    if node.parent is None or isinstance(node.parent, around | exp.Exists | exp.Any | exp.All):
        return node
    return _ours("snowflake_plain", _marked(node.copy()), takes_json=True)


def _select(node: "exp.Expr") -> "exp.Expr":
    """A query; what it groups by is guarded in HAVING, so that it stays what it is."""
    from sqlglot import exp

    for part in ("connect", "match", "kind", "hint", "into", "laterals", "locks"):
        if node.args.get(part):
            raise UntranslatableError(node, f"{part.upper()} has no translation")
    group = node.args.get("group")
    if group is None:
        return node
    # GROUP BY ALL is what is selected; an aggregate among it is no column, and passed over below.
    # In HAVING, because within GROUP BY the guard itself would be what is grouped by.
    grouped = list(group.expressions)
    if group.args.get("all"):
        grouped += [one.unalias() for one in node.expressions]
    for one in [*grouped]:  # GROUP BY 1
        if isinstance(one, exp.Literal) and not one.is_string:
            grouped.append(node.expressions[int(one.this) - 1].unalias())
    for one in grouped:
        if isinstance(one, exp.Column) and not isinstance(one.this, exp.Star):
            guard = _ours("snowflake_is_plain", _all_marked(one.copy()), takes_json=True)
            having = node.args.get("having")
            node.set("having", exp.Having(this=_both(having.this, guard) if having else guard))
    return node


def _both(one: "exp.Expr", other: "exp.Expr") -> "exp.Expr":
    from sqlglot import exp

    return exp.And(this=exp.Paren(this=one.copy()), expression=other)


def _join(node: "exp.Expr") -> "exp.Expr":
    if node.args.get("match_condition") or node.args.get("method") == "ASOF":
        raise UntranslatableError(node, "ASOF has no translation")
    return node


def _fetch(node: "exp.Expr") -> "exp.Expr":
    from sqlglot import exp

    options = node.args.get("limit_options")
    if options is not None and any(options.args.get(name) for name in ("percent", "with_ties")):
        raise UntranslatableError(node, "only FETCH of a number of rows has a translation")
    return exp.Limit(expression=node.args["count"])


def _literal_form(node: "exp.Expr") -> "exp.Expr":
    # On Snowflake it is a FLOAT or a NUMBER by its digits, on DuckDB always a DOUBLE.
    if not node.is_string and re.search("[eE]", str(node.this)):
        raise UntranslatableError(
            node, "a number with an exponent has another type; write it out or cast it"
        )
    return node


def _star(node: "exp.Expr") -> "exp.Expr":
    if {key for key, value in node.args.items() if value} - {"except_"}:
        raise UntranslatableError(
            node, "of what may follow the star only EXCLUDE has a translation"
        )
    for part in node.walk():
        _marked(part)
    return node


def _interval(node: "exp.Expr") -> "exp.Expr":
    raise UntranslatableError(node, "an INTERVAL has a translation only behind + or -")


def _check_names(tree: "exp.Query") -> None:
    """Raise UntranslatableError if names differ by case only: DuckDB can not tell them apart."""
    from sqlglot import exp

    # "a" and A are two columns on Snowflake; DuckDB would take the first for both.
    seen: dict[str, str] = {}
    for identifier in tree.find_all(exp.Identifier):
        name = normal_name(identifier, "snowflake")
        if seen.setdefault(name.casefold(), name) != name:
            raise UntranslatableError(
                identifier, "DuckDB does not tell it from a name in another case"
            )


_WRITTEN: Final[dict[str, _Write]] = {
    "Column": _column,
    "JSONExtract": _extract,
    "GetExtract": _get,
    "Bracket": _bracket,
    "Cast": _as_type,
    "TryCast": _as_type,
    "ToNumber": _to_number,
    "ToDouble": _to_double,
    "ToBoolean": _to_boolean,
    "TsOrDsToDate": _to_date,
    "StrToTime": _to_time,
    "UnixToTime": _unix,
    "Anonymous": _anonymous,
    "ToChar": _to_char,
    "DateAdd": _date_add,
    "TimeAdd": _date_add,
    "Add": _sum,
    "Sub": _sum,
    "Interval": _interval,
    "DateDiff": _date_diff,
    "TimestampTrunc": _truncated_time,
    "DateTrunc": _truncated_time,
    "Extract": _part,
    **dict.fromkeys(_PART_OF, _named_part),
    "Monthname": _name_of_time,
    "Dayname": _name_of_time,
    "LastDay": _last_day,
    "NextDay": _weekday,
    "PreviousDay": _weekday,
    "MonthsBetween": lambda node: _ours(
        "snowflake_months_between", node.this, node.args["expression"]
    ),
    "AddMonths": lambda node: _ours("snowflake_add_months", node.this, node.args["expression"]),
    "TimeSlice": _slice,
    "ConvertTimezone": _in_zone,
    "TimestampFromParts": _timestamp_parts,
    "Div": _binary("snowflake_divide"),
    "Mod": _binary("snowflake_remainder"),
    "Mul": _binary("snowflake_times"),
    **dict.fromkeys(_INEXACT, _inexact),
    "Pow": _power,
    "Round": _round,
    "Ceil": _whole,
    "Floor": _whole,
    "Trunc": _trunc,
    "SHA2": _sha2,
    "DPipe": _texts,
    "Concat": _texts,
    "ConcatWs": _texts,
    "Contains": _contains,
    "Length": _length,
    "ByteLength": _byte_length,
    "Pad": _pad,
    "SplitPart": _split_part,
    "Initcap": _initcap,
    "RegexpExtract": _regexp_substr,
    "RegexpReplace": _regexp_replace,
    "RegexpCount": _regexp_count,
    "RegexpLike": _regexp_like,
    **dict.fromkeys(_AGGREGATES, _aggregate),
    "Window": _window,
    "ParseJSON": _parse_json,
    "Struct": _object,
    "JSONObject": _object_with_nulls,
    "Array": _array,
    "ArraySize": _of_json("snowflake_array_size"),
    "Typeof": _of_json("snowflake_typeof"),
    "JSONKeys": _of_json("snowflake_object_keys", makes_json=True),
    "IsNullValue": lambda node: _duckdb("json_type(x) = 'NULL'", x=_json(node.this)),
    "IsArray": lambda node: _duckdb("json_type(x) = 'ARRAY'", x=_json(node.this)),
    "ArrayToString": _array_to_string,
    "ArrayContains": _array_contains,
    "Split": _split,
    "ToVariant": _to_variant,
    "Lateral": _flatten,
    "TableFromRows": _flatten,
    "Values": _values,
    "Table": _table,
    "Subquery": _subquery,
    "Select": _select,
    "Join": _join,
    "Fetch": _fetch,
    "Literal": _literal_form,
    "Star": _star,
}

FORMS: Final = _ALIKE | _WRITTEN.keys()
"""The names of sqlglot's classes for all forms that have a translation."""
