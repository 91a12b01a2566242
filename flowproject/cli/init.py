"""Runs `flowproject init` and `upgrade`: a project's files, written and brought up to date."""

import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from flowproject.cli.context import find_root
from flowproject.cli.output import AsJson, print_json, print_lines, print_table
from flowproject.config import FILE
from flowproject.config.data import DATA_TYPES
from flowproject.config.keys import Key, keys_of
from flowproject.config.parse import load, parse_config
from flowproject.errors import UsageError, closest
from flowproject.packages import extras_of
from flowproject.scaffold.init import (
    Written,
    WrittenState,
    holds_python,
    package_here,
    project_name_of,
)
from flowproject.scaffold.init import init as write_project
from flowproject.scaffold.migrate import Migration, read_old_project
from flowproject.scaffold.rendering import CI, EXAMPLES, Answers, render
from flowproject.scaffold.upgrade import FileUpgrade, apply_upgrade, plan_upgrade

__all__ = ["init", "upgrade"]

# As of `git merge`: something is left for a person to decide.
CONFLICTS: Final = 1


def init(
    folder: Annotated[Path, typer.Argument(help="Where (default: here).")] = Path(),
    name: Annotated[str, typer.Option(help="Metaflow's name of the project.")] = "",
    example: Annotated[str, typer.Option(help=f"What it begins with: {', '.join(EXAMPLES)}.")] = "",
    source: Annotated[
        str, typer.Option(help=f"What `empty` watches: {', '.join(DATA_TYPES)}.")
    ] = "",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="A key of [data] for `empty`, such as bucket=lake."),
    ] = None,
    table: Annotated[str, typer.Option(help="The table that the query of `empty` reads.")] = "",
    ci: Annotated[str, typer.Option(help=f"Whose CI: {', '.join(CI)}.")] = "",
    old: Annotated[
        Path | None,
        typer.Option("--from", help="A project of the old scaffold, to bring into this folder."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Write a project into a folder, and nothing over what is there.

    Asks on a terminal for what no option says.
    """
    asker = _Asker(asks=sys.stdin.isatty() and not as_json)
    if old is not None:
        if example or source or table or name:
            raise UsageError(
                "--from takes name, source and flows from the old project",
                fix="Leave out --name, --example, --source and --table; `--set KEY=VALUE` may stay",
            )
        return _bring(old, folder, asker, settings or [], ci, as_json=as_json)
    answers = _answers(folder, asker, name=name, example=example, source=source, ci=ci)
    if answers.example == "empty" and not (folder / FILE).exists():
        answers = replace(answers, **_watched(answers, asker, settings or [], table))
    elif settings or table or source:
        raise UsageError(
            "--source, --set and --table say what an empty project watches",
            allowed=f"This one begins with {answers.example!r}"
            if answers.example != "empty"
            else f"This folder has a {FILE} already",
            fix="Add `--example empty`, or leave them out",
        )
    package = package_here(extras_of(answers.source, deploys=answers.ci != "none"))
    if not (folder / FILE).exists():
        # What was said may be nothing that the file can have: known before anything is written.
        parse_config(render(answers, package.line)[FILE].decode())
    _tell(write_project(folder, answers, package), as_json=as_json)
    return 0


def upgrade(
    apply: Annotated[bool, typer.Option("--apply", help="Change the files.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show what this version changes in the files that init wrote; with --apply change them.

    Your edits stay; where you and this version changed the same lines, both are shown.
    """
    folder = find_root()
    state = WrittenState.load(folder)
    answers = state.answers
    package = package_here(extras_of(answers.source, deploys=answers.ci != "none"))
    plan = plan_upgrade(folder, state, package)
    if apply:
        apply_upgrade(folder, state, package, plan)
    _tell_upgrade(plan, state.version, apply=apply, as_json=as_json)
    conflicts = [one.path for one in plan if one.kind == "conflict"]
    if not (apply and conflicts):
        return 0
    print(
        f"To be decided by you, between <<<<<<< and >>>>>>>: {', '.join(conflicts)}. "
        "Then: `flowproject check`",
        file=sys.stderr,
    )
    return CONFLICTS


def _tell_upgrade(plan: Sequence[FileUpgrade], version: str, *, apply: bool, as_json: bool) -> None:
    if as_json:
        files = [
            {"file": one.path, "state": one.kind, "note": one.note, "diff": one.diff}
            for one in plan
        ]
        print_json({"from": version, "applied": apply, "files": files})
        return
    here = metadata.version("flowproject")
    title = f"From flowproject {version} to {here}"
    rows = [[one.kind, one.path, one.note] for one in plan]
    print_table(["state", "file", "note"], rows, title=title, empty="Nothing to change.")
    if not apply:
        print_lines([line for one in plan for line in ("", *one.diff) if one.writes])
        if any(one.writes for one in plan):
            print_lines(["", "Nothing was written: `flowproject upgrade --apply`"])


def _bring(
    old: Path, folder: Path, asker: "_Asker", settings: Sequence[str], ci: str, *, as_json: bool
) -> int:
    """Write a project of today from one of the old scaffold."""
    if folder.resolve() == old.resolve() or (folder / FILE).exists():
        raise UsageError(
            "A project of the old scaffold is brought into a folder of its own",
            where=str(folder.resolve()),
            fix=f"Name a new one: `flowproject init ../new --from {old}`",
        )

    old = old.resolve()

    def said(kind: str) -> dict[str, Any]:
        keys = keys_of(DATA_TYPES[kind])
        return dict(_setting(one, keys, kind) for one in settings)

    answers = Answers(project_name=project_name_of(folder), ci=asker.choose("ci", ci, "none", CI))
    migration = read_old_project(old, answers, said)
    data = dict(migration.answers.data)
    _require(data, asker)
    answers = replace(migration.answers, data=data)
    package = package_here(extras_of(answers.source, deploys=answers.ci != "none"))
    parse_config(render(answers, package.line)[FILE].decode())
    written = write_project(folder, answers, package, migration.files)
    _tell(written, as_json=as_json, migration=migration)
    return 0


class _Asker:
    """Asks on a terminal, and takes the default elsewhere."""

    def __init__(self, *, asks: bool) -> None:
        self._asks = asks

    def choose(self, option: str, said: str, default: str, options: Sequence[str]) -> str:
        """One of the options: what was said, else what is answered, else the default."""
        answer = said or (self.ask(f"{option} ({', '.join(options)})", default))
        while answer not in options:
            if said or not self._asks:
                raise UsageError(
                    f"--{option} {answer!r} is none",
                    allowed=f"One of {', '.join(options)}",
                    fix=closest(answer, options),
                )
            answer = self.ask(f"One of {', '.join(options)}", default)
        return answer

    def ask(self, what: str, default: str) -> str:
        """What is answered, or the default where nobody is asked."""
        if not self._asks:
            return default
        return str(typer.prompt(what, default=default or None, err=True)).strip()


def _answers(
    folder: Path, asker: _Asker, *, name: str, example: str, source: str, ci: str
) -> Answers:
    """What the project is, but for what an empty one watches."""
    if (folder / FILE).exists():
        # Whoever has a configuration is asked nothing that it says.
        project = load(folder)
        sensor = next(iter(project.sensors.values()))
        return Answers(
            project_name=project.project_name,
            example="empty",
            ci=asker.choose("ci", ci, "none", CI),
            production=project.deploy.production_branch,
            sensor=sensor.name,
            data=_plain(asdict(sensor.data)),
        )
    usual = "empty" if source or (folder.is_dir() and holds_python(folder)) else EXAMPLES[0]
    return Answers(
        project_name=name or asker.ask("name of the project", project_name_of(folder)),
        example=asker.choose("example", example, usual, EXAMPLES),
        ci=asker.choose("ci", ci, "none", CI),
        data={"type": source} if source else {},
    )


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}


def _watched(
    answers: Answers, asker: _Asker, settings: Sequence[str], table: str
) -> dict[str, Any]:
    """The keys of `[data]` of an empty project, and the table that its query reads."""
    kind = asker.choose("source", str(answers.data.get("type", "")), "files", list(DATA_TYPES))
    keys = keys_of(DATA_TYPES[kind])
    data = {"type": kind, **dict(_setting(one, keys, kind) for one in settings)}
    if "query" in keys:
        data.setdefault("query", "sensor")
        table = table or asker.ask("table to watch", "")
        if not table:
            raise UsageError(
                f"Nothing says which table a project with --source {kind} watches",
                fix="Add `--table NAME`; for files on DuckDB, `--table \"read_csv('data/*.csv')\"`",
            )
    elif table and "table" in keys:
        # A table by itself and not what a query reads: a key like the others.
        data.setdefault("table", table)
        table = ""
    elif table:
        raise UsageError(
            f"--table {table!r} says nothing about a source {kind!r}",
            allowed="It is for sources that watch a table, or the result of a query",
            fix="Leave it out",
        )
    if kind == "files":
        data.setdefault("path", "data")
    _require(data, asker)
    return {"data": data, "table": table}


def _require(data: dict[str, Any], asker: _Asker) -> None:
    """Ask for the keys of `[data]` that must be there and are not."""
    for name, key in keys_of(DATA_TYPES[data["type"]]).items():
        if key.required and name not in data:
            data[name] = asker.ask(f"{name} ({key.type.words})", "")
            if not data[name]:
                raise UsageError(
                    f"Nothing says the {name} of a source {data['type']!r}",
                    fix=f"Add `--set {name}=...`",
                )


def _setting(text: str, keys: Mapping[str, Key], kind: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or name not in keys or name == "type":
        raise UsageError(
            f"--set {text!r} sets no key of a source {kind!r}",
            allowed=f"KEY=VALUE, where KEY is one of {', '.join([*keys][1:])}",
            fix=closest(name, keys),
        )
    return name, _value(value, keys[name].default)


def _value(text: str, default: object) -> Any:
    """The value of a key, given in plain words or as it would stand in the file."""
    # A text may look like a number or a date: `key=2026` is the name of a folder. Whoever writes
    # quotes or brackets means TOML, and so does who says a number or `true` where one belongs.
    if text.startswith(('"', "'", "[")) or isinstance(default, int | float):
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            pass  # such as the pattern `[ab]*.csv`, and `30s`
    return [one.strip() for one in text.split(",")] if isinstance(default, tuple) else text


def _tell(written: Written, *, as_json: bool, migration: Migration | None = None) -> None:
    edited, by_hand = (migration.done, migration.to_do) if migration else ((), ())
    if as_json:
        print_json(
            {
                "folder": str(written.folder.resolve()),
                "written": list(written.written),
                "left": dict(written.left),
                "edited": list(edited),
                "by_hand": list(by_hand),
                "next": list(written.to_do),
            }
        )
        return
    rows = [["written", path, ""] for path in written.written]
    rows += [["left", path, why or "it was there"] for path, why in written.left.items()]
    print_table(["state", "file", "note"], rows)
    for title, lines in (("Edited:", edited), ("To do by hand:", by_hand)):
        if lines:
            print_lines(["", title, *(f"  {line}" for line in lines)])
    print_lines(["", "Next:", *(f"  {step}" for step in written.to_do)])
