"""What a person may write, what comes of it, and what is said when it is wrong."""

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from metaflow.user_configs.config_parameters import ConfigValue

from flowproject.config import DATA_TYPES, DuckDBData, FilesData, Project, S3Data, Schedule, Sensor
from flowproject.config.keys import keys_of
from flowproject.config.parse import check, parse_config
from flowproject.errors import ConfigError

NAME = 'project_name = "weather"\n'
DUCKDB = NAME + '[data]\ntype = "duckdb"\nquery = "sensor"\n'
FILES = NAME + '[data]\ntype = "files"\npath = "data"\n'
S3 = NAME + '[data]\ntype = "s3"\nbucket = "lake"\n'
SOURCES = f"Use one of: {', '.join(DATA_TYPES)}."
DUCKDB_KEYS = "Use one of: type, query, key, database, dialect, settle, row_limit."
FILES_KEYS = (
    "Use one of: type, path, check_mode, include, settle, marker, max_wait, after_max_wait."
)
POLICY = (
    "event_name, payload_key, on_event, expect_every, first, schema_change, timeout, "
    "receipt_timeout, max_attempts, "
    "coalesce, max_events_per_hour"
)
SENSOR_KEYS = f"Use one of: name, {POLICY}, cron_schedule, timezone."
OWN_KEYS = f"Use one of: data, {POLICY}."
FIVE = (
    "Use five: minute, hour, day of month, month, day of week. For example '0 6 1-31 1-12 1-5': at "
    "six from Monday to Friday."
)


def project(text: str) -> Project:
    return Project.from_dict(parse_config(text))


def message(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    return str(caught.value)


ONE_PROBLEM = [
    (
        FILES + '[sensor]\ncoalesce = "yes"\n',
        ("[sensor] coalesce = 'yes' is neither true nor false. Use one of these, without quotes."),
    ),
    (
        FILES + "[sensor]\nmax_events_per_hour = -1\n",
        "[sensor] max_events_per_hour = -1 is too small. Use 0 or more.",
    ),
    (
        FILES + "[sensor]\nreceipt_timeout = 0\n",
        (
            "[sensor] receipt_timeout = 0 leaves no time at all. Use more than 0 seconds, for "
            "example 300."
        ),
    ),
    # the top of the file
    (
        '[data]\ntype = "files"\npath = "data"\n',
        'project_name is missing. Name the project: project_name = "my_project".',
    ),
    (
        FILES.replace("weather", "Weather-1"),
        (
            "project_name = 'Weather-1' is not allowed. Use lowercase letters, digits and "
            "underscores, at most 128: Metaflow's rule for the name of a project."
        ),
    ),
    (
        FILES.replace('"weather"', "5"),
        'project_name = 5 is not text. Put it in quotes: "5".',
    ),
    (
        "event_nam = 1\n" + FILES,
        (
            "event_nam = 1 is not a key here. "
            "Use one of: data, sensor, sensors, alerts, deploy, project_name."
        ),
    ),
    (
        'event_name = "x"\n' + FILES,
        (
            "event_name = 'x' is not a key here. Use one of: data, sensor, sensors, alerts, "
            "deploy, project_name. It belongs in [sensor]."
        ),
    ),
    (
        'path = "x"\n' + FILES,
        (
            "path = 'x' is not a key here. Use one of: data, sensor, sensors, alerts, "
            "deploy, project_name. It belongs in [data]."
        ),
    ),
    (
        FILES + "[sensr]\n",
        (
            "[sensr] is not a section. Use one of: data, sensor, sensors, alerts, deploy, "
            "project_name. Did you mean 'sensor'?"
        ),
    ),
    # the section data
    (
        NAME,
        (
            "[data] is missing: nothing says what to look at. "
            'Add a section [data] with, for example, type = "files" and path = "data".'
        ),
    ),
    ("data = 5\n" + NAME, "data = 5 is not a section. Write [data], then one key on each line."),
    (NAME + '[[data]]\ntype = "files"\n', "[[data]] is a list. Write [data], in single brackets."),
    (NAME + '[data]\npath = "data"\n', f"[data] type is missing. {SOURCES}"),
    (NAME + '[data]\ntype = ""\n', f"[data] type is missing. {SOURCES}"),
    (
        FILES.replace('"files"', '"snowflke"'),
        f"[data] type = 'snowflke' is not a source. {SOURCES} Did you mean 'snowflake'?",
    ),
    (
        DUCKDB.replace('"duckdb"', '"ducdb"'),
        f"[data] type = 'ducdb' is not a source. {SOURCES} Did you mean 'duckdb'?",
    ),
    (DUCKDB.replace('"duckdb"', "[1]"), f"[data] type = [1] is not a source. {SOURCES}"),
    (
        NAME + '[data]\ntype = "duckdb"\nquery = ""\n',
        "[data] query is missing: type = 'duckdb' needs it. Add query = \"...\".",
    ),
    (
        DUCKDB + "querry = 1\n",
        f"[data] querry = 1 is not a key here. {DUCKDB_KEYS} Did you mean 'query'?",
    ),
    (
        DUCKDB + "marker = 1\n",
        (
            f"[data] marker = 1 is not a key here. {DUCKDB_KEYS} "
            "It belongs to type = 'files' or 's3' or 'azure' or 'gcs'."
        ),
    ),
    (
        S3 + 'ignore = ["etag", "mtime"]\n',
        (
            "[data] ignore = ['etag', 'mtime'] is not a choice. "
            "Use one of: size, etag, last_modified."
        ),
    ),
    (
        S3 + 'check_mode = "file_etags"\n',
        (
            "[data] check_mode = 'file_etags' is not a choice. Use one of: files_metadata, "
            "files_new, file_size, file_modified_ts, file_etag. Did you mean 'file_etag'?"
        ),
    ),
    (
        S3 + 'endpoint = "http://127.0.0.1:9000"\n',
        (
            "[data] endpoint = 'http://127.0.0.1:9000' is not a key here. Use one of: type, "
            "bucket, key, check_mode, include, ignore, settle, marker, max_wait, after_max_wait, "
            "role, region, endpoint_url. Did you mean 'endpoint_url'?"
        ),
    ),
    (
        DUCKDB + 'cron_schedule = "* * * * *"\n',
        (
            f"[data] cron_schedule = '* * * * *' is not a key here. {DUCKDB_KEYS} "
            "It belongs in [sensor]: all sensors share one cadence."
        ),
    ),
    (
        FILES + 'project_name = "x"\n',
        (
            f"[data] project_name = 'x' is not a key here. {FILES_KEYS} "
            "It belongs at the top of the file, above the first [section]."
        ),
    ),
    (
        DUCKDB + "key = [1]\n",
        '[data] key = [1] is not a list of texts. Use for example ["a", "b"].',
    ),
    (
        DUCKDB + 'key = [""]\n',
        '[data] key = [\'\'] is not a list of texts. Use for example ["a", "b"].',
    ),
    (
        DUCKDB + 'row_limit = "many"\n',
        "[data] row_limit = 'many' is not a whole number. Use 1 or more, without quotes.",
    ),
    (DUCKDB + "row_limit = 0\n", "[data] row_limit = 0 is too small. Use 1 or more."),
    (
        DUCKDB + "row_limit = true\n",
        "[data] row_limit = True is not a whole number. Use 1 or more, without quotes.",
    ),
    (
        DUCKDB + 'database = "a\\u0000b"\n',
        "[data] database = 'a\\x00b' has a control character in it. Remove it.",
    ),
    (
        FILES + 'check_mode = "file_sice"\n',
        (
            "[data] check_mode = 'file_sice' is not a choice. Use one of: files_metadata, "
            "file_size, file_modified_ts, file_etag. Did you mean 'file_size'?"
        ),
    ),
    (
        FILES + 'settle = "30"\n',
        (
            "[data] settle = '30' is not a duration. "
            "Use text such as '30s', '5m', '1h30m', or seconds."
        ),
    ),
    (
        FILES + "settle = false\n",
        (
            "[data] settle = False is not a duration. "
            "Use seconds, or text such as '30s', '5m', '1h30m'."
        ),
    ),
    (
        FILES + "settle = -1\n",
        "[data] settle = -1 is out of range. Use from 0 seconds to 366 days.",
    ),
    (
        FILES + "settle = nan\n",
        "[data] settle = nan is out of range. Use from 0 seconds to 366 days.",
    ),
    (
        FILES + 'settle = "367d"\n',
        "[data] settle = '367d' is out of range. Use from 0 seconds to 366 days.",
    ),
    # the section sensor
    (
        FILES + "[[sensor]]\n",
        "[[sensor]] is a list. Write [sensors.NAME], one for each sensor, in single brackets.",
    ),
    (
        FILES + '[sensor]\nevnt_name = "x"\n',
        f"[sensor] evnt_name = 'x' is not a key here. {SENSOR_KEYS} Did you mean 'event_name'?",
    ),
    (
        FILES + '[sensor]\nquery = "x"\n',
        f"[sensor] query = 'x' is not a key here. {SENSOR_KEYS} It belongs in [data].",
    ),
    (
        FILES + '[sensor]\nname = "My sensor"\n',
        (
            "[sensor] name = 'My sensor' is not allowed. Use lowercase letters, digits and "
            "underscores, a letter first, at most 128."
        ),
    ),
    (
        FILES + '[sensor]\nevent_name = "a b"\n',
        (
            "[sensor] event_name = 'a b' is not allowed. "
            "Use letters, digits, '_' and '-': Argo refuses most others, and with a dot an event "
            "of the user `a` could have the name of one of the user `a.b`."
        ),
    ),
    (
        FILES + '[sensor]\nevent_name = "b.changed"\n',
        (
            "[sensor] event_name = 'b.changed' is not allowed. "
            "Use letters, digits, '_' and '-': Argo refuses most others, and with a dot an event "
            "of the user `a` could have the name of one of the user `a.b`."
        ),
    ),
    (
        FILES + '[sensor]\npayload_key = "a-b"\n',
        (
            "[sensor] payload_key = 'a-b' is not allowed. "
            "Use letters, digits and '_': Argo refuses other keys of payloads."
        ),
    ),
    (
        FILES + '[sensor]\npayload_key = "change"\n',
        (
            "[sensor] payload_key = 'change' is taken: flowproject and Argo Events use id, name, "
            "timestamp, utc_date, change. Choose another."
        ),
    ),
    (
        FILES + '[sensor]\nfirst = "fires"\n',
        (
            "[sensor] first = 'fires' is not a choice. Use one of: baseline, fire. "
            "Did you mean 'fire'?"
        ),
    ),
    (
        FILES + "[sensor]\ntimeout = 0\n",
        "[sensor] timeout = 0 leaves no time at all. Use more than 0 seconds, for example 300.",
    ),
    (
        FILES + '[sensor]\ncron_schedule = "* * *"\n',
        f"[sensor] cron_schedule = '* * *' is not a cron schedule: it has 3 fields. {FIVE}",
    ),
    (
        FILES + '[sensor]\ncron_schedule = "@daily"\n',
        (
            "[sensor] cron_schedule = '@daily' is not a cron schedule: '@daily' is not known here. "
            "Use five fields: minute, hour, day of month, month, day of week."
        ),
    ),
    (
        FILES + '[sensor]\ncron_schedule = "*/5 25 * * *"\n',
        (
            "[sensor] cron_schedule = '*/5 25 * * *' is not a cron schedule: '25' is not an hour: "
            "they go from 0 to 23."
        ),
    ),
    (
        FILES + '[sensor]\ncron_schedule = "0 0 * * 7"\n',
        (
            "[sensor] cron_schedule = '0 0 * * 7' is not a cron schedule: '7' is not a day of the "
            "week: they go from 0 to 6, or SUN to SAT. Write 0 or SUN for Sunday."
        ),
    ),
    (
        FILES + '[sensor]\ncron_schedule = "0 0 L * *"\n',
        (
            "[sensor] cron_schedule = '0 0 L * *' is not a cron schedule: 'L' is not a day of the "
            "month. Argo knows no L and no W. Name the days, from 1 to 31."
        ),
    ),
    (
        FILES + '[sensor]\ntimezone = "Europe/Helsinky"\n',
        (
            "[sensor] timezone = 'Europe/Helsinky' is not a time zone. "
            "Use a name such as 'Europe/Helsinki'. Did you mean 'Europe/Helsinki'?"
        ),
    ),
    (
        FILES + '[sensor]\ntimezone = "../etc/passwd"\n',
        (
            "[sensor] timezone = '../etc/passwd' is not a time zone. "
            "Use a name such as 'Europe/Helsinki'."
        ),
    ),
    # many sensors
    (
        NAME + "[sensors.a]\n",
        (
            "[sensors.a] has no data: nothing says what to look at. "
            'Add a section [data] with, for example, type = "files" and path = "data".'
        ),
    ),
    (
        FILES + "[sensors]\na = 1\n",
        "[sensors] a = 1 is not a section. Write [sensors.a], then one key on each line.",
    ),
    (
        FILES + "[[sensors.a]]\n",
        "[[sensors.a]] is a list. Write [sensors.NAME], one for each sensor, in single brackets.",
    ),
    (
        FILES + "[[sensors.a.data]]\n",
        "[[sensors.a.data]] is a list. Write [sensors.a.data], in single brackets.",
    ),
    (
        FILES + '[sensors."Not this"]\nevent_name = "x"\n',
        (
            "[sensors] 'Not this' as the name of a sensor is not allowed. Use lowercase letters, "
            "digits and underscores, a letter first, at most 128."
        ),
    ),
    (
        FILES + '[sensors.a]\nname = "b"\n',
        (
            f"[sensors.a] name = 'b' is not a key here. {OWN_KEYS} "
            "The name of a sensor stands in its header: [sensors.b]."
        ),
    ),
    (
        FILES + '[sensors.a]\ncron_schedule = "* * * * *"\n',
        (
            f"[sensors.a] cron_schedule = '* * * * *' is not a key here. {OWN_KEYS} "
            "It belongs in [sensor]: all sensors share one cadence."
        ),
    ),
    (
        FILES + "[sensors.a]\nsettle = 5\n",
        f"[sensors.a] settle = 5 is not a key here. {OWN_KEYS} It belongs in [sensors.a.data].",
    ),
    (
        FILES + '[sensors.a.data]\nfirst = "fire"\n',
        (
            f"[sensors.a.data] first = 'fire' is not a key here. {FILES_KEYS} "
            "It belongs in [sensors.a]."
        ),
    ),
    (
        NAME + '[sensors.a]\ndata = { path = "x" }\n',
        f"[sensors.a.data] type is missing. {SOURCES}",
    ),
    (
        FILES + '[sensors.a]\ndata = { type = "duckdb" }\n',
        (
            "[sensors.a.data] query is missing: type = 'duckdb' needs it, here or in [data]. "
            'Add query = "...".'
        ),
    ),
    (
        FILES + '[sensors.a]\ndata = { path = "" }\n',
        (
            "[sensors.a.data] path is missing: type = 'files' needs it, here or in [data]. "
            'Add path = "...".'
        ),
    ),
    (
        FILES + '[sensor]\nname = "a"\n[sensors.a]\n',
        (
            "[sensor] name = 'a' names a second sensor 'a' beside [sensors.a]. Remove this line: "
            "with [sensors.NAME], [sensor] only says when to look."
        ),
    ),
    (
        FILES + '[sensor]\nname = "b"\n[sensors.a]\n',
        (
            "[sensor] name = 'b' is not a key here. Use one of: cron_schedule, timezone. "
            "It belongs in [sensors.NAME]: this file has several sensors."
        ),
    ),
    (
        FILES + '[sensors.a]\nevent_name = "x"\n[sensors.b]\nevent_name = "x"\n',
        (
            "[sensors.b] event_name = 'x' is the event of [sensors.a] too, and a flow could not "
            "tell which of them started it. Give each its own; a flow can listen to both."
        ),
    ),
    (
        FILES + '[sensors.a]\nevent_name = "b_changed"\n[sensors.b]\n',
        (
            "[sensors.b] event_name = 'b_changed' is the event of [sensors.a] too, and a flow "
            "could not tell which of them started it. Give each its own; a flow can listen to both."
        ),
    ),
]


@pytest.mark.parametrize("text, problem", ONE_PROBLEM)
def test_a_problem_is_named_with_its_place_its_value_and_what_is_allowed(
    text: str, problem: str
) -> None:
    assert message(text) == f"flowproject.toml: {problem}"


def test_all_problems_are_reported_at_once_in_the_order_of_the_file() -> None:
    text = 'project_name = "W"\n[data]\ntype = "files"\nsettle = "x"\n[sensor]\nfirst = "y"\n'
    assert message(text) == (
        "flowproject.toml has 4 problems:\n"
        "  - project_name = 'W' is not allowed. Use lowercase letters, digits and underscores, "
        "at most 128: Metaflow's rule for the name of a project.\n"
        "  - [data] settle = 'x' is not a duration. "
        "Use text such as '30s', '5m', '1h30m', or seconds.\n"
        "  - [sensor] first = 'y' is not a choice. Use one of: baseline, fire.\n"
        "  - [data] path is missing: type = 'files' needs it. Add path = \"...\"."
    )


def test_a_problem_of_data_is_reported_once_however_many_sensors_share_it() -> None:
    text = FILES + 'settle = "x"\n[sensors.a]\n[sensors.b]\n[sensors.c]\n'
    assert message(text).count("settle") == 1


def test_an_unknown_type_hides_no_misspelt_key() -> None:
    assert "bukcet" in message(NAME + '[data]\ntype = "s33"\nbukcet = "x"\n')


def test_a_long_value_is_cut() -> None:
    assert len(message(FILES + f'marker = ["{"x" * 10_000}"]\n')) < 200


def test_data_and_sensor_alone_are_one_sensor_with_every_default() -> None:
    [sensor] = project(FILES).sensors.values()
    expected = Project.from_dict(
        {
            "project_name": "weather",
            "data": {"type": "files", "path": "data"},
            "sensor": {},
            "sensors": {
                "data": {
                    "name": "data",
                    "event_name": "data_changed",
                    "data": {"type": "files", "path": "data"},
                }
            },
        }
    )
    assert expected == project(FILES)
    assert sensor.data == FilesData(path="data")


def test_the_seeds_names_are_where_flows_look_for_them() -> None:
    text = DUCKDB + '[sensor]\nname = "w"\ncron_schedule = "0  * * * *"\npayload_key = "rows"\n'
    config = ConfigValue(parse_config(text))
    found = [
        config.project_name,
        config.data.type,
        config.data.query,
        config.sensor.cron_schedule,
        config.sensor.event_name,
        config.sensor.payload_key,
        config.sensors.w.event_name,
    ]
    assert found == ["weather", "duckdb", "sensor", "0 * * * *", "w_changed", "rows", "w_changed"]


def test_an_empty_string_means_not_set_for_every_key() -> None:
    data = "".join(f'{key} = ""\n' for key in ("key", "database", "row_limit"))
    keys = ("name", "event_name", "payload_key", "first", "timeout", "cron_schedule", "timezone")
    sensor = "".join(f'{key} = ""\n' for key in keys)
    assert project(DUCKDB + data + "[sensor]\n" + sensor) == project(DUCKDB)


def test_a_list_of_one_needs_no_brackets() -> None:
    assert project(DUCKDB + 'key = "date"\n') == project(DUCKDB + 'key = ["date"]\n')


@pytest.mark.parametrize(
    "written, seconds",
    [
        ("30", 30.0),
        ("0.5", 0.5),
        ('"30s"', 30.0),
        ('"5m"', 300.0),
        ('"1h30m"', 5400.0),
        ('"1h 30m"', 5400.0),
        ('"1.5h"', 5400.0),
        ('"1d"', 86400.0),
    ],
)
def test_a_duration_is_seconds_or_text_with_units(written: str, seconds: float) -> None:
    data = project(FILES + f"settle = {written}\n").data
    assert isinstance(data, FilesData)
    assert data.settle == seconds


@pytest.mark.parametrize(
    "cron",
    ["* * * * *", "*/5 * * * *", "0 6,18 1-15 JAN-jun mon-fri", "5/15 0 * * 0", "0 0 29 2 *"],
)
def test_a_schedule_that_cron_and_argo_share_is_taken_as_written(cron: str) -> None:
    assert project(FILES + f'[sensor]\ncron_schedule = "{cron}"\n').sensor.cron_schedule == cron


def test_each_sensors_data_is_laid_over_data() -> None:
    text = FILES + (
        'settle = "30s"\nmarker = "_DONE"\n'
        "[sensors.plain]\n"
        '[sensors.other]\ndata = { path = "elsewhere", marker = "" }\n'
        '[sensors.sql]\ndata = { type = "duckdb", query = "q" }\n'
    )
    found = {name: sensor.data for name, sensor in project(text).sensors.items()}
    assert found == {
        "plain": FilesData(path="data", settle=30.0, marker="_DONE"),
        "other": FilesData(path="elsewhere", settle=30.0),
        "sql": DuckDBData(query="q", settle=30.0),
    }


def test_data_may_leave_to_the_sensors_what_only_they_know() -> None:
    text = NAME + (
        '[data]\ntype = "duckdb"\ndatabase = "w.duckdb"\n'
        '[sensors.a.data]\nquery = "a"\n[sensors.b.data]\nquery = "b"\n'
    )
    found = project(text)
    assert found.data == DuckDBData(query="", database="w.duckdb")
    assert [sensor.data for sensor in found.sensors.values()] == [
        DuckDBData(query="a", database="w.duckdb"),
        DuckDBData(query="b", database="w.duckdb"),
    ]


def test_sensors_need_no_data_section_if_each_has_its_own() -> None:
    found = project(NAME + '[sensors.a]\ndata = { type = "files", path = "x" }\n')
    assert found.data is None
    assert found.sensors["a"].data == FilesData(path="x")


SCALARS = st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.times()
VALUES = (
    SCALARS | st.lists(SCALARS, max_size=2) | st.sampled_from([*DATA_TYPES, "s3", "", {}, [{}]])
)
SECTIONS = (Project, Schedule, Sensor, *DATA_TYPES.values())
KEYS = [name for section in SECTIONS for name in keys_of(section)]
WORDS = st.sampled_from(
    [*KEYS, "data", "sensor", "sensors", "storage_type", "data_kwargs", "template", "bucket", "a"]
)
TABLES: st.SearchStrategy[Any] = VALUES
for _ in range(4):
    TABLES = VALUES | st.dictionaries(WORDS, TABLES, max_size=4)


@settings(deadline=None)
@given(st.dictionaries(WORDS, TABLES))
def test_whatever_the_tables_hold_only_a_config_error_is_raised(tables: dict[str, Any]) -> None:
    said = ""
    try:
        found = check(tables).to_dict()
        assert Project.from_dict(found).to_dict() == found
    except ConfigError as error:
        said = str(error)
    assert not said or said.startswith("flowproject.toml")


@settings(deadline=None)
@given(st.text() | st.text(alphabet="[]{}=\"'.,#\n\r\t ab1_é\ufeff\\", max_size=60))
def test_whatever_the_text_is_only_a_config_error_is_raised(text: str) -> None:
    with pytest.raises(ConfigError, match=r"flowproject\.toml"):
        parse_config(text)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {"type": st.just("files"), "path": st.text("abc/é ", min_size=1)},
        optional={
            "settle": st.sampled_from(["", "5m", 3, 0.25]),
            "include": st.lists(st.text("a*?", min_size=1), max_size=2),
            "check_mode": st.sampled_from(["file_size", "file_etag", ""]),
        },
    ),
    st.dictionaries(st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True), st.just({}), max_size=3),
)
def test_what_the_parser_gives_is_json_and_reads_back_as_the_same_project(
    data: dict[str, Any], sensors: dict[str, Any]
) -> None:
    found = check({"project_name": "p", "data": data, "sensors": sensors}).to_dict()
    again = Project.from_dict(json.loads(json.dumps(found)))
    assert again.to_dict() == found
    assert Project.from_dict(ConfigValue(found)) == again
    assert Project.from_dict(ConfigValue(found).to_dict()) == again


def test_the_project_of_this_repository_is_read(pytestconfig: pytest.Config) -> None:
    text = (pytestconfig.rootpath / "flowproject.toml").read_text()
    found = project(text)
    assert found.project_name == "weather"
    assert found.data == DuckDBData(query="sensor", key=("date",))
    assert list(found.sensors) == ["weather"]


def test_every_key_stands_in_the_file_of_this_repository(pytestconfig: pytest.Config) -> None:
    text = (pytestconfig.rootpath / "flowproject.toml").read_text()
    tables = tomllib.loads(text)
    found = parse_config(text)
    for name in ("sensor", "data", "alerts", "deploy"):
        assert {*found[name]} == {*tables[name]}


def test_a_marker_needs_a_folder() -> None:
    one_file = FILES + 'check_mode = "file_size"\nmarker = "_SUCCESS"\n'
    with pytest.raises(ConfigError, match="can never be met with check_mode = 'file_size'"):
        parse_config(one_file)
    only_new = S3 + 'check_mode = "files_new"\nmarker = "_SUCCESS"\n'
    with pytest.raises(ConfigError, match="which watches only what is new"):
        parse_config(only_new)
    assert project(FILES + 'marker = "_SUCCESS"\n').sensors
    assert project(S3 + 'marker = "_SUCCESS"\n').sensors


def test_every_key_of_an_object_store_is_read() -> None:
    text = (
        'bucket = "s3://lake/raw"\nkey = "days"\ncheck_mode = "files_metadata"\n'
        'role = "arn:aws:iam::1:role/reader"\nregion = "eu-north-1"\n'
        'endpoint_url = "http://127.0.0.1:9000"\ninclude = "**/*.parquet"\n'
        'ignore = "last_modified"\nsettle = "2m"\nmarker = "_SUCCESS"\n'
    )
    [sensor] = project(f'{NAME}[data]\ntype = "s3"\n{text}').sensors.values()
    assert sensor.data == S3Data(
        bucket="s3://lake/raw",
        key="days",
        role="arn:aws:iam::1:role/reader",
        region="eu-north-1",
        endpoint_url="http://127.0.0.1:9000",
        include=("**/*.parquet",),
        ignore=("last_modified",),
        settle=120.0,
        marker="_SUCCESS",
    )


def test_a_choice_of_several_is_kept_once_each_in_its_order() -> None:
    [sensor] = project(S3 + 'ignore = ["size", "etag", "size"]\n').sensors.values()
    assert isinstance(sensor.data, S3Data)
    assert sensor.data.ignore == ("size", "etag")


@pytest.mark.parametrize("place", ["[sensor]", "[sensors.a]"])
def test_columns_are_a_matter_of_queries(place: str):
    text = f'{FILES}{place}\nschema_change = "fail"\n'
    with pytest.raises(ConfigError, match=r"type = 'files' has no query.*'duckdb', 'snowflake'"):
        parse_config(text)
