"""How a listing goes about it; tests list many pages of few keys. Pure."""

from dataclasses import dataclass

from flowproject.tables.spans import SPAN_ROWS

__all__ = ["Pace"]


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How many requests at once, keys to a page (S3 gives 1,000 at most), and keys to a span."""

    at_once: int = 32
    page_size: int = 1000
    span_rows: int = SPAN_ROWS

    def pages(self, rows: int) -> int:
        """How many pages so many rows fill."""
        return -(-rows // self.page_size)
