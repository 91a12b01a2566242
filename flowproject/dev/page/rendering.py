"""Views as HTML, by templates that escape everything; or as JSON, for machines."""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from flowproject.dev.page.words import clock
from flowproject.wording import amount, duration

__all__ = ["STATIC", "Frame", "Renderer", "to_json", "wants_json"]

STATIC: Final = Path(__file__).parent / "static"


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What every view has around it."""

    project: str
    branch: str
    path: str
    """Path and query of this view."""
    active: str
    """`overview`, `runs`, `graph`, or empty."""
    title: str
    token: str
    """What a form must post to be heard."""
    live: str
    """Address of the stream that tells what happens from now on."""
    bus: str
    stopping: bool

    def part_url(self, name: str) -> str:
        """The address of a piece of this view."""
        return f"{self.path}{'&' if '?' in self.path else '?'}part={name}"


class Renderer:
    """The templates, with the filters that they use."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("flowproject.dev.page"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["static"] = _static_address
        self._templates.filters |= {
            "amount": amount,
            "clock": clock,
            "duration": duration,
        }

    def page(self, template: str, frame: Frame, *, status: int = 200, **context: Any) -> Response:
        """The template, filled in."""
        filled = self._templates.get_template(template)
        html = filled.render(frame=frame, status=status, **context)
        return HTMLResponse(_encodable(html), status_code=status)


def wants_json(request: Request) -> bool:
    """Whether a machine asks."""
    return "application/json" in request.headers.get("accept", "")


def to_json(view: Any, status: int = 200) -> Response:
    """The view as JSON."""
    plain = [asdict(one) for one in view] if isinstance(view, tuple) else asdict(view)
    text = json.dumps({"v": 1, "view": plain})
    return Response(text, status_code=status, media_type="application/json")


def _encodable(text: str) -> str:
    """The text without halves of surrogate pairs, which other people's errors may quote."""
    return text.encode("utf-8", "replace").decode()


@cache
def _static_address(name: str) -> str:
    """The address of an asset, which changes with its content."""
    content = (STATIC / name).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:12]}"
