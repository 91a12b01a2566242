"""Queries are found by name; a parameter is told from everything else that has a colon."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.errors import QueryError
from flowproject.sql import Query, bind, dollar, find_query, parameters, statement

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
TEXT = st.text(alphabet="ab:;'\"$-/*\\\n {}[]é", max_size=12)

# Text that is no SQL to the scanner, whatever stands in it.
OPAQUE = st.one_of(
    TEXT.map(lambda text: "'" + text.replace("'", "''") + "'"),
    TEXT.map(lambda text: '"' + text.replace('"', '""') + '"'),
    TEXT.map(lambda text: "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"),
    TEXT.map(lambda text: "$$" + text.replace("$", "") + "$$"),
    TEXT.map(lambda text: "$tag$" + text.replace("$tag$", "") + "x$tag$"),
    TEXT.map(lambda text: "--" + text.replace("\n", "") + "\n"),
    TEXT.map(lambda text: "/*" + text.replace("*", "").replace("/", "") + "*/"),
    TEXT.map(lambda text: "/* /*" + text.replace("*", "").replace("/", "") + "*/ :nested */"),
)
PLAIN = st.sampled_from(
    ["a::int", "list[1:n]", "{'k':v}", "col:field", "f(a := 1)", "x + 1", "1:b"]
)
PARAMETER = NAMES.map(lambda name: f":{name}")


def query(text: str) -> Query:
    return Query(file="sql/it.sql", text=text)


@settings(deadline=None)
@given(st.lists(st.one_of(OPAQUE, PLAIN, PARAMETER)))
def test_only_what_stands_in_the_sql_itself_is_a_parameter(pieces: list[str]):
    expected = [piece[1:] for piece in pieces if re.fullmatch(r":\w+", piece)]
    found = parameters(" ".join(pieces))
    assert [parameter.name for parameter in found] == expected


@settings(deadline=None)
@given(st.lists(st.one_of(OPAQUE, PLAIN, PARAMETER)))
def test_binding_changes_the_parameters_and_nothing_else(pieces: list[str]):
    text = " ".join(pieces)
    names = {parameter.name: 1 for parameter in parameters(text)}
    expected = " ".join(
        f"${piece[1:]}" if re.fullmatch(r":\w+", piece) else piece for piece in pieces
    )
    assert bind(query(text), names, dollar) == expected


@settings(deadline=None)
@given(st.text(alphabet="ab:;'\"$-/*\\\n E{}[]()é\0", max_size=60))
def test_any_text_can_be_scanned_and_places_are_right(text: str):
    for parameter in parameters(text):
        assert text[parameter.start : parameter.end] == f":{parameter.name}"
    assert text.startswith(statement(text))


@pytest.mark.parametrize(
    "text, names",
    [
        ("SELECT :a", ["a"]),
        ("f(:a,:b)", ["a", "b"]),
        ("[:a, :b]", ["a", "b"]),
        ("x=:a AND y<:b", ["a", "b"]),
        (":a::date", ["a"]),
        (":a:field", ["a"]),
        ("{'k': :a}", ["a"]),
        ("CAST(:größe AS int)", ["größe"]),
        ("name$with$dollars :a", ["a"]),
        ("'it''s' :a", ["a"]),
        ("'\\' :a", ["a"]),
        ("E'\\' :no' :a", ["a"]),
        ("nameE'\\' :a", ["a"]),
        ("$1:path", []),
        ("parse(x):path", []),
        ("list[0]:path", []),
        ('"quoted":path', []),
        ("'open string :a", []),
        ("/* open comment :a", []),
        ("$$ open dollars :a", []),
        (":1 : a :", []),
    ],
)
def test_what_is_a_parameter(text: str, names: list[str]):
    assert [parameter.name for parameter in parameters(text)] == names


@pytest.mark.parametrize(
    "text, first",
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT 1; -- end", "SELECT 1"),
        ("SELECT ';' ; SELECT 2", "SELECT ';' "),
        ("SELECT 1 /* ; */ ;", "SELECT 1 /* ; */ "),
    ],
)
def test_a_statement_ends_at_its_own_semicolon(text: str, first: str):
    assert statement(text) == first


def test_a_missing_value_is_shown_where_it_is_needed():
    with pytest.raises(QueryError) as caught:
        bind(query("SELECT 1,\n  2 > :since"), {"sinse": 1}, dollar)
    message = str(caught.value)
    assert ":since has no value. sql/it.sql, line 2, column 7." in message
    assert "Did you mean 'sinse'?" in message
    assert message.endswith("\n      2 > :since\n          ^ here.")


def test_a_value_without_a_parameter_is_an_error_that_names_the_parameters():
    with pytest.raises(QueryError, match=r"no parameter :untl.*:since, :until.*'until'"):
        bind(query("SELECT :since, :until"), {"since": 1, "until": 2, "untl": 3}, dollar)


def test_a_colon_that_sticks_to_a_word_is_explained():
    with pytest.raises(QueryError, match=r"line 1, column 8.*space before this colon"):
        bind(query("LIMIT a:n"), {"n": 1}, dollar)


def test_a_caret_in_a_long_line_stays_on_the_screen():
    error = query("x" * 5000 + " :a " + "y" * 5000).error("It broke", at=5001)
    *_, line, caret = str(error).split("\n")
    assert line[caret.index("^") :].startswith(":a")
    assert max(len(line), len(caret)) < 120


def test_a_query_is_found_by_its_name(tmp_path: Path):
    (tmp_path / "sql" / "daily").mkdir(parents=True)
    (tmp_path / "sql" / "daily" / "rain.sql").write_text("\ufeffSELECT 1", encoding="utf-8")
    assert find_query(tmp_path, "daily/rain") == Query(file="sql/daily/rain.sql", text="SELECT 1")


def test_a_missing_query_is_an_error_that_lists_those_that_exist(tmp_path: Path):
    (tmp_path / "sql").mkdir()
    for name in ("sensor", "forecast"):
        (tmp_path / "sql" / f"{name}.sql").touch()
    with pytest.raises(QueryError) as caught:
        find_query(tmp_path, "sensr")
    message = str(caught.value)
    assert "forecast, sensor" in message
    assert "Did you mean 'sensor'?" in message
    assert "sql/sensr.sql" in message


def test_without_any_query_the_error_says_which_file_to_create(tmp_path: Path):
    with pytest.raises(QueryError, match=r"Create `sql/sensor.sql`"):
        find_query(tmp_path, "sensor")


@pytest.mark.parametrize("name", ["", "../secret", "a/../../secret", "/etc/secret", "a\0b"])
def test_a_name_can_not_leave_its_folder(tmp_path: Path, name: str):
    (tmp_path / "secret.sql").touch()
    with pytest.raises(QueryError, match="does not name a query"):
        find_query(tmp_path, name)


def test_a_file_that_is_not_text_is_an_error(tmp_path: Path):
    (tmp_path / "sql").mkdir()
    (tmp_path / "sql" / "it.sql").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(QueryError, match="can't be read: it is not UTF-8 text"):
        find_query(tmp_path, "it")


def test_a_folder_in_the_place_of_a_file_is_an_error(tmp_path: Path):
    (tmp_path / "sql" / "it.sql").mkdir(parents=True)
    with pytest.raises(QueryError, match="can't be read"):
        find_query(tmp_path, "it")


@pytest.mark.parametrize(
    "text, at",
    [
        ("SELECT 'postgresql://bob:LONG@db/x' AS u, 1 AS aaaaaaaaaaaaaaa FROM FROM x", "FROM x"),
        ("SELECT * FROM x WHERE password = 'LONG_0123456789' FROM FROM x", "FROM x"),
        (
            "SELECT 1 AS aaaaaaaaaaaaaaaaaaaa FROM FROM x WHERE u = 'postgresql://b:LONG@db/x'",
            "FROM FROM",
        ),
        ("SELECT 'postgresql://bob:LONG@db/x' AS u", "LONG"),
    ],
)
def test_no_part_of_a_secret_stands_in_a_line_that_is_cut(text: str, at: str):
    secret = "8f3a9c1e7b5d2046" * 4
    text = text.replace("LONG", secret)
    told = str(query(text).error("It broke", at=text.index(at.replace("LONG", secret[9:]))))
    assert not any(secret[i : i + 4] in told for i in range(len(secret) - 3))
    *_, line, caret = told.split("\n")
    assert "****" not in line
    if at.startswith("FROM"):
        assert line[caret.index("^") :].startswith(at)
