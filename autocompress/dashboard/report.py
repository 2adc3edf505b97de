"""The report: the page and its data in one HTML file that opens without a network."""

import json
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from plotly.offline import get_plotlyjs
from plotly.utils import PlotlyJSONEncoder

from autocompress.artifacts import write_bytes
from autocompress.dashboard.document import document
from autocompress.errors import UsageError
from autocompress.study.records import Run


def write_report(run: Run, path: str | Path) -> None:
    """Write a run as one HTML file, some 5 MB; a run that is not finished is shown as it is.

    Args:
        run: any run, also an empty or a running one.
        path: the file; one that is there is replaced, atomically.

    Raises:
        UsageError: the folder of ``path`` does not exist.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no folder {path.parent}")
    write_bytes(path, page(document(run)).encode())


def page(data: dict[str, Any]) -> str:
    """Return the page with its script, style, figures' library and data inlined."""
    parts = {
        "title": escape(f"{data['study']} · autocompress"),
        "style": _asset("page.css"),
        "plotly": get_plotlyjs().replace("</script", "<\\/script"),
        "data": _json(data),
        "script": _asset("page.js"),
    }
    before, *rest = _asset("page.html").split("{{")
    pieces = [before]
    for piece in rest:
        name, _, after = piece.partition("}}")
        pieces += [parts[name], after]
    return "".join(pieces)


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def _json(data: Any) -> str:
    """Return JSON that may stand inside a script element, whatever texts it holds."""
    return json.dumps(data, cls=PlotlyJSONEncoder).replace("<", "\\u003c").replace("&", "\\u0026")
