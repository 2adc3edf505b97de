"""The dashboard's server: the page, and the documents that it asks for. It only reads runs.

The one thing that writes is the export button: it starts ``autocompress export`` in a process of
its own. A page from elsewhere can't press it: every answer needs this server's own host name, and
the button a token that only this page has been given.
"""

import asyncio
import contextlib
import secrets
import socket
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from autocompress.dashboard.details import details
from autocompress.dashboard.document import (
    as_csv,
    overview,
    space,
    study_figures,
    trials,
)
from autocompress.dashboard.exports import Exports
from autocompress.dashboard.guarding import Guard, own_names, warning_for
from autocompress.dashboard.page import MODULES, asset, plotly_js, served_page, to_json
from autocompress.errors import AutocompressError, RunError, UsageError
from autocompress.runs import Run
from autocompress.runs.layout import HEADER

TOKEN = "x-autocompress-token"  # the header that a post must have
_KINDS = {"css": "text/css", "js": "text/javascript"}
MOST_DIGITS = 10  # of the number of a trial
Answer = Callable[[Run], Any]
_DOCUMENTS: dict[str, Answer] = {
    "overview": overview,
    "trials": trials,
    "space": space,
    "figures": study_figures,
}
_ASSETS = {"page.css", "main.js", *(f"{module}.js" for module in MODULES)}


class Runs:
    """The runs that a folder holds, each opened once.

    Args:
        folder: a run, or a folder of runs.

    Raises:
        RunError: it is neither.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opened: dict[str, Run] = {}
        self._answers: dict[tuple[str, str], tuple[str, str]] = {}
        self._lock = threading.Lock()
        if not self.names():
            raise RunError(f"{folder} is no run and holds none; a run has a {HEADER}")

    def names(self) -> list[str]:
        """Return their names: those of their folders."""
        if (self.folder / HEADER).exists():
            return [self.folder.resolve().name]
        if not self.folder.is_dir():
            return []
        return sorted(path.parent.name for path in self.folder.glob(f"*/{HEADER}"))

    def open(self, name: str) -> Run:
        """Return a run.

        Raises:
            UsageError: there is none of this name; the message lists those that are there.
        """
        names = self.names()
        if name not in names:
            raise UsageError(f"there is no run {name!r}; there are: {', '.join(names)}")
        if name not in self._opened:
            alone = (self.folder / HEADER).exists()
            self._opened[name] = Run.open(self.folder if alone else self.folder / name)
        return self._opened[name]

    def answer(self, name: str, what: str, make: Answer) -> tuple[str, str]:
        """Return a version and a document about a run, made anew only where something changed."""
        with self._lock:
            run = self.open(name)
            version = run.version()
            known = self._answers.get((name, what))
            if known is None or known[0] != version:
                known = (version, to_json(make(run)))
                self._answers[name, what] = known
            return known


class Pages:
    """What the server answers, one method for each kind of address."""

    def __init__(self, runs: Runs, warning: str) -> None:
        self.runs, self.warning = runs, warning
        self.exports = Exports()
        self.token = secrets.token_urlsafe(24)

    @contextlib.asynccontextmanager
    async def at_work(self, _: Starlette) -> AsyncIterator[None]:
        """Read the run that the page shows first, while a browser starts and asks for it."""
        asyncio.get_running_loop().run_in_executor(None, self._look_ahead)
        yield

    def _look_ahead(self) -> None:
        with contextlib.suppress(AutocompressError):  # the page will ask, and get the error
            self.runs.answer(self.runs.names()[0], "overview", overview)

    async def page(self, _: Request) -> Response:
        """Answer with the page."""
        return Response(served_page(), media_type="text/html")

    async def asset(self, request: Request) -> Response:
        """Answer with a script or the style."""
        name = request.path_params["name"]
        if name == "plotly.js":
            headers = {"Cache-Control": "max-age=86400"}
            return Response(plotly_js(), media_type=_KINDS["js"], headers=headers)
        if name not in _ASSETS:
            raise HTTPException(404)
        kind = _KINDS[name.rpartition(".")[2]]
        return Response(asset(name), media_type=kind)

    async def names(self, _: Request) -> Response:
        """Answer with the runs, who else can see them, and the token of the export button."""
        names = self.runs.names()
        return JSONResponse({"runs": names, "warning": self.warning, "token": self.token})

    async def document(self, request: Request) -> Response:
        """Answer with the overview of a run, its trials or its figures."""
        what = request.path_params["what"]
        if what not in _DOCUMENTS:
            raise HTTPException(404)
        return await self._answer(request, what, _DOCUMENTS[what])

    async def trial(self, request: Request) -> Response:
        """Answer with all that is known of a trial."""
        number = _number(request)
        return await self._answer(request, f"trial {number}", lambda run: details(run, number))

    async def table(self, request: Request) -> Response:
        """Answer with the table of trials, for a spreadsheet."""
        name = request.path_params["run"]
        text = await run_in_threadpool(lambda: as_csv(self.runs.open(name)))
        return Response(text, media_type="text/csv")

    async def export(self, request: Request) -> Response:
        """Start an export (post), and answer with how it goes."""
        name, number = request.path_params["run"], _number(request)
        run = self.runs.open(name)
        record = await run_in_threadpool(run.trial, number)
        if request.method == "POST":
            given = request.headers.get(TOKEN, "").encode()
            if not secrets.compare_digest(given, self.token.encode()):
                raise HTTPException(403, "this did not come from the dashboard's own page")
            if record.folder is None:
                raise UsageError(f"trial {number} is {record.state} and has no model to export")
            self.exports.start(name, run, number)
        return JSONResponse(asdict(self.exports.state(name, run, number)))

    async def _answer(self, request: Request, what: str, make: Answer) -> Response:
        """Answer with a document, or with 304 where the page has this state of it already."""
        name = request.path_params["run"]
        known = request.headers.get("if-none-match")
        if known and known.strip('"') == self.runs.open(name).version():
            return Response(status_code=304)
        version, text = await run_in_threadpool(self.runs.answer, name, what, make)
        headers = {"ETag": f'"{version}"', "Cache-Control": "no-cache"}
        return Response(text, media_type="application/json", headers=headers)


def _number(request: Request) -> int:
    text = request.path_params["number"]
    if not (text.isascii() and text.isdigit() and len(text) < MOST_DIGITS):
        raise UsageError(f"{text[:MOST_DIGITS]!r} is no number of a trial")
    return int(text)


def make_app(folder: Path, *, host: str = "127.0.0.1") -> Starlette:
    """Return the dashboard of a run or of a folder of runs, as an ASGI application.

    Args:
        folder: a run, or a folder of runs.
        host: name or address that it is reached by, besides those of this machine.

    Raises:
        RunError: the folder is neither.
    """
    pages = Pages(Runs(folder), warning_for(host))
    trial = "/api/runs/{run}/trials/{number}"
    return Starlette(
        routes=[
            Route("/", pages.page),
            Route("/assets/{name}", pages.asset),
            Route("/api/runs", pages.names),
            Route("/api/runs/{run}/trials.csv", pages.table),
            Route(trial, pages.trial),
            Route(f"{trial}/export", pages.export, methods=["GET", "POST"]),
            Route("/api/runs/{run}/{what}", pages.document),
        ],
        middleware=[Middleware(Guard, names=own_names(host))],
        exception_handlers={UsageError: _missing, RunError: _missing},
        lifespan=pages.at_work,
    )


async def _missing(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=404)


def serve(folder: Path, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve the dashboard until interrupted.

    Args:
        folder: a run, or a folder of runs.
        host: address to listen on.
        port: 0 is any free one.
        ready: called with the page's address once it can be opened.

    Raises:
        RunError: the folder is no run and holds none.
        UsageError: address and port cannot be listened on.
    """
    app = make_app(folder, host=host)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise UsageError(f"cannot listen on {host}, port {port}: {error}") from error
    with listener:
        listener.listen()
        shown = f"[{host}]" if ":" in host else host
        ready(f"http://{shown}:{listener.getsockname()[1]}/")
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        server.run(sockets=[listener])
