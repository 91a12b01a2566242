"""Count what makes a house of modules hard to live in; `make figures` prints it.

Nothing is limited here: what must hold is a contract of import-linter or a test.
"""

import ast
import statistics
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeAlias

import grimp
from rich.console import Console
from rich.table import Table

PACKAGE: Final = "flowproject"
ROOT: Final = Path(__file__).parent.parent
_DIRECTIVES: Final = ("noqa", "type: ignore")

_SHORT: Final = 40
"""Lines of a module that hardly has an idea of its own."""

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef


def classes_by_name() -> dict[str, list[str]]:
    """Where each class of the package is defined, by its name."""
    found = defaultdict(list)
    for module, tree in _trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(module)
    return dict(found)


def main() -> None:
    """Print the figures, then the modules and the imports that are behind two of them."""
    trees = _trees()
    graph = grimp.build_graph(PACKAGE)
    importers = {module: graph.find_modules_that_directly_import(module) for module in trees}
    single = {module: next(iter(found)) for module, found in importers.items() if len(found) == 1}
    inner = [place for module, tree in trees.items() for place in _inner_imports(module, tree)]
    twice = {name: places for name, places in classes_by_name().items() if len(places) > 1}
    comments, reasons, lines = _comments()
    rows = [
        ("modules, packages counted", f"{len(trees)}"),
        ("with exactly one importer", f"{len(single)} ({len(single) / len(trees):.0%})"),
        (f"with at most {_SHORT} lines", f"{sum(_length(module) <= _SHORT for module in trees)}"),
        ("own imports inside functions", f"{len(inner)}"),
        ("class names in two modules", f"{len(twice)}"),
        ("lines with a comment", f"{comments / lines:.1%}"),
        ("the same, linters' directives left out", f"{reasons / lines:.1%}"),
        ("lines", f"{lines}"),
        ("lines of a module", _spread([_length(module) for module in trees])),
        ("lines of a function", _spread([_span(one) for one in _functions(trees)])),
    ]
    table = Table("figure", "today")
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.print(table)
    for module, importer in sorted(single.items()):
        console.print(f"{module} serves {importer} alone", soft_wrap=True)
    for place in inner:
        console.print(f"{place} is imported inside a function", soft_wrap=True)
    for name, places in sorted(twice.items()):
        console.print(f"{name} is a class of {' and of '.join(places)}", soft_wrap=True)


def _trees() -> dict[str, ast.Module]:
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    return {_name(file): ast.parse(file.read_text("utf-8")) for file in files}


def _name(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _file(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _length(module: str) -> int:
    return len(_file(module).read_text("utf-8").splitlines())


def _span(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _functions(trees: dict[str, ast.Module]) -> Iterator[Function]:
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node


def _inner_imports(module: str, tree: ast.Module) -> Iterator[str]:
    """Where a function of the module imports another module of ours."""
    seen = set()
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for node in ast.walk(function):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
                seen.add(f"{module}:{node.lineno}: {node.module}")
    yield from sorted(seen)


def _comments() -> tuple[int, int, int]:
    """Lines with a comment, those of them that tell a reader something, and all lines."""
    comments = reasons = lines = 0
    for file in (ROOT / PACKAGE).rglob("*.py"):
        with tokenize.open(file) as text:
            for token in tokenize.generate_tokens(text.readline):
                if token.type == tokenize.COMMENT:
                    comments += 1
                    reasons += not any(word in token.string for word in _DIRECTIVES)
        lines += len(file.read_text("utf-8").splitlines())
    return comments, reasons, lines


def _spread(counts: list[int]) -> str:
    tenths = statistics.quantiles(counts, n=10)
    return f"{statistics.median(counts):.0f} (one in ten above {tenths[-1]:.0f}, {max(counts)})"


if __name__ == "__main__":
    main()
