"""The page: HTML, style and JavaScript modules, put together for a server or for one file."""

import base64
import json
from dataclasses import fields, is_dataclass
from functools import cache
from html import escape
from importlib import resources
from typing import Any

from plotly.offline import get_plotlyjs
from plotly.utils import PlotlyJSONEncoder

MODULES = ("dom", "model", "plots", "source", "state", "tables", "tradeoff")  # main imports them
_FOLDER = "page"


def asset(name: str) -> str:
    """Return one of the page's own files."""
    return resources.files(__package__).joinpath(_FOLDER, name).read_text(encoding="utf-8")


@cache
def plotly_js() -> str:
    """Return plotly.js, as it comes with plotly for Python."""
    found: str = get_plotlyjs()
    return found


class _Encoder(PlotlyJSONEncoder):  # type: ignore[misc]
    def default(self, value: Any) -> Any:
        if is_dataclass(value) and not isinstance(value, type):
            return {entry.name: getattr(value, entry.name) for entry in fields(value)}
        return super().default(value)


def to_json(data: Any) -> str:
    """Return JSON that may also stand inside a script element, whatever texts it holds."""
    text = json.dumps(data, cls=_Encoder)
    return text.replace("<", "\\u003c").replace("&", "\\u0026")


def served_page() -> str:
    """Return the page for a server, which has the rest under ``/assets``."""
    imports = {f"ac/{name}": f"/assets/{name}.js" for name in MODULES}
    return _filled(
        title="autocompress",
        style='<link rel="stylesheet" href="/assets/page.css">',
        imports=to_json({"imports": imports}),
        plotly='<script src="/assets/plotly.js"></script>',
        data="null",
        main='<script type="module" src="/assets/main.js"></script>',
    )


def whole_page(title: str, data: Any) -> str:
    """Return the page with everything in it: one file that opens without a server or network."""
    imports = {f"ac/{name}": _as_address(asset(f"{name}.js")) for name in MODULES}
    return _filled(
        title=escape(f"{title} · autocompress"),
        style=f"<style>\n{asset('page.css')}\n</style>",
        imports=to_json({"imports": imports}),
        plotly="<script>" + plotly_js().replace("</script", "<\\/script") + "</script>",
        data=to_json(data),
        main=f'<script type="module">\n{asset("main.js")}\n</script>',
    )


def _as_address(script: str) -> str:
    """Return a module as an address of its own, since a file cannot import its neighbours."""
    return f"data:text/javascript;base64,{base64.b64encode(script.encode()).decode()}"


def _filled(**parts: str) -> str:
    before, *rest = asset("page.html").split("{{")
    pieces = [before]
    for piece in rest:
        name, _, after = piece.partition("}}")
        pieces += [parts[name], after]
    return "".join(pieces)
