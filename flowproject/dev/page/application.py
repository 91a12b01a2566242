"""The web application of the page: addresses, and what each answers."""

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from flowproject.dev.page.actions import plan
from flowproject.dev.page.doing import Doer, Result
from flowproject.dev.page.graph import graph
from flowproject.dev.page.items import Asked
from flowproject.dev.page.live import follow_log, happened
from flowproject.dev.page.rendering import STATIC, Frame, Renderer, to_json, wants_json
from flowproject.dev.page.runs import run_rows
from flowproject.dev.page.safety import CARD_HEADERS, Guard
from flowproject.dev.page.views import Views
from flowproject.dev.serving import serve
from flowproject.errors import FlowprojectError, UsageError
from flowproject.secrecy import safe

__all__ = ["Page", "application", "serve_page"]

_LARGEST: Final = 64 * 1024
"""Bytes of a form."""
_DIGITS: Final = 15
_TABS: Final = {"sensor": "overview", "change": "overview", "run": "runs"}
"""View -> the one of the navigation that it belongs to."""


class Page:
    """Answers requests. `token` is what a form must post: only this page's own has it."""

    def __init__(self, views: Views, doer: Doer) -> None:
        self._views = views
        self._known = views.known
        self._doer = doer
        self._renderer = Renderer()
        self.token = secrets.token_urlsafe(24)

    # ------------------------------------------------------------------------------------- views

    async def overview(self, request: Request) -> Response:
        """Every sensor, the timeline, the flows, the news."""
        part = self._piece(request, "sensors", "timeline", "flows", "news")
        view = await self._views.overview(request.query_params.get("span", ""), part)
        return self._answer(request, "overview", view, part, title="Overview")

    async def sensor(self, request: Request) -> Response:
        """One sensor."""
        part = self._piece(request, "state", "chart", "changes", "ticks")
        name = request.path_params["name"]
        view = await self._views.sensor(
            name, _number(request, "before"), with_changes=part in ("", "changes")
        )
        return self._answer(request, "sensor", view, part, title=name)

    async def change(self, request: Request) -> Response:
        """One change."""
        part = self._piece(request, "chain", "items", "cards")
        asked = Asked(
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
        """The newest runs."""
        part = self._piece(request, "runs")
        return self._answer(request, "runs", run_rows(self._known), part, title="Runs")

    async def run(self, request: Request) -> Response:
        """One run."""
        part = self._piece(request, "state", "cards", "log")
        flow, run_id = request.path_params["flow"], request.path_params["run_id"]
        view = await self._views.run(
            flow, run_id, with_cards=part in ("", "cards"), with_log=part in ("", "log")
        )
        return self._answer(request, "run", view, part, title=f"{flow}/{run_id}")

    async def graph(self, request: Request) -> Response:
        """The project as a graph."""
        part = self._piece(request, "graph")
        return self._answer(request, "graph", graph(self._known), part, title="Graph")

    async def card(self, request: Request) -> Response:
        """A card, for a frame that it can't get out of; or the frame, for who opens it alone."""
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
        """What happens, as it happens."""
        return happened(self._known.board, _place(request, "since"))

    async def log(self, request: Request) -> Response:
        """What a run prints, as it prints it."""
        name = f"{request.path_params['flow']}/{request.path_params['run_id']}"
        run = self._known.board.runs.get(name)
        if run is None:
            raise HTTPException(404)
        return follow_log(self._known.board, run, _place(request, "start"))

    # ----------------------------------------------------------------------------------- actions

    async def plan(self, request: Request) -> Response:
        """What an action would do."""
        part = self._piece(request, "plan")
        intended = plan(self._known, request.path_params["name"], request.query_params)
        context = {"plan": intended}
        return self._answer(
            request, "action", intended, part, title=intended.title, context=context
        )

    async def act(self, request: Request) -> Response:
        """What an action has done."""
        part = self._piece(request, "result")
        values = await _form(request)
        if not secrets.compare_digest(values.pop("token", "").encode(), self.token.encode()):
            raise HTTPException(403, "The form is not one of this page: load it anew")
        result = await self._doer.do(request.path_params["name"], values)
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
        """The view, or a piece of it: as HTML, or as JSON for who asks for that."""
        if wants_json(request):
            return to_json(view, status)
        frame = self._frame(request, name, title)
        whole = next(iter(context)) if context else name
        template = f"parts/{name}-{part}.html" if part else f"{whole}.html"
        return self._renderer.page(template, frame, status=status, **(context or {"view": view}))

    async def failed(self, request: Request, error: Exception) -> Response:
        """What went wrong, in words."""
        status, title, lines = _problem(error, request.method)
        if wants_json(request):
            return to_json(Result(ok=False, title=title, lines=lines), status)
        frame = self._frame(request, "", title)
        return self._renderer.page(
            "parts/problem.html" if "part" in request.query_params else "problem.html",
            frame,
            status=status,
            title=title,
            lines=lines,
        )

    def _piece(self, request: Request, *known: str) -> str:
        """The piece of a view that is asked for; empty for all of it, which JSON always is.

        What happens from here on is told to the view when it is shown: it may not be in it.
        """
        request.state.number = self._known.board.number
        part = request.query_params.get("part", "")
        if part and part not in known:
            raise UsageError(f"There is no piece {part!r}", allowed=", ".join(known))
        return "" if wants_json(request) else part

    def _frame(self, request: Request, name: str, title: str) -> Frame:
        query = request.url.remove_query_params("part").query
        board = self._known.board
        number = getattr(request.state, "number", board.number)
        return Frame(
            project=self._known.project,
            branch=self._known.scene.branch if self._known.scene else "",
            path=request.url.path + (f"?{query}" if query else ""),
            active=_TABS.get(name, name),
            title=title,
            token=self.token,
            live=f"/live?since={number}",
            bus=self._known.bus,
            stopping=board.stopping,
        )


@asynccontextmanager
async def serve_page(
    views: Views, doer: Doer, *, host: str, port: int, token: str
) -> AsyncIterator[str]:
    """The address of the page, for as long as it is served."""
    page = Page(views, doer)
    async with serve(application(page, token), host=host, port=port) as (_, taken):
        try:
            shown = f"[{host}]" if ":" in host else host
            yield f"http://{shown}:{taken}/" + (f"?{urlencode({'token': token})}" if token else "")
        finally:
            doer.close()
            views.known.board.close()


def application(page: Page, token: str = "") -> Guard:
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
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers=dict.fromkeys((HTTPException, FlowprojectError, Exception), page.failed),
    )
    return Guard(inside, token=token)


def _number(request: Request, name: str) -> int:
    return _whole(request.query_params.get(name, "") or "0", name)


def _whole(text: str, what: str) -> int:
    """The number, which is no larger than any file or journal."""
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise UsageError(f"{what}: {text[:50]!r} is no number", where="Address of the view")
    return int(text)


def _place(request: Request, name: str) -> int:
    """Where a stream goes on: a browser that has lost it says so itself."""
    last = request.headers.get("last-event-id", "")
    return _whole(last, "Last-Event-ID") if last else _number(request, name)


async def _form(request: Request) -> dict[str, str]:
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
        case UsageError() if method == "GET":
            return 404, "There is no such thing", tuple(str(error).splitlines())
        case UsageError():
            return 400, "It was not done", tuple(str(error).splitlines())
        case FlowprojectError():
            return 500, error.headline, tuple(str(error).splitlines())
        case _:
            return 500, "This is a bug of flowproject", (safe(f"{type(error).__name__}: {error}"),)
