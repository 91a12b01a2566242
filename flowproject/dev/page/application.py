"""Serve the page: addresses, what each answers, and live streams."""

import asyncio
import hashlib
import json
import os
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from flowproject.dev.launcher import plain_text
from flowproject.dev.page.actions import ActionResult, ActionRunner, plan
from flowproject.dev.page.changes import ItemsQuery
from flowproject.dev.page.components import clock
from flowproject.dev.page.graph import graph
from flowproject.dev.page.runs import run_rows
from flowproject.dev.page.security import CARD_HEADERS, Guard
from flowproject.dev.page.state import LoopState, Run
from flowproject.dev.page.views import Views
from flowproject.dev.server import serve
from flowproject.errors import FlowprojectError, UsageError
from flowproject.secrecy import safe
from flowproject.wording import amount, duration

__all__ = ["PageHandler", "application", "serve_page"]

_STATIC: Final = Path(__file__).parent / "static"
# Bytes of a form.
_LARGEST: Final = 64 * 1024
# Fewer than Python's limit for numbers in texts, and enough for every file and every journal.
_DIGITS: Final = 15
# View -> the one of the navigation that it belongs to.
_TABS: Final = {"sensor": "overview", "change": "overview", "run": "runs"}
# Seconds between two messages: what happens meanwhile is told with the next one.
_STREAM_PAUSE: Final = 0.33
# Seconds after which a silent line says that it is open: so a lost browser is noticed.
_HEARTBEAT: Final = 20.0
_CHUNK: Final = 64 * 1024
_LONGEST_LINE: Final = 64 * 1024
_BREAK: Final = re.compile(r"\r\n|\r|\n")
# nginx collects answers before it passes them on, unless told not to.
_LIVE_HEADERS: Final = {"X-Accel-Buffering": "no"}


# ------------------------------------------------------------------------------------ HTML and JSON


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """What every view has around it: navigation, title, token."""

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


class _Renderer:
    """The templates, with the filters that they use."""

    def __init__(self) -> None:
        self._templates = Environment(
            loader=PackageLoader("flowproject.dev.page"),
            autoescape=True,
            # A view that lacks a field is a mistake of ours, which an empty place on the page would
            # hide.
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

    def page(self, template: str, frame: _Frame, *, status: int = 200, **context: Any) -> Response:
        """Fill in a template."""
        filled = self._templates.get_template(template)
        html = filled.render(frame=frame, status=status, **context)
        return HTMLResponse(_encodable(html), status_code=status)


def _wants_json(request: Request) -> bool:
    """Say whether a machine asks."""
    return "application/json" in request.headers.get("accept", "")


def _to_json(view: Any, status: int = 200) -> Response:
    """The view as JSON."""
    plain = [asdict(one) for one in view] if isinstance(view, tuple) else asdict(view)
    text = json.dumps({"v": 1, "view": plain})
    return Response(text, status_code=status, media_type="application/json")


def _encodable(text: str) -> str:
    """The text without halves of surrogate pairs, which other people's errors may quote."""
    # Starlette encodes strictly, and what it can't encode would be an answer without a body.
    return text.encode("utf-8", "replace").decode()


@cache
def _static_address(name: str) -> str:
    """The address of an asset, which changes with its content."""
    # So a browser may keep it for a year and still sees each new version of flowproject.
    content = (_STATIC / name).read_bytes()
    return f"/static/{name}?v={hashlib.sha256(content).hexdigest()[:12]}"


# ----------------------------------------------------------------------------------------- requests


class PageHandler:
    """Answers requests. `token` is what a form must post: only this page's own has it."""

    def __init__(self, views: Views, runner: ActionRunner) -> None:
        self._views = views
        self._context = views.context
        self._runner = runner
        self._renderer = _Renderer()
        # Not the token of the address: that one may be shared, and forms are only this process's
        # own.
        self.token = secrets.token_urlsafe(24)

    # ------------------------------------------------------------------------------------- views

    async def overview(self, request: Request) -> Response:
        """Answer with every sensor, the timeline, the flows, the news."""
        part = self._piece(request, "sensors", "timeline", "flows", "news")
        view = await self._views.overview(request.query_params.get("span", ""), part)
        return self._answer(request, "overview", view, part, title="Overview")

    async def sensor(self, request: Request) -> Response:
        """Answer with one sensor."""
        part = self._piece(request, "state", "chart", "changes", "ticks")
        name = request.path_params["name"]
        view = await self._views.sensor(
            name, _number(request, "before"), with_changes=part in ("", "changes")
        )
        return self._answer(request, "sensor", view, part, title=name)

    async def change(self, request: Request) -> Response:
        """Answer with one change."""
        part = self._piece(request, "chain", "items", "cards")
        asked = ItemsQuery(
            sensor=request.path_params["name"],
            seq=_whole(request.path_params["seq"], "The number of the change"),
            kind=request.query_params.get("kind", ""),
            search=request.query_params.get("q", ""),
            start=_number(request, "start"),
        )
        view = await self._views.change(
            asked, with_items=part in ("", "items"), with_cards=part in ("", "cards")
        )
        title = f"{asked.sensor}, change {asked.seq}"
        return self._answer(request, "change", view, part, title=title)

    async def runs(self, request: Request) -> Response:
        """Answer with the newest runs."""
        part = self._piece(request, "runs")
        return self._answer(request, "runs", run_rows(self._context), part, title="Runs")

    async def run(self, request: Request) -> Response:
        """Answer with one run."""
        part = self._piece(request, "state", "cards", "log")
        flow, run_id = request.path_params["flow"], request.path_params["run_id"]
        view = await self._views.run(
            flow,
            run_id,
            with_cards=part in ("", "cards"),
            with_log=part in ("", "log"),
            with_steps=part in ("", "state"),
        )
        return self._answer(request, "run", view, part, title=f"{flow}/{run_id}")

    async def graph(self, request: Request) -> Response:
        """Answer with the project as a graph."""
        part = self._piece(request, "graph")
        return self._answer(request, "graph", graph(self._context), part, title="Graph")

    async def card(self, request: Request) -> Response:
        """Answer with a card, for a frame that it can't leave; opened alone, with that frame."""
        # A card opened alone would have no way back to the page. A browser that does not say where
        # it is shown gets the card itself: its policy keeps it in a sandbox anyway.
        if request.headers.get("sec-fetch-dest", "iframe") != "iframe":
            frame = self._frame(request, "run", f"Card of {request.path_params['flow']}")
            return self._renderer.page("card.html", frame)
        path = request.path_params
        number = _whole(path["number"], "The number of the card")
        html = await self._views.card(**{**path, "number": number})
        if html is None:
            raise HTTPException(404)
        return HTMLResponse(html, headers=CARD_HEADERS)

    # -------------------------------------------------------------------------------------- live

    async def live(self, request: Request) -> Response:
        """Stream what happens, as it happens."""
        return _happened(self._context.loop, _place(request, "since"))

    async def log(self, request: Request) -> Response:
        """Stream what a run prints, as it prints it."""
        name = f"{request.path_params['flow']}/{request.path_params['run_id']}"
        run = self._context.loop.runs.get(name)
        if run is None:
            raise HTTPException(404)
        return _follow_log(self._context.loop, run, _place(request, "start"))

    # ----------------------------------------------------------------------------------- actions

    async def plan(self, request: Request) -> Response:
        """Answer with what an action would do."""
        part = self._piece(request, "plan")
        intended = plan(self._context, request.path_params["name"], request.query_params)
        context = {"plan": intended}
        return self._answer(
            request, "action", intended, part, title=intended.title, context=context
        )

    async def act(self, request: Request) -> Response:
        """Do an action and answer with what came of it."""
        part = self._piece(request, "result")
        values = await _form(request)
        # In bytes: compare_digest takes no text with letters outside ASCII, and what is posted may
        # have any.
        if not secrets.compare_digest(values.pop("token", "").encode(), self.token.encode()):
            raise HTTPException(403, "The form is not one of this page: load it anew")
        result = await self._runner.do(request.path_params["name"], values)
        status = 200 if result.ok else 400
        context = {"result": result}
        return self._answer(
            request, "action", result, part, title=result.title, status=status, context=context
        )

    # ------------------------------------------------------------------------------------ answers

    def _answer(
        self,
        request: Request,
        name: str,
        view: Any,
        part: str,
        *,
        title: str,
        status: int = 200,
        context: Mapping[str, Any] | None = None,
    ) -> Response:
        """Answer with the view or a piece of it, as HTML, or as JSON if that is asked for."""
        if _wants_json(request):
            return _to_json(view, status)
        frame = self._frame(request, name, title)
        whole = next(iter(context)) if context else name
        template = f"parts/{name}-{part}.html" if part else f"{whole}.html"
        return self._renderer.page(template, frame, status=status, **(context or {"view": view}))

    async def failed(self, request: Request, error: Exception) -> Response:
        """Answer with what went wrong, in words."""
        status, title, lines = _problem(error, request.method)
        if _wants_json(request):
            return _to_json(ActionResult(ok=False, title=title, lines=lines), status)
        in_frame = request.headers.get("sec-fetch-dest") == "iframe"
        piece = in_frame or "part" in request.query_params
        answer = self._renderer.page(
            "parts/problem.html" if piece else "problem.html",
            self._frame(request, "", title),
            status=status,
            title=title,
            lines=lines,
        )
        # In place of a card: with the page's own policy a browser would show nothing in the frame.
        if in_frame:
            answer.headers.update(CARD_HEADERS)
        return answer

    def _piece(self, request: Request, *pieces: str) -> str:
        """The piece of a view that is asked for; empty for all of it, which JSON always is.

        What happens from here on is told to the view when it is shown: it may not be in it.
        """
        # Before the view is worked out: what happens meanwhile comes with the stream, at worst a
        # second time.
        request.state.number = self._context.loop.number
        part = request.query_params.get("part", "")
        if part and part not in pieces:
            raise UsageError(f"There is no piece {part!r}", allowed=", ".join(pieces))
        return "" if _wants_json(request) else part

    def _frame(self, request: Request, name: str, title: str) -> _Frame:
        # The pieces renew themselves from this address, each with a `part` of its own.
        query = request.url.remove_query_params("part").query
        loop = self._context.loop
        number = getattr(request.state, "number", loop.number)
        return _Frame(
            project=self._context.project,
            branch=self._context.project_context.branch if self._context.project_context else "",
            path=request.url.path + (f"?{query}" if query else ""),
            active=_TABS.get(name, name),
            title=title,
            token=self.token,
            live=f"/live?since={number}",
            bus=self._context.bus,
            stopping=loop.stopping,
        )


# --------------------------------------------------------------------------------------- the server


@asynccontextmanager
async def serve_page(
    views: Views, runner: ActionRunner, *, host: str, port: int, token: str
) -> AsyncIterator[str]:
    """Serve the page and give its address."""
    page = PageHandler(views, runner)
    async with serve(application(page, token), host=host, port=port) as (_, taken):
        try:
            # An IPv6 address stands in brackets in an address.
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{taken}/" + (f"?{urlencode({'token': token})}" if token else "")
        finally:
            # A request waits for the command, and the end of the server for the request.
            runner.close()
            views.context.loop.close()


def application(page: PageHandler, token: str = "") -> Guard:
    """The web application; with a token, only for who shows it."""
    inside = Starlette(
        routes=[
            Route("/", page.overview),
            Route("/sensors/{name}", page.sensor),
            Route("/sensors/{name}/changes/{seq}", page.change),
            Route("/runs", page.runs),
            Route("/runs/{flow}/{run_id}", page.run),
            Route("/runs/{flow}/{run_id}/log", page.log),
            Route("/graph", page.graph),
            Route("/cards/{flow}/{run_id}/{step}/{task}/{number}", page.card),
            Route("/actions/{name}", page.plan, methods=["GET"]),
            Route("/actions/{name}", page.act, methods=["POST"]),
            Route("/live", page.live),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        exception_handlers=dict.fromkeys((HTTPException, FlowprojectError, Exception), page.failed),
    )
    return Guard(inside, token=token)


def _number(request: Request, name: str) -> int:
    return _whole(request.query_params.get(name, "") or "0", name)


def _whole(text: str, what: str) -> int:
    """The number, which is no larger than any file or journal."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise UsageError(
            f"The address of the view says {what} {text[:50]!r}, which is no number",
            allowed="A whole number, as in the links of the page",
            fix="Go back, and follow a link",
        )
    return int(text)


def _place(request: Request, name: str) -> int:
    """Where a stream goes on: a browser that has lost it says so itself."""
    # A browser that has lost the stream asks the same address again, and says in this header how
    # far it came.
    last = request.headers.get("last-event-id", "")
    return _whole(last, "Last-Event-ID") if last else _number(request, name)


async def _form(request: Request) -> dict[str, str]:
    # Other types, such as text/plain, are what a page elsewhere may post without being asked by the
    # browser.
    if request.headers.get("content-type", "").partition(";")[0] != (
        "application/x-www-form-urlencoded"
    ):
        raise HTTPException(415, "A form is awaited")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            raise HTTPException(413, f"The form is larger than {_LARGEST} bytes")
    return dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))


def _problem(error: Exception, method: str) -> tuple[int, str, tuple[str, ...]]:
    """Status, title and lines."""
    match error:
        case HTTPException(status_code=404):
            return 404, "There is no such page", ()
        case HTTPException(status_code=status, detail=title):
            return status, title, ()
        # A view that is not there is 404; the same error after a click is an action that was
        # refused.
        case UsageError() if method == "GET":
            return 404, "There is no such thing", tuple(str(error).splitlines())
        case UsageError():
            return 400, "It was not done", tuple(str(error).splitlines())
        case FlowprojectError():
            return 500, error.headline, tuple(str(error).splitlines())
        case _:
            return 500, "This is a bug of flowproject", (safe(f"{type(error).__name__}: {error}"),)


# ------------------------------------------------------------------------------------------ streams


def _happened(loop: LoopState, since: int) -> StreamingResponse:
    """`happened` whenever something has, from the `since`-th message on; `over` at the end."""
    return _stream(_news_stream(loop, since))


def _follow_log(loop: LoopState, run: Run, start: int) -> StreamingResponse:
    """`line` for each line that the run prints, from this byte of its log on; `end` at the end.

    The id of each is the byte after it: who lost the line goes on from there.
    """
    return _stream(_log_lines(loop, run, start))


async def _news_stream(loop: LoopState, since: int) -> AsyncIterator[str]:
    sent = since
    with loop.watching() as moved:
        # Browsers wait three seconds or more by themselves, and a loop that is started again is
        # there sooner.
        yield "retry: 1000\n\n"
        while not loop.over:
            # What happened while the last message was sent is not waited for.
            if loop.number == sent:
                if not await _moved(moved):
                    yield ": open\n\n"
                continue
            sent = loop.number
            yield _message("happened", json.dumps({"number": sent}), id=str(sent))
            await asyncio.sleep(_STREAM_PAUSE)
    yield _message("over", "{}")


async def _log_lines(loop: LoopState, run: Run, start: int) -> AsyncIterator[str]:
    rest, sent = b"", start
    with loop.reading(run.name) as moved:
        while True:
            moved.clear()
            # Asked before the log is read: what a run prints last is in the log before it is told
            # to be over.
            over = loop.over or run.name not in loop.running
            # In a thread: the disk may be slow, and the loop is everybody's.
            content = await asyncio.to_thread(_read_log, run.log, start)
            start += len(content)
            lines, rest = _split(rest + content)
            for line in lines:
                sent += len(line)
                yield _message("line", _log_line(line), id=str(sent))
            # Not as soon as it is over: a log of many megabytes is read in many pieces.
            if over and not content:
                break
            if not content and not await _moved(moved):
                yield ": open\n\n"
    if rest:
        yield _message("line", _log_line(rest))
    yield _message("end", "{}")


async def _moved(moved: asyncio.Event) -> bool:
    """Whether something moved before it was time for a sign of life."""
    try:
        await asyncio.wait_for(moved.wait(), _HEARTBEAT)
    except TimeoutError:
        return False
    moved.clear()
    return True


def _read_log(log: Path, start: int) -> bytes:
    try:
        with log.open("rb") as file:
            # Where it starts comes from the browser: behind the end of the file there is nothing to
            # read.
            file.seek(min(start, file.seek(0, os.SEEK_END)))
            return file.read(_CHUNK)
    except FileNotFoundError:  # pruned: the newest logs are kept
        return b""


def _split(content: bytes) -> tuple[list[bytes], bytes]:
    """Lines with their ends, and what has none yet. What never ends is cut."""
    lines = content.splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n") and len(lines[-1]) < _LONGEST_LINE:
        return lines[:-1], lines[-1]
    return lines, b""


def _log_line(line: bytes) -> str:
    return plain_text(line.decode(errors="replace")).rstrip("\r\n")


def _message(event: str, data: str, **fields: str) -> str:
    """One message. A line break inside the data would end it: such text goes in several lines."""
    names = "".join(f"{name}: {text}\n" for name, text in fields.items())
    body = "".join(f"data: {line}\n" for line in _BREAK.split(data))
    return f"event: {event}\n{names}{body}\n"


def _stream(messages: AsyncIterator[str]) -> StreamingResponse:
    return StreamingResponse(messages, media_type="text/event-stream", headers=_LIVE_HEADERS)
