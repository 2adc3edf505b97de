import subprocess
import sys

import pytest

from autocompress import errors
from autocompress.cli.app import exit_code

from made_up_runs import FOUR, made_up_run

COMMANDS = (
    "run",
    "resume",
    "plan",
    "status",
    "front",
    "show",
    "bench",
    "dashboard",
    "report",
    "export",
    "reproduce",
    "init",
)


def test_every_command_explains_itself_with_an_example(call):
    for command in COMMANDS:
        code, out, _ = call(command, "--help")
        assert code == 0
        assert f"Example: autocompress {command} " in " ".join(out.split())


def test_help_and_version(call):
    code, out, _ = call("--help")
    assert code == 0
    assert all(command in out for command in COMMANDS)
    code, out, _ = call("--version")
    assert (code, out.split()[0]) == (0, "autocompress")


def test_wrong_usage_is_exit_code_2(call):
    for arguments in (["compress"], ["run"], ["run", "study.toml", "--trials", "none"]):
        code, out, err = call(*arguments)
        assert code == 2
        assert out == ""
        assert "Usage" in err
    code, _, err = call("run", "study.toml", "--timeout", "soon")
    assert code == 2
    assert "duration such as" in " ".join(err.split())


def test_a_wrong_study_file_names_all_problems_without_a_traceback(call, tmp_path):
    study = tmp_path / "study.toml"
    study.write_text('[study]\ntrials = "many"\n[training]\nepochs = -1\n')
    code, out, err = call("run", study)
    assert (code, out) == (2, "")
    assert err.startswith(f"autocompress: {study}:")
    assert "Traceback" not in err
    assert "trials" in err
    assert "epochs" in err


@pytest.mark.parametrize("command", [["status"], ["front"], ["show", "0"], ["resume"], ["report"]])
def test_a_folder_that_is_no_run_is_named(call, tmp_path, command):
    code, out, err = call(command[0], tmp_path, *command[1:])
    assert (code, out) == (2, "")
    assert err.startswith(f"autocompress: {tmp_path} is not a run")


def test_init_writes_a_study_and_never_replaces_one(call, tmp_path):
    code, out, _ = call("init", tmp_path / "new")
    assert (code, out) == (0, f"{tmp_path / 'new' / 'study.toml'}\n")
    assert "[search]" in (tmp_path / "new" / "study.toml").read_text()
    code, _, err = call("init", tmp_path / "new")
    assert code == 2
    assert "exists" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigurationError("model: no such model"), 2),
        (errors.RunError("runs/made_up exists"), 2),
        (errors.AutocompressError("the baseline diverged"), 1),
        (OSError(28, "No space left on device"), 1),
    ],
)
def test_an_error_has_an_exit_code(error, code):
    assert exit_code(error) == code


def test_an_error_of_the_machine_is_exit_code_1(call, tmp_path):
    (tmp_path / "file").write_text("")
    code, out, err = call("init", tmp_path / "file" / "below")
    assert (code, out) == (1, "")
    assert err.startswith("autocompress: ")


def test_the_second_interrupt_leaves_at_once():
    script = """
import os, signal
from autocompress.cli.interrupts import stop_cleanly_first
with stop_cleanly_first():
    try:
        os.kill(os.getpid(), signal.SIGINT)
    except KeyboardInterrupt:
        os.kill(os.getpid(), signal.SIGINT)
        print("still here")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "")


def test_reading_a_run_loads_neither_torch_nor_fastai(tmp_path):
    where = str(made_up_run(tmp_path / "run", complete=8, objectives=FOUR).path)
    calls = [["--help"], ["status", where], ["front", where, "--max", "energy_mj=4"]]
    calls += [["front", where, "--json"], ["show", where, "0"], ["report", where]]
    script = f"""
import sys
from autocompress import cli
import autocompress.dashboard.server
for arguments in {calls!r}:
    sys.argv = ["autocompress", *arguments]
    try:
        cli.main()
    except SystemExit as left:
        assert not left.code, arguments
    assert not {{"torch", "fastai"}} & set(sys.modules), arguments
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
