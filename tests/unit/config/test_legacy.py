"""The old scaffold's file is refused, with the lines that turn it into ours."""

import tomllib

import pytest

from flowproject.config.legacy import refuse_old_scaffold
from flowproject.config.parse import parse_config
from flowproject.errors import ConfigError

S3 = """\
project_name = "demo_project"
[data]
storage_type = "s3"
role = "arn:aws:iam::123456789012:role/reader"
[data_kwargs]
bucket = "s3://demo/incoming"
key = "LICENSE"
check_mode = "file_size"
template = "left over"
[sensor]
cron_schedule = "*/30 * * * *"
event_name = ""
"""

SNOWFLAKE = """\
project_name = "demo_project"
[data]
type = "snowflake"
integration = "weather"
[data_kwargs]
template = "forecast"
"""


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    return str(caught.value)


def test_the_edits_are_listed_and_the_resulting_file_is_printed() -> None:
    assert refusal(S3) == (
        "flowproject.toml has the shape of the old scaffold, which is not read any more.\n"
        "  - Rename [data] storage_type to type.\n"
        "  - Rename [data_kwargs] template to query.\n"
        "  - Move the keys of [data_kwargs] into [data], and remove [data_kwargs].\n"
        "  - Name the sensor in [sensor], for @on_change('data') in flows.\n"
        "With these edits the file reads:\n"
        "\n"
        'project_name = "demo_project"\n'
        "\n"
        "[data]\n"
        'type = "s3"\n'
        'role = "arn:aws:iam::123456789012:role/reader"\n'
        'bucket = "demo"\n'
        'key = "incoming/LICENSE"\n'
        'check_mode = "file_size"\n'
        "\n"
        "[sensor]\n"
        'name = "data"\n'
        'cron_schedule = "*/30 * * * *"\n'
        'event_name = ""\n'
        "\n"
        "Check it with `flowproject check`. Or have the whole project written anew in a folder "
        "beside this one, with what is to do in its flows: `flowproject init ../new --from .`"
    )


@pytest.mark.parametrize(
    "text, data",
    [
        (SNOWFLAKE, {"type": "snowflake", "integration": "weather", "query": "forecast"}),
        (
            SNOWFLAKE.replace('template = "forecast"', ""),
            {"type": "snowflake", "integration": "weather", "query": "sensor"},
        ),
        ('[data]\nstorage_type = "snowflake"\n', {"type": "snowflake", "query": "sensor"}),
        ('[data_kwargs]\nbucket = "b"\nkey = "k"\n', {"type": "s3", "bucket": "b", "key": "k"}),
        (
            '[data]\ntype = "s3"\ntemplate = "t"\nbucket = "s3://b/"\n',
            {"type": "s3", "bucket": "b", "key": ""},
        ),
    ],
)
def test_the_printed_lines_are_toml_in_todays_words(text: str, data: dict[str, str]) -> None:
    printed = refusal(text).partition("reads:\n\n")[2].partition("\nCheck it")[0]
    assert tomllib.loads(printed)["data"] == data


def test_every_kind_of_value_survives_the_translation() -> None:
    text = (
        "[data_kwargs]\n"
        'a = "quote \\" and line \\n"\nb = true\nc = [1, 2.5]\nd = { "x y" = 1979-05-27 }\n'
        "e = 07:32:00\nf = inf\n"
    )
    raw = tomllib.loads(text)
    with pytest.raises(ConfigError) as caught:
        refuse_old_scaffold(raw, "flowproject.toml")
    printed = str(caught.value).partition("reads:\n\n")[2].partition("\nCheck it")[0]
    assert tomllib.loads(printed)["data"] == {"type": "s3", **raw["data_kwargs"]}


def test_a_file_in_our_shape_is_left_alone() -> None:
    refuse_old_scaffold({"data": {"type": "s3"}, "sensor": {}}, "flowproject.toml")


def test_the_file_that_it_prints_for_snowflake_is_one() -> None:
    printed = refusal(SNOWFLAKE).partition("reads:\n\n")[2].partition("\nCheck it")[0]
    data = parse_config(printed)["data"]
    assert (data["integration"], data["query"]) == ("weather", "forecast")


def test_the_oldest_shape_had_its_query_in_the_code() -> None:
    text = 'project_name = "p"\n[data]\ntype = "snowflake"\nintegration = "weather"\n'
    text += (
        '[sensor]\ncron_schedule = "*/30 * * * *"\nevent_name = "Rain-changed"\npayload_key = ""\n'
    )
    said = refusal(text)
    assert "Add [data] query: the old one stood in the code, and was sql/sensor.sql." in said
    project = parse_config(said.partition("reads:\n\n")[2].partition("\nCheck it")[0])
    [sensor] = project["sensors"].values()
    assert (sensor["name"], sensor["event_name"]) == ("rain", "Rain-changed")
    assert sensor["data"]["query"] == "sensor"


def test_sensors_with_queries_of_their_own_are_todays() -> None:
    data = {"type": "snowflake", "integration": "i"}
    refuse_old_scaffold({"data": data, "sensors": {"a": {"data": {"query": "q"}}}}, "x")


@pytest.mark.parametrize("value", ["...", "<bucket>", "YOUR_BUCKET", "your-bucket", "TODO: ask"])
def test_a_placeholder_is_no_value(value: str) -> None:
    said = refusal(S3.replace('"s3://demo/incoming"', f'"{value}"'))
    assert f"Set [data] bucket, or leave it out: {value!r} stood for a value." in said
    printed = said.partition("reads:\n\n")[2].partition("\nCheck it")[0]
    with pytest.raises(ConfigError, match="bucket"):
        parse_config(printed)
