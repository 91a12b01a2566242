"""Renders the files of a project from its answers; pure but for reading the templates.

A file ending in `.template` has `%%{name}` where an answer goes, and that alone: what a template
chooses between stands here. Others are data, and are taken as they are.
"""

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from string import Template
from typing import Any, Final

from flowproject.config.data import DATA_TYPES
from flowproject.config.keys import keys_of
from flowproject.config.legacy import toml_value
from flowproject.config.reference import documentation, plain_default

__all__ = ["CI", "EXAMPLES", "MIGRATED", "Answers", "is_data", "render"]

_TEMPLATES: Final = Path(__file__).with_name("templates")
_ENDING: Final = ".template"
_WIDTH: Final = 98

EXAMPLES: Final = ("weather", "orders", "empty")
MIGRATED: Final = "migrated"
"""Stands in place of an example in a project that has its own flows already."""
CI: Final = ("none", "github", "gitlab")

_SENSORS: Final = {"weather": "weather", "orders": "orders"}
_PIP: Final = ".venv/bin/python -m pip install -r requirements.txt"
INSTALL: Final = f"python3 -m venv .venv && {_PIP}"

_CI_WORDS: Final = {
    "none": "A CI runs `ruff check`, `ruff format --check`, `mypy`, `flowproject check` and "
    "`python -m pytest`, then `./deploy`.",
    "github": "GitHub Actions checks every push (`.github/workflows/ci.yml`), and deploys branches "
    "once the variable `DEPLOY_TO` of the repository is set (`deploy.yml`).",
    "gitlab": "GitLab checks every push (`.gitlab-ci.yml`), and deploys branches once the variable "
    "`DEPLOY` of the project is `yes`.",
}

# Indented as it stands in the action: the step goes on with what runs.
_INSTALL_IN_CI: Final = """\
      run: |
        python -m venv .venv
        .venv/bin/python -m pip install --requirement requirements.txt"""


class _Text(Template):
    # `$` stands in shell scripts and in GitHub's expressions; this stands in nothing.
    delimiter = "%%"


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a project is rendered from: what somebody was asked, or said with flags."""

    project_name: str
    example: str = "weather"
    ci: str = "none"
    production: str = "main"
    sensor: str = ""
    """The name of the one sensor; that of the example if empty."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """The keys of `[data]` for the example `empty`, `type` among them."""
    table: str = ""
    """What the query of the example `empty` reads, if its source has queries."""
    schedule: Mapping[str, str] = field(default_factory=dict)
    """What a project had of `[sensor]` before it came here, by key."""

    @property
    def sensor_name(self) -> str:
        """The name of the sensor."""
        return self.sensor or _SENSORS.get(self.example, "data")

    @property
    def source(self) -> str:
        """The type of source that it watches."""
        return str(self.data.get("type", "duckdb"))

    @property
    def asks_queries(self) -> bool:
        """Whether its source is asked by a query."""
        return "query" in keys_of(DATA_TYPES[self.source])

    def to_json(self) -> dict[str, Any]:
        """As the file of the project's state keeps them."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> "Answers":
        """The answers that a state keeps; those that a newer version would ask have defaults."""
        names = cls.__dataclass_fields__.keys()
        return cls(**{name: value for name, value in kept.items() if name in names})


def render(answers: Answers, package: str, **differently: str) -> dict[str, bytes]:
    """The files of the project: path → content.

    `package` is the line of `requirements.txt` that installs flowproject. `differently` are values
    that go before those that follow from the answers.
    """
    values = _values(answers, package) | differently
    folders = ["every", answers.example, *([answers.ci] if answers.ci != "none" else [])]
    files = dict(chunk for folder in folders for chunk in _files(_TEMPLATES / folder, values))
    # Parts of other files, which are no files of a project.
    for part in ("about.md", "data.toml"):
        files.pop(part, None)
    if answers.table:
        name = f"sql/{answers.data.get('query', 'sensor')}.sql"
        files[name] = f"-- What the sensor watches.\nSELECT *\nFROM {answers.table}\n".encode()
    if answers.example == "empty" and answers.source == "files":
        # A folder that is not there is a failure, and git keeps none without a file.
        folder = Path(str(answers.data["path"]))
        if not folder.is_absolute() and ".." not in folder.parts:
            files[(folder / "example.csv").as_posix()] = b"id,name\n1,example\n"
    return files


def is_data(path: str) -> bool:
    """Whether a file is of the example's data, which is the project's own from the first moment."""
    return path.endswith(".csv")


def _files(folder: Path, values: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            if name.endswith(_ENDING):
                text = _Text(path.read_text(encoding="utf-8")).substitute(values)
                yield name.removesuffix(_ENDING), text.encode()
            else:
                yield name, path.read_bytes()


def _values(answers: Answers, package: str) -> dict[str, str]:
    plain = {
        "name": answers.project_name,
        "project_name": answers.project_name,
        "production": answers.production,
        "sensor": answers.sensor_name,
        "package": package,
        "packages": "numpy>=2.2,<3\n" if answers.example == "weather" else "",
        "install": INSTALL,
        "install_in_ci": _INSTALL_IN_CI,
        "ci_words": textwrap.fill(_CI_WORDS[answers.ci], 118),
        "schema": "",
        "cron": answers.schedule.get("cron_schedule") or "*/5 * * * *",
        "event_name": answers.schedule.get("event_name") or f"{answers.sensor_name}_changed",
        "payload_key": answers.schedule.get("payload_key") or "value",
        "columns": _part("columns.toml", {}) if answers.asks_queries else "",
        **_of_empty(answers),
    }
    example = Path(answers.example)
    plain["about"] = _part(example / "about.md", plain).strip()
    plain["data"] = (
        _data_section(answers) if answers.data else _part(example / "data.toml", {})
    ).strip()
    return plain


def _part(name: str | Path, values: Mapping[str, str]) -> str:
    text = (_TEMPLATES / f"{name}{_ENDING}").read_text(encoding="utf-8")
    return _Text(text).substitute(values)


def _of_empty(answers: Answers) -> dict[str, str]:
    """What the starter flow of an empty project, and its test, are told of the source."""
    words = f"Watches {answers.source}: what, stands in `flowproject.toml` under `[data]`."
    if answers.asks_queries:
        words = f"Watches the result of `sql/{answers.data.get('query', 'sensor')}.sql`."
    columns = keys_of(DATA_TYPES[answers.source]).get("key")
    if columns and isinstance(columns.default, tuple):
        key = list(answers.data.get("key", ()))
        row = ", ".join(f'"{column}": 1' for column in key)
    else:  # objects of a store, which its `key` is the first part of the names of
        row, key = '"key": "new.csv", "size": 1', ["key"]
    return {
        "watched_words": words,
        "change": f"added=[{{{row}}}]" if key else "value=2, previous=1",
        "expected": f'[item["{key[0]}"] for item in run.data.added] == '
        + ('["new.csv"]' if key == ["key"] else "[1]")
        if key
        else "run.data.added == []",
    }


def _data_section(answers: Answers) -> str:
    """`[data]` with every key of the source: what was said, and the others as comments."""
    kind = DATA_TYPES[answers.source]
    said, texts = {"type": answers.source, **answers.data}, documentation(kind)
    blocks = []
    for name, key in keys_of(kind).items():
        first = re.split(r"(?<=\.) ", texts[name], maxsplit=1)[0]
        comment = textwrap.fill(first, _WIDTH, initial_indent="# ", subsequent_indent="# ")
        value = said[name] if name in said else plain_default(key) or key.default
        mark = "" if name in said else "# "
        blocks.append(f"{comment}\n{mark}{name} = {_toml(value)}")
    return "\n\n".join(blocks)


def _toml(value: Any) -> str:
    return toml_value(list(value) if isinstance(value, tuple) else value)
