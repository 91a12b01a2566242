"""A translation keeps what binds a query to its file: its name, its parameters, its columns."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.dialect import translate
from flowproject.errors import QueryError
from flowproject.sql import Query, bind, dollar, parameters

pytestmark = pytest.mark.seconds(10)  # the first query of the process imports the parser


def query(*text: str) -> Query:
    return Query(file="sql/it.sql", text=" ".join(text))


@pytest.mark.parametrize(
    "text, translated",
    [
        (
            "SELECT iff(a IS NULL, 1, 2) AS n FROM t",
            'SELECT CASE WHEN a IS NULL THEN 1 ELSE 2 END AS "N" FROM t',
        ),
        (
            "SELECT a:b::string AS v FROM t",
            'SELECT SNOWFLAKE_TEXT(JSON_EXTRACT(CAST(a AS JSON), \'$."b"\')) AS "V" FROM t',
        ),
        (
            "SELECT id, t.x, \"q\", 'é' FROM t",
            'SELECT id AS "ID", t.x AS "X", "q" AS "q", \'é\' FROM t',
        ),
        (
            "(SELECT id FROM t) UNION SELECT b FROM u",
            '( SELECT id AS "ID" FROM t ) UNION SELECT b FROM u',
        ),
        ("SELECT * FROM VALUES (1)", "SELECT * FROM (VALUES (1)) AS values_(column1)"),
        ("SELECT 1 -- :no\n;", "SELECT 1"),
    ],
)
def test_a_translation_says_the_same_in_the_other_dialect(text: str, translated: str):
    found = translate(query(text), read="snowflake", write="duckdb")
    assert found.file == "sql/it.sql"
    assert " ".join(found.text.split()) == translated


PARAMETER = st.from_regex(r":[a-z][a-z0-9]{2,6}x", fullmatch=True)
PLACES = st.sampled_from(
    [
        "{}::int",
        "upper({})",
        "iff(a > {0}, {0}, 1)",
        "'$no' || {}",
        "nvl({}, $$a :no $no$$)",
    ]
)


@settings(max_examples=40)
@given(st.lists(st.tuples(PLACES, PARAMETER)))
def test_a_translation_binds_the_same_parameters(found: list[tuple[str, str]]):
    expressions = [place.format(name) for place, name in found]
    asked = query("SELECT 'b'", *(f",\n {one}" for one in expressions), "FROM t")
    names = {name[1:]: 1 for _, name in found}
    translated = translate(asked, read="snowflake", write="duckdb")
    assert {parameter.name for parameter in parameters(translated.text)} == set(names)
    bound = bind(translated, names, dollar)
    assert not parameters(bound)
    assert all(f"${name}" in bound for name in names)


@pytest.mark.parametrize(
    "text, message",
    [
        ("SELECT 1,\n  $v", r"variable of the session.*line 2, column 3"),
        ("SELECT a :b FROM t", r"takes :b for something else.*line 1, column 10"),
        ("DROP TABLE t", "not only look"),
        ("SELEC 1", "line 1, column 7"),
    ],
)
def test_what_has_no_translation_is_said_with_its_place(text: str, message: str):
    with pytest.raises(QueryError, match=f"(?s){message}"):
        translate(query(text), read="snowflake", write="duckdb")
