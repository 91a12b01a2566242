"""Makes the macros that a translation calls: functions of DuckDB that answer as Snowflake's do."""

# They ask `typeof`, as only the engine knows the type of a column: to its optimizer that is a
# constant, and the branches for other types cost nothing. Such a branch must bind for every type,
# and must not fail where it is dead: hence TRY_CAST, and the way through text.

import re
from typing import Final

__all__ = ["NO_TRANSLATION", "NO_VALUE", "macros"]

# A refusal that the types decide begins like this: where it stands in a plan, no row changes it.
NO_TRANSLATION: Final = "No translation: "

# And one that the values of a row decide.
NO_VALUE: Final = "No value: "

_INTEGER: Final = "U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?"
_EXACT: Final = f"^({_INTEGER}|DECIMAL.*)$"
_NUMBER: Final = f'^({_INTEGER}|DECIMAL.*|FLOAT|DOUBLE|"NULL")$'
_WITH_TEXT: Final = f'^(VARCHAR|BOOLEAN|DATE|ENUM.*|{_INTEGER}|DECIMAL.*|"NULL")$'
_WITH_JSON: Final = rf'^(VARCHAR|BOOLEAN|DATE|DOUBLE|{_INTEGER}|DECIMAL.*|STRUCT.*|.*\[\]|"NULL")$'
_NESTED: Final = r"^(JSON|VARIANT|STRUCT|MAP|UNION|TUPLE)|\]$"
_MOMENT: Final = '^(DATE|TIMESTAMP(_S|_MS| WITH TIME ZONE)?|"NULL")$'
_ISO: Final = r"\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{2}(:\d{2}(\.\d{1,6}0*)?)?)?"
_ZONED: Final = rf"{_ISO} ?(Z|[+-]\d{{2}}(:?\d{{2}})?)"
_SLASHES: Final = r"\d{1,2}/\d{1,2}/\d{4}"
_NAMED_MONTH: Final = r"\d{1,2}-(?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)-\d{4}"
_DELIMITERS: Final = r"\s!?@\"^#$&~_,.:;+\-*%/|\\\[\](){}<>"
_TRUE: Final = "('true', 't', 'yes', 'y', 'on', '1')"
_FALSE: Final = "('false', 'f', 'no', 'n', 'off', '0')"


def _is(kind: str, name: str = "x") -> str:
    return f"regexp_matches(typeof({name}), '{kind}')"


def _untranslated(reason: str) -> str:
    # In two parts: a plan also holds names made of what was written, and only what is still there
    # of it after the dead branches are gone has been put together.
    return f"snowflake_refused(concat('No translation', ': {reason}'))"


def _unknown(reason: str) -> str:
    return f"snowflake_refused('{NO_VALUE}{reason}')"


def _of_type(what: str, name: str = "x") -> str:
    """A refusal that names the type of what it is asked of."""
    return f"snowflake_refused(concat('No translation', ': {what} ', typeof({name})))"


_CAST_IT: Final = _untranslated("VARIANT, ARRAY and OBJECT need a cast here, as in v:name::STRING")
_UNREADABLE: Final = _unknown(
    "a text is no date or time, or one in a form that is read on Snowflake only"
)
_ZONE: Final = _unknown("what a text with a time zone is without one depends on the session")
_DIGITS_LOST: Final = _unknown("a number has more digits than a JSON value keeps")

_REFUSING: Final = f"""
-- A failed cast, and an index for having no type. Unlike `error`, this may stand in a window.
CREATE OR REPLACE TEMP MACRO snowflake_refused(message) AS [NULL][CAST(message AS INTEGER)];

CREATE OR REPLACE TEMP MACRO snowflake_plain(x) AS
    CASE WHEN {_is(_NESTED)} THEN {_CAST_IT} ELSE x END;

CREATE OR REPLACE TEMP MACRO snowflake_is_plain(x) AS
    CASE WHEN {_is(_NESTED)} THEN {_CAST_IT} ELSE TRUE END;
"""

_CASTS: Final = rf"""
CREATE OR REPLACE TEMP MACRO snowflake_json_text(j) AS CASE json_type(j)
    WHEN 'NULL' THEN NULL
    WHEN 'OBJECT' THEN {_unknown("the text of an OBJECT depends on the engine: name its fields")}
    WHEN 'ARRAY' THEN {_unknown("the text of an ARRAY depends on the engine: use ARRAY_TO_STRING")}
    WHEN 'DOUBLE' THEN CASE
        WHEN regexp_matches(j ->> '$', '[eE]|\.0$') OR length(j ->> '$') > 17 THEN {_DIGITS_LOST}
        ELSE j ->> '$' END
    ELSE j ->> '$' END;

CREATE OR REPLACE TEMP MACRO snowflake_text(x) AS CASE
    WHEN typeof(x) = 'JSON' THEN snowflake_json_text(TRY_CAST(x AS JSON))
    WHEN {_is(_WITH_TEXT)} THEN CAST(x AS VARCHAR)
    WHEN typeof(x) = 'TIMESTAMP'
    THEN strftime(TRY_CAST(CAST(x AS VARCHAR) AS TIMESTAMP), '%Y-%m-%d %H:%M:%S.%g')
    ELSE {_of_type("the text depends on the engine or the session for")} END;

-- DuckDB takes 1_000 for a number.
CREATE OR REPLACE TEMP MACRO snowflake_digits(x, keeps) AS CASE
    WHEN {_is(_NUMBER)} THEN CAST(x AS VARCHAR)
    WHEN typeof(x) = 'VARCHAR' THEN replace(CAST(x AS VARCHAR), '_', '?')
    WHEN typeof(x) = 'BOOLEAN' THEN
        CASE CAST(x AS VARCHAR) WHEN 'true' THEN '1' WHEN 'false' THEN '0' END
    WHEN typeof(x) = 'JSON' THEN CASE json_type(TRY_CAST(x AS JSON))
        WHEN 'BOOLEAN' THEN CASE TRY_CAST(x AS JSON) ->> '$' WHEN 'true' THEN '1' ELSE '0' END
        WHEN 'DOUBLE' THEN CASE
            WHEN keeps AND (regexp_matches(TRY_CAST(x AS JSON) ->> '$', '[eE]')
                OR length(TRY_CAST(x AS JSON) ->> '$') > 17) THEN {_DIGITS_LOST}
            ELSE TRY_CAST(x AS JSON) ->> '$' END
        ELSE replace(TRY_CAST(x AS JSON) ->> '$', '_', '?') END
    ELSE {_of_type("no number is")} END;

CREATE OR REPLACE TEMP MACRO snowflake_truth(t) AS CASE
    WHEN t IS NULL THEN NULL
    WHEN lower(t) IN {_TRUE} THEN TRUE
    WHEN lower(t) IN {_FALSE} THEN FALSE
    ELSE {_unknown("a text is no BOOLEAN")} END;

CREATE OR REPLACE TEMP MACRO snowflake_boolean(x) AS CASE
    WHEN typeof(x) = 'BOOLEAN' THEN TRY_CAST(CAST(x AS VARCHAR) AS BOOLEAN)
    WHEN typeof(x) = 'VARCHAR' THEN snowflake_truth(CAST(x AS VARCHAR))
    WHEN typeof(x) = 'JSON' THEN snowflake_truth(TRY_CAST(x AS JSON) ->> '$')
    WHEN {_is(_NUMBER)} THEN TRY_CAST(CAST(x AS VARCHAR) AS DOUBLE) <> 0
    ELSE {_of_type("no BOOLEAN is")} END;

CREATE OR REPLACE TEMP MACRO snowflake_try_boolean(x) AS CASE
    WHEN typeof(x) <> 'VARCHAR' THEN snowflake_boolean(x)
    WHEN lower(CAST(x AS VARCHAR)) IN {_TRUE} THEN TRUE
    WHEN lower(CAST(x AS VARCHAR)) IN {_FALSE} THEN FALSE END;
"""

_TIMES: Final = rf"""
-- Seconds, milliseconds, microseconds or nanoseconds, as many digits as there are.
CREATE OR REPLACE TEMP MACRO snowflake_epoch(t) AS make_timestamp(CAST(CASE
    WHEN TRY_CAST(t AS HUGEINT) < 31536000000 THEN TRY_CAST(t AS HUGEINT) * 1000000
    WHEN TRY_CAST(t AS HUGEINT) < 31536000000000 THEN TRY_CAST(t AS HUGEINT) * 1000
    WHEN TRY_CAST(t AS HUGEINT) < 31536000000000000 THEN TRY_CAST(t AS HUGEINT)
    ELSE TRY_CAST(t AS HUGEINT) // 1000 END AS BIGINT));

CREATE OR REPLACE TEMP MACRO snowflake_text_timestamp(t) AS CASE
    WHEN t IS NULL THEN NULL
    WHEN regexp_full_match(t, '{_ISO}') THEN CAST(t AS TIMESTAMP)
    WHEN regexp_full_match(t, '\d{{1,19}}') THEN snowflake_epoch(t)
    WHEN regexp_full_match(t, '{_ZONED}') THEN {_ZONE}
    ELSE {_UNREADABLE} END;

CREATE OR REPLACE TEMP MACRO snowflake_text_date(t) AS CASE
    WHEN t IS NULL THEN NULL
    WHEN regexp_full_match(t, '{_SLASHES}') THEN CAST(strptime(t, '%m/%d/%Y') AS DATE)
    WHEN regexp_full_match(t, '{_NAMED_MONTH}') THEN CAST(strptime(t, '%d-%b-%Y') AS DATE)
    ELSE CAST(snowflake_text_timestamp(t) AS DATE) END;

CREATE OR REPLACE TEMP MACRO snowflake_timestamp(x) AS CASE
    WHEN typeof(x) = 'VARCHAR' THEN snowflake_text_timestamp(CAST(x AS VARCHAR))
    WHEN typeof(x) = 'JSON' THEN snowflake_text_timestamp(TRY_CAST(x AS JSON) ->> '$')
    WHEN {_is(_MOMENT)} THEN TRY_CAST(CAST(x AS VARCHAR) AS TIMESTAMP)
    ELSE {_of_type("no moment is")} END;

CREATE OR REPLACE TEMP MACRO snowflake_try_timestamp(x) AS CASE
    WHEN typeof(x) <> 'VARCHAR' THEN snowflake_timestamp(x)
    WHEN regexp_full_match(CAST(x AS VARCHAR), '{_ISO}') THEN TRY_CAST(x AS TIMESTAMP)
    WHEN NOT regexp_matches(CAST(x AS VARCHAR), '\d') THEN NULL
    ELSE snowflake_text_timestamp(CAST(x AS VARCHAR)) END;

-- A number is seconds, whatever its size; only a text is judged by it.
CREATE OR REPLACE TEMP MACRO snowflake_to_timestamp(x, units) AS CASE
    WHEN {_is(_EXACT)}
    THEN make_timestamp(CAST(TRY_CAST(CAST(x AS VARCHAR) AS DECIMAL(38, 6)) * 1000000 / units
        AS BIGINT))
    WHEN units = 1 THEN snowflake_timestamp(x)
    ELSE {_of_type("a scale says nothing of")} END;

CREATE OR REPLACE TEMP MACRO snowflake_zoned(x) AS CASE
    WHEN {_is(_MOMENT)} THEN TRY_CAST(CAST(x AS VARCHAR) AS TIMESTAMPTZ)
    WHEN typeof(x) <> 'VARCHAR' THEN {_of_type("no moment is")}
    WHEN x IS NULL THEN NULL
    WHEN regexp_full_match(CAST(x AS VARCHAR), '{_ZONED}|{_ISO}')
    THEN CAST(CAST(x AS VARCHAR) AS TIMESTAMPTZ)
    ELSE {_UNREADABLE} END;

CREATE OR REPLACE TEMP MACRO snowflake_date(x) AS CASE
    WHEN typeof(x) = 'VARCHAR' THEN snowflake_text_date(CAST(x AS VARCHAR))
    WHEN typeof(x) = 'JSON' THEN snowflake_text_date(TRY_CAST(x AS JSON) ->> '$')
    WHEN {_is(_MOMENT)} THEN CAST(TRY_CAST(CAST(x AS VARCHAR) AS TIMESTAMP) AS DATE)
    ELSE {_of_type("no DATE is")} END;

CREATE OR REPLACE TEMP MACRO snowflake_try_date(x) AS CASE
    WHEN typeof(x) <> 'VARCHAR' THEN snowflake_date(x)
    WHEN regexp_full_match(CAST(x AS VARCHAR), '{_ISO}')
    THEN CAST(TRY_CAST(CAST(x AS VARCHAR) AS TIMESTAMP) AS DATE)
    WHEN regexp_full_match(CAST(x AS VARCHAR), '{_SLASHES}')
    THEN CAST(try_strptime(CAST(x AS VARCHAR), '%m/%d/%Y') AS DATE)
    WHEN regexp_full_match(CAST(x AS VARCHAR), '{_NAMED_MONTH}')
    THEN CAST(try_strptime(CAST(x AS VARCHAR), '%d-%b-%Y') AS DATE)
    WHEN NOT regexp_matches(CAST(x AS VARCHAR), '\d') THEN NULL
    ELSE snowflake_text_date(CAST(x AS VARCHAR)) END;

CREATE OR REPLACE TEMP MACRO snowflake_time(x) AS CASE
    WHEN typeof(x) IN ('TIME', '"NULL"') THEN TRY_CAST(CAST(x AS VARCHAR) AS TIME)
    WHEN typeof(x) = 'TIMESTAMP' THEN CAST(TRY_CAST(CAST(x AS VARCHAR) AS TIMESTAMP) AS TIME)
    WHEN typeof(x) <> 'VARCHAR' THEN {_of_type("no TIME is")}
    WHEN x IS NULL THEN NULL
    WHEN regexp_full_match(CAST(x AS VARCHAR), '\d{{1,2}}:\d{{2}}(:\d{{2}}(\.\d{{1,6}})?)?')
    THEN CAST(CAST(x AS VARCHAR) AS TIME)
    ELSE {_UNREADABLE} END;

CREATE OR REPLACE TEMP MACRO snowflake_whole(n) AS
    CAST(TRY_CAST(snowflake_digits(n, TRUE) AS DECIMAL(38, 0)) AS BIGINT);

CREATE OR REPLACE TEMP MACRO snowflake_add_days(i, n, d DATE) AS
        CAST(d + snowflake_whole(n) * i AS DATE),
    (i, n, d TIMESTAMP) AS d + snowflake_whole(n) * i,
    (i, n, d TIMESTAMPTZ) AS d + snowflake_whole(n) * i,
    (i, n, d VARCHAR) AS snowflake_text_timestamp(d) + snowflake_whole(n) * i;

CREATE OR REPLACE TEMP MACRO snowflake_add_time(i, n, d DATE) AS
        CAST(d AS TIMESTAMP) + snowflake_whole(n) * i,
    (i, n, d TIMESTAMP) AS d + snowflake_whole(n) * i,
    (i, n, d TIMESTAMPTZ) AS d + snowflake_whole(n) * i,
    (i, n, d VARCHAR) AS snowflake_text_timestamp(d) + snowflake_whole(n) * i;

CREATE OR REPLACE TEMP MACRO snowflake_add_months(d DATE, n) AS
    CASE WHEN d = last_day(d) THEN last_day(d + snowflake_whole(n) * INTERVAL 1 MONTH)
        ELSE CAST(d + snowflake_whole(n) * INTERVAL 1 MONTH AS DATE) END,
    (d TIMESTAMP, n) AS
    CASE WHEN CAST(d AS DATE) = last_day(d)
        THEN last_day(d + snowflake_whole(n) * INTERVAL 1 MONTH) + (d - date_trunc('day', d))
        ELSE d + snowflake_whole(n) * INTERVAL 1 MONTH END;

CREATE OR REPLACE TEMP MACRO snowflake_trunc(part, d DATE) AS CAST(date_trunc(part, d) AS DATE),
    (part, d TIMESTAMP) AS date_trunc(part, d),
    (part, d TIMESTAMPTZ) AS date_trunc(part, d),
    (part, d VARCHAR) AS date_trunc(part, snowflake_text_timestamp(d));

CREATE OR REPLACE TEMP MACRO snowflake_slice(i, d DATE) AS
        CAST(time_bucket(i, CAST(d AS TIMESTAMP), TIMESTAMP '1970-01-01') AS DATE),
    (i, d TIMESTAMP) AS time_bucket(i, d, TIMESTAMP '1970-01-01');

-- By starts of units that were crossed; DuckDB 2.0 counts the full weeks.
CREATE OR REPLACE TEMP MACRO snowflake_crossed(part, a, b) AS
    date_diff(part, date_trunc(part, snowflake_timestamp(a)),
        date_trunc(part, snowflake_timestamp(b)));

CREATE OR REPLACE TEMP MACRO snowflake_months_between(a DATE, b DATE) AS round(
    (year(a) - year(b)) * 12 + month(a) - month(b)
    + CASE WHEN day(a) = day(b) OR (a = last_day(a) AND b = last_day(b)) THEN 0
        ELSE CAST(day(a) - day(b) AS DOUBLE) / 31 END, 6);
"""

_NUMBERS: Final = rf"""
CREATE OR REPLACE TEMP MACRO snowflake_scale(kind) AS
    CASE WHEN kind LIKE 'DECIMAL%' THEN CAST(regexp_extract(kind, ',\s*(\d+)\)', 1) AS INTEGER)
    ELSE 0 END;

CREATE OR REPLACE TEMP MACRO snowflake_unscaled(x) AS
    TRY_CAST(replace(CAST(x AS VARCHAR), '.', '') AS HUGEINT);

CREATE OR REPLACE TEMP MACRO snowflake_ten(n) AS CAST(concat('1', repeat('0', n)) AS HUGEINT);

CREATE OR REPLACE TEMP MACRO snowflake_halves_up(n, d) AS (2 * n + d) // nullif(2 * d, 0);

-- Half away from zero, exactly; a DOUBLE holds the result as long as it has 15 digits.
CREATE OR REPLACE TEMP MACRO snowflake_decimal(n, d, scale) AS CASE
    WHEN snowflake_halves_up(abs(n), abs(d)) >= 1000000000000000
    THEN {_unknown("a quotient has more digits than are kept here: cast to FLOAT")}
    ELSE sign(n) * sign(d) * CAST(snowflake_halves_up(abs(n), abs(d)) AS DOUBLE)
        / CAST(snowflake_ten(scale) AS DOUBLE) END;

CREATE OR REPLACE TEMP MACRO snowflake_quotient(a, b, s, t) AS snowflake_decimal(
    snowflake_unscaled(a) * snowflake_ten(t + greatest(s, least(s + 6, 12)) - s),
    snowflake_unscaled(b), greatest(s, least(s + 6, 12)));

CREATE OR REPLACE TEMP MACRO snowflake_divide(a, b) AS CASE
    WHEN NOT {_is(_NUMBER, "a")} THEN {_of_type("nothing divides", "a")}
    WHEN NOT {_is(_NUMBER, "b")} THEN {_of_type("nothing is divided by", "b")}
    WHEN a IS NULL OR b IS NULL THEN NULL
    WHEN TRY_CAST(CAST(b AS VARCHAR) AS DOUBLE) = 0 THEN {_unknown("division by zero")}
    WHEN {_is(_EXACT, "a")} AND {_is(_EXACT, "b")}
    THEN snowflake_quotient(a, b, snowflake_scale(typeof(a)), snowflake_scale(typeof(b)))
    ELSE TRY_CAST(CAST(a AS VARCHAR) AS DOUBLE) / TRY_CAST(CAST(b AS VARCHAR) AS DOUBLE) END;

CREATE OR REPLACE TEMP MACRO snowflake_remainder(a, b) AS
    CASE WHEN b = 0 THEN {_unknown("division by zero")} ELSE a % b END;

CREATE OR REPLACE TEMP MACRO snowflake_times(a, b) AS CASE
    WHEN snowflake_scale(typeof(a)) + snowflake_scale(typeof(b))
        > greatest(12, snowflake_scale(typeof(a)), snowflake_scale(typeof(b)))
    THEN {_untranslated("a product of decimals with more than 12 digits after the point")}
    ELSE a * b END;

-- Between values Snowflake has three digits more than they have.
CREATE OR REPLACE TEMP MACRO snowflake_between(x, one) AS CASE
    WHEN {_is(_EXACT, "one")} THEN round(x, snowflake_scale(typeof(one)) + 3) ELSE x END;
"""  # noqa: S608  # macros, of nothing that anybody else wrote

_TEXTS: Final = rf"""
CREATE OR REPLACE TEMP MACRO snowflake_regexp_substr(s, p, nth, part) AS
    CASE WHEN s IS NOT NULL AND p IS NOT NULL
    THEN list_extract(regexp_extract_all(s, p, part), nth) END;

CREATE OR REPLACE TEMP MACRO snowflake_initcap(s) AS array_to_string(list_transform(
    regexp_extract_all(s, '[{_DELIMITERS}]+|[^{_DELIMITERS}]+'),
    lambda word: concat(upper(word[1]), lower(word[2:]))), '');

"""

_NESTING: Final = rf"""
CREATE OR REPLACE TEMP MACRO snowflake_variant(x) AS CASE
    WHEN x IS NULL THEN NULL
    WHEN typeof(x) = 'JSON' THEN TRY_CAST(x AS JSON)
    WHEN {_is(_WITH_JSON)} THEN to_json(x)
    ELSE {_of_type("no VARIANT is made of")} END;

CREATE OR REPLACE TEMP MACRO snowflake_element(x) AS
    CASE WHEN x IS NULL THEN {_unknown("an ARRAY has a NULL")} ELSE snowflake_variant(x) END;

CREATE OR REPLACE TEMP MACRO snowflake_object(names, texts) AS to_json(map_from_entries(
    list_filter(list_zip(names, texts), lambda e: e[1] IS NOT NULL AND e[2] IS NOT NULL)));

CREATE OR REPLACE TEMP MACRO snowflake_object_keys(x) AS to_json(list_sort(json_keys(x)));

CREATE OR REPLACE TEMP MACRO snowflake_array_size(x) AS
    CASE WHEN json_type(x) = 'ARRAY' THEN CAST(json_array_length(x) AS BIGINT) END;

CREATE OR REPLACE TEMP MACRO snowflake_array_to_string(x, separator) AS array_to_string(
    list_transform(CAST(x AS JSON[]), lambda e: coalesce(snowflake_json_text(e), '')), separator);

CREATE OR REPLACE TEMP MACRO snowflake_array_contains(x, element) AS list_contains(
    list_transform(CAST(x AS JSON[]), lambda e: CAST(e AS VARCHAR)), CAST(element AS VARCHAR));

CREATE OR REPLACE TEMP MACRO snowflake_split(s, separator) AS to_json(
    CASE WHEN separator = '' THEN [s] ELSE str_split(s, separator) END);

CREATE OR REPLACE TEMP MACRO snowflake_typeof(j) AS CASE json_type(j)
    WHEN 'UBIGINT' THEN 'INTEGER'
    WHEN 'BIGINT' THEN 'INTEGER'
    WHEN 'NULL' THEN 'NULL_VALUE'
    WHEN 'DOUBLE' THEN CASE WHEN regexp_matches(j ->> '$', '[eE]|\.0$') THEN {_DIGITS_LOST}
        ELSE 'DECIMAL' END
    ELSE json_type(j) END;
"""

_NAME: Final = re.compile(r"(?i)snowflake_\w+")
_MACROS: Final = {
    _NAME.search(one)[0]: one  # type: ignore[index]  # each is a macro, and has its name first
    for one in (_REFUSING + _CASTS + _TIMES + _NUMBERS + _TEXTS + _NESTING).split(";\n")
    if one.strip()
}


def macros(text: str) -> str:
    """The script that makes the macros which a query uses, for the connection that it runs on."""
    # Only these, because each is parsed and bound anew for a connection, at every tick.
    needed: dict[str, None] = {}
    unseen = [text]
    while unseen:
        found = {name.lower() for name in _NAME.findall(unseen.pop())}
        new = [name for name in found if name in _MACROS and name not in needed]
        needed.update(dict.fromkeys(new))
        unseen += [_MACROS[name] for name in new]
    # In their own order: a macro can call only what was made before it.
    return ";\n".join(_MACROS[name] for name in _MACROS if name in needed)
