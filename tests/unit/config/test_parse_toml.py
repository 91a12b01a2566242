"""A file that is not TOML: the message shows where, and what to write."""

import pytest

from flowproject.config.parse import parse_config
from flowproject.errors import ConfigError

BROKEN = [
    (
        "project_name = weather\n",
        (
            "flowproject.toml, line 1, column 16: this is not TOML: invalid value.\n"
            "    project_name = weather\n"
            "                   ^\n"
            'Text needs quotes: project_name = "weather".'
        ),
    ),
    (
        "a = 1\r\n\tb = [1 2]\r\n",
        (
            "flowproject.toml, line 2, column 9: this is not TOML: unclosed array.\n"
            "    \tb = [1 2]\n"
            "    \t       ^\n"
            "Every line is [section], key = value, or a # comment; text stands in quotes."
        ),
    ),
    (
        '[data]\ntype = "duckdb"\ntype = "files"\n[sensor]\n',
        (
            "flowproject.toml, line 3, column 15: this is not TOML: cannot overwrite a value.\n"
            '    type = "files"\n'
            "                  ^\n"
            "The same key stands further up. Keep one of the two."
        ),
    ),
    (
        "[data]\n[data]\n",
        (
            "flowproject.toml, line 2, column 6: [data] appears twice.\n"
            "    [data]\n"
            "         ^\n"
            "Rename one of the two, or merge them."
        ),
    ),
    (
        "[sensors.a]\n[sensors.b]\n[sensors.a]\n",
        (
            "flowproject.toml, line 3, column 11: [sensors.a] appears twice: "
            "two sensors with one name.\n"
            "    [sensors.a]\n"
            "              ^\n"
            "Rename one of the two, or merge them."
        ),
    ),
    (
        "a =",
        (
            "flowproject.toml, line 1, column 4: this is not TOML: invalid value.\n"
            "    a =\n"
            "       ^\n"
            'After "=" comes text in quotes, a number, true, false, or a list in brackets.'
        ),
    ),
]


@pytest.mark.parametrize("text, expected", BROKEN)
def test_the_message_shows_the_line_and_what_usually_helps(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    assert str(caught.value) == expected


def test_only_the_part_of_a_long_line_around_the_fault_is_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(f'a = "{"x" * 5000}" oops\n')
    line, pointer = str(caught.value).splitlines()[1:3]
    assert line[len(pointer) - 1 :].startswith("oops")
    assert len(line) < 100


def test_a_file_that_would_exhaust_the_reader_is_refused() -> None:
    with pytest.raises(ConfigError, match="nests brackets too deeply"):
        parse_config("a = " + "[" * 100_000)
    with pytest.raises(ConfigError, match="a number that is too long"):
        parse_config("a = " + "1" * 5000)


def test_the_mark_that_some_editors_put_first_is_ignored() -> None:
    text = '\ufeffproject_name = "w"\n[data]\ntype = "files"\npath = "x"\n'
    assert parse_config(text)["project_name"] == "w"
