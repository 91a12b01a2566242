"""Where `flowproject.toml` is, and reading it from there.

The parser is imported when it is called: steps get the parsed values from Metaflow, and every step
of every run imports this package.
"""

import sys
import sysconfig
from pathlib import Path
from typing import Any, Final

from flowproject.config.model import FILE, Project
from flowproject.errors import ConfigError

__all__ = ["load", "parse_config", "project_root"]

_SMALLEST: Final = (
    r"""printf 'project_name = "my_project"\n\n[data]\ntype = "files"\npath = "data"\n' > """ + FILE
)


def parse_config(text: str) -> dict[str, Any]:
    """The normalised configuration; Metaflow's `Config(parser="flowproject.config.parse_config")`.

    Raises `ConfigError`, which lists everything that is wrong with the text.
    """
    from flowproject.config.parse import parse

    return parse(text)


def load(root: Path) -> Project:
    """The project whose folder is `root`."""
    file = root / FILE
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _missing([root]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{file} is not UTF-8: byte {error.object[error.start]:#04x} on line {line}",
            fix="Save the file as UTF-8.",
        ) from error
    except OSError as error:
        denied = isinstance(error, PermissionError)
        raise ConfigError(
            f"{file} can't be read: {error.strerror}",
            fix=f"Give yourself the right to: `chmod u+r {file}`" if denied else "",
        ) from error
    return Project.from_dict(parse_config(text))


def project_root(start: Path | None = None) -> Path:
    """The nearest folder that has `flowproject.toml`, going up from `start`.

    Without `start`: up from the script that Python was started with, so that a flow finds its
    project from any folder, and then up from the current folder.
    """
    starts = [start.resolve()] if start else [*_script_folder(), Path.cwd()]
    for folder in starts:
        for candidate in (folder, *folder.parents):
            if (candidate / FILE).is_file():
                return candidate
    raise _missing(starts, " or a folder above")


def _script_folder() -> list[Path]:
    """The folder of the main script; none if that is a command installed with Python's packages."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if not script:
        return []
    folder = Path(script).resolve().parent
    installed = (sysconfig.get_path(name) for name in ("scripts", "purelib", "stdlib"))
    return [] if any(folder.is_relative_to(place) for place in installed) else [folder]


def _missing(searched: list[Path], more: str = "") -> ConfigError:
    folders = " and ".join(dict.fromkeys(str(folder.resolve()) for folder in searched))
    return ConfigError(
        f"There is no {FILE} in {folders}{more}",
        fix=f"Change into your project's folder, or start a project here: `{_SMALLEST}`",
    )
