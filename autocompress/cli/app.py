"""The command line: its commands, and how errors become messages and exit codes."""

import os
from importlib import metadata
from typing import Annotated

import typer

from autocompress.cli.bundles import export, reproduce
from autocompress.cli.notices import notices_once
from autocompress.cli.reading import bench, dashboard, front, report, show, status
from autocompress.cli.searching import init, plan, resume, run
from autocompress.cli.tables import say, show_line
from autocompress.errors import AutocompressError, UsageError

FAILED, MISUSED = 1, 2  # exit codes

app = typer.Typer(
    name="autocompress",
    help="Search for smaller, faster versions of a model, measured on your hardware.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:  # noqa: FBT001 (typer calls it)
    if wanted:
        show_line(f"autocompress {metadata.version('autocompress')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Search for smaller, faster versions of a model, measured on your hardware."""


for _command in (
    run,
    resume,
    plan,
    status,
    front,
    show,
    bench,
    dashboard,
    report,
    export,
    reproduce,
    init,
):
    app.command()(_command)


def main() -> None:
    """Run the command line; errors that we raise become a message and an exit code."""
    # Read when torch is loaded: threads that wait by spinning train ten times slower as soon as
    # anything else uses a core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        with notices_once():
            app()
    except (AutocompressError, OSError) as error:
        say(f"autocompress: {error}")
        raise SystemExit(exit_code(error)) from None


def exit_code(error: Exception) -> int:
    """Return how a command ends by an error: 2 where it was asked for what cannot be, else 1."""
    return MISUSED if isinstance(error, UsageError) else FAILED
