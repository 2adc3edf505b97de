import os
import subprocess
import sys


def test_a_process_without_its_parent_ends(tmp_path):
    """A kill of the search takes its processes along: none goes on with nobody to tell."""
    read, write = os.pipe()
    command = [sys.executable, "-m", "autocompress.execution.worker", str(tmp_path), str(write)]
    nobody = "1" if os.getpid() != 1 else "2"
    process = subprocess.Popen(
        [*command, nobody], pass_fds=[write], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    os.close(write)
    os.close(read)
    assert process.wait(timeout=120) == 1
    process.stdin.close()
