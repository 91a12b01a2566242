"""Runs `flowproject schema` and `docs`: writes what is generated from the configuration."""

from pathlib import Path
from typing import Annotated

import typer

from flowproject.cli.context import find_root
from flowproject.cli.output import print_lines
from flowproject.config.reference import PAGE_FILE, SCHEMA_FILE, generated
from flowproject.errors import ConfigError

__all__ = ["docs", "schema"]

Check = Annotated[
    bool, typer.Option("--check", help="Write nothing; fail if the file is not up to date.")
]


def schema(check: Check = False) -> int:
    """Write the JSON Schema of flowproject.toml.

    Editors complete and check the file with it.
    """
    return _generate(SCHEMA_FILE, check=check)


def docs(check: Check = False) -> int:
    """Write the reference page of flowproject.toml."""
    return _generate(PAGE_FILE, check=check)


def _generate(name: str, *, check: bool) -> int:
    file = find_root() / name
    text = generated()[name]
    if check:
        _compare(file, text, name)
        print_lines([f"{name} is up to date."])
        return 0
    _write(file, text)
    print_lines([f"{name} written."])
    return 0


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file} can't be written: {error.strerror}") from error


def _compare(file: Path, text: str, name: str) -> None:
    # Byte for byte, so that a check in CI and the command that mends it can't disagree.
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        command = "schema" if name == SCHEMA_FILE else "docs"
        raise ConfigError(
            f"{name} is not what the configuration's model generates",
            where=str(file),
            fix=f"`flowproject {command}`",
        )
