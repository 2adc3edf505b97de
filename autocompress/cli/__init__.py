"""The command line, and what a person sees in a terminal: tables, and progress."""

from autocompress.cli.app import app, main

__all__ = ["app", "main"]
