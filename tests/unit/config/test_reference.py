"""What is generated from the model: fresh, complete, and in agreement with the parser."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import fastjsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowproject.config import DATA_TYPES, Deploy, Project, Schedule, Sensor
from flowproject.config.keys import keys_of
from flowproject.config.parse import check, parse_config
from flowproject.config.reference import documentation, generated, page, schema, stale
from flowproject.errors import ConfigError

SECTIONS = [Project, Schedule, Sensor, Deploy, *DATA_TYPES.values()]
accept = fastjsonschema.compile(json.loads(schema()), use_default=False)


def test_the_generated_files_of_this_repository_are_fresh(pytestconfig: pytest.Config) -> None:
    assert stale(pytestconfig.rootpath) == []


def test_a_file_that_is_missing_or_differs_is_stale(tmp_path: Path) -> None:
    assert stale(tmp_path) == ["flowproject.schema.json", "docs/configuration.md"]
    for name, text in generated().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert stale(tmp_path) == []
    (tmp_path / "flowproject.schema.json").write_text("{}")
    assert stale(tmp_path) == ["flowproject.schema.json"]


def test_the_schema_accepts_the_file_of_this_repository(pytestconfig: pytest.Config) -> None:
    text = (pytestconfig.rootpath / "flowproject.toml").read_text()
    assert text.startswith("#:schema ./flowproject.schema.json\n")
    accept(tomllib.loads(text))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_documented_and_on_the_page(section: type) -> None:
    notes = documentation(section)
    for name in keys_of(section):
        assert notes[name].endswith(".")
        assert name == "type" or f"| `{name}` |" in page()


def test_every_example_on_the_page_is_a_valid_file() -> None:
    examples = re.findall(r"```toml\n(.*?)```", page(), re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        accept(tomllib.loads(example))
        parse_config(example)


def test_each_type_of_source_is_registered_under_its_own_name() -> None:
    assert {name: cls.__dataclass_fields__["type"].default for name, cls in DATA_TYPES.items()} == {
        name: name for name in DATA_TYPES
    }


PLAIN = {"type": "files", "path": "x"}
REFUSED = [
    {},
    {"project_name": "w"},
    {"project_name": "", "data": PLAIN},
    {"project_name": "W", "data": PLAIN},
    {"project_name": "w", "data": {"type": "files"}},
    {"project_name": "w", "data": {"type": "files", "path": ""}},
    {"project_name": "w", "data": {**PLAIN, "type": "s33"}},
    {"project_name": "w", "data": {**PLAIN, "query": "x"}},
    {"project_name": "w", "data": {**PLAIN, "settle": "soon"}},
    {"project_name": "w", "data": PLAIN, "sensr": {}},
    {"project_name": "w", "data": PLAIN, "sensor": {"payload_key": "id"}},
    {"project_name": "w", "data": PLAIN, "deploy": {"environment": "venv"}},
    {"project_name": "w", "data": PLAIN, "deploy": {"max_parallel": 0}},
    {"project_name": "w", "data": PLAIN, "deploy": {"with_": ["kubernetes"]}},
    {"project_name": "w", "data": PLAIN, "sensor": {"timeout": 0}},
    {"project_name": "w", "data": PLAIN, "sensor": {"name": "x"}, "sensors": {"a": {}}},
    {"project_name": "w", "data": PLAIN, "sensors": {"Not this": {}}},
    {"project_name": "w", "data": PLAIN, "sensors": {"a": {"name": "b"}}},
]


@pytest.mark.parametrize("tables", REFUSED)
def test_what_the_schema_refuses_the_parser_refuses_too(tables: dict[str, Any]) -> None:
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        accept(tables)
    with pytest.raises(ConfigError):
        check(tables)


DURATIONS = st.sampled_from(["", "30s", "1h 30m", 5, 0.5])
TEXTS = st.text("ab*/. ", max_size=4)
LISTS = TEXTS | st.lists(st.text("ab", min_size=1), max_size=2)
FILES = {
    "check_mode": st.sampled_from(["file_etag", "file_size", "", "sometimes"]),
    "include": LISTS,
    "settle": DURATIONS,
    "marker": TEXTS,
}
DUCKDB = {
    "key": LISTS,
    "database": TEXTS,
    "row_limit": st.sampled_from(["", 1, 10**9, 0]),
}
PATH, QUERY = st.text("a/", min_size=1), st.text("q", min_size=1)
DATA = st.fixed_dictionaries(
    {"type": st.just("files"), "path": PATH}, optional=FILES
) | st.fixed_dictionaries({"type": st.just("duckdb"), "query": QUERY}, optional=DUCKDB)
OVER = st.fixed_dictionaries({}, optional={"path": PATH, **FILES}) | st.fixed_dictionaries(
    {}, optional={"query": QUERY, **DUCKDB}
)
POLICY = {
    "payload_key": st.sampled_from(["", "rows", "VALUE_2"]),
    "first": st.sampled_from(["fire", "baseline", ""]),
    "timeout": DURATIONS,
}
CADENCE = {
    "cron_schedule": st.sampled_from(["", "0  0 * * *", "*/5 0-6 * JAN,FEB 0"]),
    "timezone": st.sampled_from(["", "UTC", "Europe/Paris"]),
}
DEPLOY = {
    "production_branch": st.sampled_from(["", "main", "release/1.0"]),
    "schedule_branches": LISTS,
    "environment": st.sampled_from(["", "pypi", "fast-bakery", "venv"]),
    "with": LISTS,
    "max_parallel": st.sampled_from(["", 1, 0]),
}
DEPLOYED = {"deploy": st.fixed_dictionaries({}, optional=DEPLOY)}
NAMED = {"name": st.sampled_from(["", "a", "b2"]), "event_name": st.sampled_from(["", "a.b-c"])}
ONE = st.fixed_dictionaries(
    {"project_name": st.just("p"), "data": DATA},
    optional={"sensor": st.fixed_dictionaries({}, optional=NAMED | POLICY | CADENCE)} | DEPLOYED,
)
MANY = st.fixed_dictionaries(
    {
        "project_name": st.just("p"),
        "sensors": st.dictionaries(
            st.sampled_from(["a", "b2", "c_"]),
            st.fixed_dictionaries({}, optional={"data": DATA | OVER, **POLICY}),
        ),
    },
    optional={"data": DATA, "sensor": st.fixed_dictionaries({}, optional=CADENCE)},
)


@settings(deadline=None)
@given(ONE | MANY)
def test_what_the_parser_accepts_the_schema_accepts(tables: dict[str, Any]) -> None:
    try:
        check(tables)
    except ConfigError:
        return
    accept(tables)
