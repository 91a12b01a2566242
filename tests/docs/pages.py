"""Pages of Markdown as blocks of code, and what the line before a block says that the block is.

- "Save this as `PATH`:" makes the block a file of the reader's project.
- "From `PATH`:" makes it an excerpt: its lines stand in that file, in this order; `...` skips some.
- A `console` block holds commands (`$ `, continued by `> `) and what they print.
- Any other block stands for itself (see `test_blocks.py`); `text` is a drawing.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("data/*.md"),
    ]
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAVED = re.compile(r"Save this as `([^`]+)`:$")
_EXCERPT = re.compile(r"From `([^`]+)`:$")


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    lead: str
    """The paragraph before the block, as one line."""

    @property
    def saved_as(self) -> str:
        return _named(_SAVED, self.lead)

    @property
    def excerpt_of(self) -> str:
        return _named(_EXCERPT, self.lead)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command of a `console` block and what the page says that it prints."""

    line: str
    output: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            page=page,
            line=text.count("\n", 0, found.start()) + 1,
            language=found[1] or ("console" if found[2].startswith("$ ") else ""),
            text=found[2],
            lead=" ".join(text[: found.start()].rstrip().rpartition("\n\n")[2].split()),
        )
        for found in _FENCE.finditer(text)
    ]


def commands(block: Block) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        first, *rest = part.splitlines()
        continued = [line for line in rest if line.startswith("> ")]
        line = "\n".join([first, *(more.removeprefix("> ") for more in continued)])
        yield Command(line=line, output="\n".join(rest[len(continued) :]))


def prose(page: Path) -> str:
    """The page without its blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def _named(pattern: re.Pattern[str], lead: str) -> str:
    found = pattern.search(lead)
    return found[1] if found else ""
