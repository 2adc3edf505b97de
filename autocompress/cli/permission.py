"""Asking before the code of a run from elsewhere is called."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from autocompress.cli.tables import say
from autocompress.errors import UntrustedError

if TYPE_CHECKING:
    from autocompress.runs import Run


def allowed_by(given: Sequence[str] | None, run: "Run") -> list[str]:
    """Return the packages whose functions may be called, after asking where somebody can answer.

    Args:
        given: by ``--allow``.
        run: that names functions.

    Raises:
        UntrustedError: it names functions that are not allowed, and nobody can be asked or the
            answer is no.
    """
    from autocompress.runs.opening import require_trusted
    from autocompress.trust import trust

    allowed = list(given or ())
    try:
        require_trusted(run.path, run.config, allowed)
    except UntrustedError as error:
        if not sys.stdin.isatty():
            raise
        say(f"{run.path} names {', '.join(error.names)}, which you have not run here.")
        say("To call it is to run whatever it does. Look at the code first.")
        if not typer.confirm("Call it, now and later?", err=True):
            raise
        trust(run.config)
    return allowed
