"""Who may reach the dashboard: every answer needs a host name of this machine.

A name that some other site points at this machine (DNS rebinding) would let that site's scripts
read the answers. A number can't be pointed anywhere, so that any IP address is taken.
"""

import ipaddress
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Plotly makes functions and styles of its own at run time; everything comes from this server.
_POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
GUARDS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def own_names(host: str) -> set[str]:
    """Return the names that this machine is reached by.

    Args:
        host: that the user gave.
    """
    name = socket.gethostname()
    found = {"localhost", host, name, socket.getfqdn(), f"{name.partition('.')[0]}.local"}
    return {name.lower() for name in found}


def warning_for(host: str) -> str:
    """Return who can reach a page at an address; empty where only this machine can."""
    if host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback):
        return ""
    return (
        f"This page listens on {host}: whoever reaches this machine can read these runs and start "
        "exports. Nobody is asked for a password. Without --host it is for this machine alone; an "
        "SSH tunnel brings it to another one."
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Guard:
    """Refuses strange host names, and puts the guarding headers on every answer.

    Args:
        app: what answers.
        names: of this machine.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self.app, self.names = app, frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(GUARDS)
            await send(message)

        host = Headers(scope=scope).get("host", "")
        app = self.app if self._is_own(host) else _strange(host)
        await app(scope, receive, guarded)

    def _is_own(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        return name.lower() in self.names or _is_address(name.removeprefix("[").removesuffix("]"))


def _strange(host: str) -> JSONResponse:
    text = (
        f"{host[:100]!r} is no name of this machine, so that the page could be another site's; "
        "open it by an IP address, or start it by --host NAME"
    )
    return JSONResponse({"error": text}, status_code=400)
