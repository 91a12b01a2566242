"""Runs `flowproject dev`: the local loop of bus, scheduler and launcher, and a line per message."""

import json
import re
import secrets
import sys
import threading
import webbrowser
from collections.abc import Callable
from typing import Annotated

import typer

from flowproject.cli.context import find_root
from flowproject.cli.output import AsJson, plain
from flowproject.config.parse import load
from flowproject.dev.loop import Loop, PageSettings, Settings
from flowproject.dev.messages import LoopStarted, Message, Transcript, to_json
from flowproject.dev.server import LOOPBACK
from flowproject.errors import UsageError
from flowproject.flowfiles import who_looks

__all__ = ["dev"]

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def dev(
    every: Annotated[
        str, typer.Option(help="Run scheduled flows this often, such as 10s or 5m.")
    ] = "",
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Run each scheduled flow once, then what follows.")
    ] = False,
    max_parallel: Annotated[int, typer.Option(help="Runs at the same time.", min=1)] = 4,
    port: Annotated[
        int, typer.Option(help="Port of the bus (default: a free one).", min=0, max=65535)
    ] = 0,
    branch: Annotated[str, typer.Option(help="Metaflow's --branch, for every run.")] = "",
    production: Annotated[
        bool, typer.Option("--production", help="Metaflow's --production.")
    ] = False,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser.")
    ] = False,
    page_port: Annotated[
        int, typer.Option(help="Port of the page (default: a free one).", min=0, max=65535)
    ] = 0,
    host: Annotated[
        str, typer.Option(help="Address that the page is served at; others need a token.")
    ] = "127.0.0.1",
    token: Annotated[
        str,
        typer.Option(
            help="What the page asks for (default, where one is needed: a random one).",
            envvar="FLOWPROJECT_TOKEN",
        ),
    ] = "",
    as_json: AsJson = False,
) -> int:
    """Run the whole loop here, until Ctrl-C.

    Sensors look on schedule, events go over a local bus, and flows start as they would on a
    cluster.
    """
    root = find_root()
    load(root)
    # To standard error: it is no message of the loop, which programs read.
    if nobody := who_looks(root):
        print(plain(nobody[0].upper() + nobody[1:]), file=sys.stderr)
    # On this machine alone whoever is here may see the page; elsewhere one has to know a token.
    token = token or ("" if host in LOOPBACK else secrets.token_urlsafe(18))
    page = PageSettings(host=host, port=page_port, token=token)
    settings = Settings(
        branch=branch,
        production=production,
        every=_seconds(every),
        until_idle=until_idle,
        port=port,
        max_parallel=max_parallel,
        # A loop that ends by itself is for scripts: nobody would see the page for long.
        page=page if open_browser or not until_idle else None,
    )
    listener = _listener(as_json, open_browser=open_browser)
    return Loop(root, listener=listener, settings=settings).run().exit_code


def _listener(as_json: bool, *, open_browser: bool) -> Callable[[Message], None]:
    transcript = Transcript()

    def show(message: Message) -> None:
        if open_browser and isinstance(message, LoopStarted):
            # A browser that is the text kind would hold the loop up until it is closed.
            threading.Thread(target=webbrowser.open, args=(message.page,), daemon=True).start()
        text = json.dumps(to_json(message)) if as_json else plain(transcript.line(message))
        if text:
            print(text, flush=True)

    return show


def _seconds(text: str) -> float:
    if not text:
        return 0.0
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip())
    if not match or not float(match[1]):
        raise UsageError(f"--every {text!r} is no duration", allowed="Such as 10s, 5m or 1h")
    return float(match[1]) * _UNITS[match[2]]
