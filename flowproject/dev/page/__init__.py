"""Show the local loop in a browser: what the terminal says, and the journals.

`state` keeps what the loop emits; each view is worked out of it, and of the journal, as plain data
that a template or a machine reads; `application` serves them.
"""

from flowproject.dev.page.application import open_page
from flowproject.dev.page.context import PageContext, scene_of
from flowproject.dev.page.state import LoopState

__all__ = ["LoopState", "PageContext", "open_page", "scene_of"]
