"""What is new below a prefix whose keys grow in order: everything after the last key known."""

from flowproject.errors import SourceError
from flowproject.sources.s3.asking import Asker, Pages
from flowproject.sources.s3.last import last_key
from flowproject.sources.s3.lister import Lister
from flowproject.sources.s3.pace import Pace
from flowproject.sources.s3.scope import Scope
from flowproject.tables.spans import key_bytes, key_text
from flowproject.tables.table import ObjectTable

__all__ = ["last_item", "lister_after", "needs_order", "newest"]


def newest(pages: Pages, scope: Scope, pace: Pace) -> str:
    """The last key that there is, so that what follows it is new; empty if there is none.

    Raises:
        UnorderedError: if the server does not list in the order of keys.
    """
    return key_text(last_key(Asker(pages, scope.prefix, pace.page_size)) or b"")


def lister_after(pages: Pages, scope: Scope, position: str, pace: Pace) -> Lister:
    """A lister of what comes after a key; of everything, if it is empty."""
    return Lister(pages, scope, after=key_bytes(position), pace=pace)


def last_item(items: ObjectTable) -> str:
    """The last key of a table; empty if it has none."""
    full = [span for span in items.manifest.spans if span.count]
    return key_text(items.rows(full[-1])["key"][-1].as_py()) if full else ""


def needs_order() -> SourceError:
    """The error for a server that has no order in which something could be the last."""
    return SourceError(
        'check_mode = "files_new" needs a server that lists keys in order, and this one does not',
        fix='Put check_mode = "files_metadata", which compares everything',
    )
