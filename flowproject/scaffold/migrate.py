"""Brings a project of the old scaffold into one of today: its configuration, queries and flows.

The old folder is only read. What is known to mean the same is edited in the copy of a flow; of the
rest it is said where it stands, and what to write.
"""

import ast
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any, Final

from flowproject.config import FILE
from flowproject.config.legacy import translate
from flowproject.errors import ConfigError, UsageError
from flowproject.scaffold.rendering import MIGRATED, Answers

__all__ = ["Migration", "read_old_project"]

_SENSOR_FLOW: Final = "sensorflow.py"
# Of the old folder, what has a successor here or is nobody's.
_REPLACED: Final = frozenset(
    {FILE, "flowproject", _SENSOR_FLOW, "sql", "deploy", "README.md", "LICENSE", "__pycache__"}
)
# What a team was told to fork and edit, and where such an edit goes.
_TEMPLATES_OF_OLD: Final[Mapping[str, str]] = {
    _SENSOR_FLOW: "today's does its work",
    "flowproject/baseflow.py": "what all your flows share goes into baseflow.py",
    "deploy": "today's does its work",
}
_SCHEDULE: Final = ("cron_schedule", "event_name", "payload_key")

# What the old base flow had, and what stands for it today.
_OLD_NAMES: Final[Mapping[str, str]] = {
    "sensor_value": "write `self.change.value if self.change else None`",
    "storage_type": "write `type`",
    "data_kwargs": "its keys are in `self.flowconfig.data`",
    "query_snowflake": 'write `self.query("NAME")`, for sql/NAME.sql: rows as dictionaries',
    "_query_snowflake": 'write `self.query("NAME")`, for sql/NAME.sql: rows as dictionaries',
    "query_s3": "ask `self.change.added`, `.modified` and `.removed`: what the sensor saw",
    "_query_s3": "ask `self.change.added`, `.modified` and `.removed`: what the sensor saw",
    "ArgoEvent": "the sensor sends its event itself: remove it, or keep it for an event of yours",
}


@dataclass(frozen=True, kw_only=True)
class Migration:
    """What comes of an old project."""

    answers: Answers
    files: Mapping[str, bytes]
    """Path → content of its own files, flows edited."""
    done: Sequence[str]
    """What was edited, in sentences."""
    to_do: Sequence[str]
    """What is left to do by hand, each with its file and line."""


def read_old_project(
    folder: Path, answers: Answers, said: Callable[[str], Mapping[str, Any]]
) -> Migration:
    """Read a project of the old scaffold.

    `said` gives, for a type of source, the keys that go before those under its file's `[data]`.

    Raises:
        ConfigError: if there is no file of the old scaffold in the folder.
        UsageError: if nothing says which query its sensor watches.
    """
    translation = translate(_read(folder))
    if translation is None:
        raise ConfigError(
            f"{FILE} does not have the shape of the old scaffold",
            where=str(folder),
            allowed="A project in today's shape needs no migration",
            fix=f"To add what it lacks: `cd {folder} && flowproject init`",
        )
    tables = translation.tables
    sensor = tables["sensor"]
    new = replace(
        answers,
        project_name=str(tables.get("project_name", answers.project_name)),
        example=MIGRATED,
        sensor=str(sensor["name"]),
        data={**tables["data"], **said(str(tables["data"]["type"]))},
        schedule={key: str(sensor[key]) for key in _SCHEDULE if sensor.get(key)},
    )
    files = {path: (folder / path).read_bytes() for path in _own_files(folder)}
    _check_query(folder, new, files)
    done, to_do = [f"{FILE}: {edit}" for edit in translation.edits], []
    for path in [path for path in files if path.endswith("flow.py")]:
        try:
            text = files[path].decode()
        except UnicodeDecodeError:
            to_do.append(f"{path}: it is no UTF-8; nothing of this file was edited")
            continue
        edited, told, left = _edit_flow(path, text, new)
        files[path] = edited.encode()
        done += told
        to_do += left
    to_do += _left_behind(folder)
    return Migration(answers=new, files=files, done=done, to_do=to_do)


def _read(folder: Path) -> dict[str, Any]:
    path = folder / FILE
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{FILE} of the old project can't be read: {error.strerror}",
            where=str(folder),
            fix="Name the folder that has it: `flowproject init NEW --from OLD`",
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"{FILE} of the old project can't be read: {error}", where=str(path)
        ) from error


def _own_files(folder: Path) -> Iterator[str]:
    """The old project's queries, flows, and the modules beside them."""
    for path in sorted([*folder.glob("*.py"), *folder.glob("sql/**/*.sql")]):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in _REPLACED:
            yield name


def _left_behind(folder: Path) -> list[str]:
    """What else stands there: only its owner knows whether a flow needs it."""
    kept = set(_own_files(folder))
    others = [
        path.name
        for path in sorted(folder.iterdir())
        if path.name not in _REPLACED | kept and path.name != ".git"
    ]
    words = "copy it if a flow needs it: it was left where it is"
    return [
        *(
            f"{folder / name}: look whether you had edited it; {instead}"
            for name, instead in _TEMPLATES_OF_OLD.items()
            if (folder / name).exists()
        ),
        *(f"{folder / name}: {words}" for name in others),
    ]


def _check_query(folder: Path, answers: Answers, files: Mapping[str, bytes]) -> None:
    query = answers.data.get("query")
    if not query or f"sql/{query}.sql" in files:
        return
    known = [Path(name).stem for name in files if name.startswith("sql/")]
    raise UsageError(
        f"The sensor watches the query {query!r}, and there is no sql/{query}.sql",
        where=str(folder),
        allowed=f"Queries: {', '.join(known) or 'none'}",
        fix="Say which: `--set query=NAME`, or write the file first",
    )


def _edit_flow(path: str, text: str, answers: Answers) -> tuple[str, list[str], list[str]]:
    """A flow in today's words, what was edited, and what is left to do."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return text, [], [f"{path}:{error.lineno}: {error.msg}; nothing of this file was edited"]
    # As Python counts lines: `splitlines` ends one at a form feed, too.
    lines, done = list(StringIO(text, newline="")), []
    inherits = bool({base for base in _bases(tree) if base == "BaseFlow"})
    decorators = [one for node in _classes(tree) for one in node.decorator_list]
    listens = False
    # From the end, so that the numbers of the lines above stay what they are.
    for one in sorted(decorators, key=lambda node: -node.lineno) if inherits else ():
        name = _called(one)
        if name == "project":
            new, why = "", "removed @project: BaseFlow has it"
        elif _means_the_sensor(one, name, answers):
            new = "" if listens else f'@on_change("{answers.sensor_name}")\n'
            why = f"wrote @on_change({answers.sensor_name!r}) in place of @{name}"
            listens = True
        else:
            continue
        end = one.end_lineno or one.lineno
        lines[one.lineno - 1 : end] = [new] if new else []
        done.append(f"{path}:{one.lineno}: {why}")
    if listens:
        _import_on_change(tree, lines)
    return "".join(lines), done[::-1], list(_to_do("".join(lines), path))


def _classes(tree: ast.Module) -> list[ast.ClassDef]:
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]


def _bases(tree: ast.Module) -> Iterator[str]:
    for node in _classes(tree):
        yield from (ast.unparse(base).rpartition(".")[2] for base in node.bases)


def _called(node: ast.expr) -> str:
    function = node.func if isinstance(node, ast.Call) else node
    return ast.unparse(function).rpartition(".")[2]


def _means_the_sensor(node: ast.expr, name: str, answers: Answers) -> bool:
    """Whether the decorator starts the flow by what the old sensor did."""
    words = {one.value for one in ast.walk(node) if isinstance(one, ast.Constant)}
    if name == "trigger_on_finish":
        # It would start with every tick today: one in which nothing changed succeeds.
        return "SensorFlow" in words
    # By its name, or by the expression that takes the name from the configuration.
    named = answers.schedule.get("event_name") in words or "event_name" in ast.unparse(node)
    return name == "trigger" and named


def _import_on_change(tree: ast.Module, lines: list[str]) -> None:
    """Let the flow import what is written in it now, beside what it imports of flowproject."""
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    named = [(node.lineno, getattr(node, "module", "")) for node in imports]
    ours = [line for line, module in named if module == "flowproject"]
    # Nothing may stand before what is imported of the future.
    others = [line for line, module in named if module != "__future__"]
    lines.insert([*ours, *others][0] - 1, "from flowproject import on_change\n")


def _to_do(text: str, path: str) -> Iterator[str]:
    """Where the flow uses what the old base flow had."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.expr)]
    for node in sorted(nodes, key=lambda node: node.lineno):
        name = getattr(node, "attr", None) or getattr(node, "id", None) or ""
        if isinstance(node, ast.Attribute | ast.Name) and name in _OLD_NAMES:
            yield f"{path}:{node.lineno}: {name} is gone: {_OLD_NAMES[name]}"
        if isinstance(node, ast.Call) and _called(node) == "query":
            words = {word.arg for word in node.keywords}
            if words & {"storage_type", "kwargs"}:
                yield f'{path}:{node.lineno}: write `self.query("NAME")`, for sql/NAME.sql'
