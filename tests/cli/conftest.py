"""The command line, called in this process."""

import sys

import pytest

from autocompress import cli


@pytest.fixture
def call(monkeypatch, capsys):
    """Run a command; returns its exit code, standard output and standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["autocompress", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        written = capsys.readouterr()
        return left.value.code or 0, written.out, written.err

    return call
