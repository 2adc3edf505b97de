import asyncio
import csv
import os
import socket
import subprocess
import sys
import time
from queue import Queue

import pytest
from starlette.testclient import TestClient

from autocompress.dashboard.exports import Exports
from autocompress.dashboard.guarding import GUARDS, warning_for
from autocompress.dashboard.server import TOKEN, Pages, Runs, make_app
from autocompress.errors import RunError
from autocompress.runs import Run

from made_up_runs import made_up_run

HERE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs")
    for name in ("first", "second run"):
        made_up_run(home / name, complete=6, failed=1)
    return home


@pytest.fixture
def client(folder):
    with TestClient(make_app(folder), base_url=HERE) as client:
        yield client


def files_of(run):
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_the_page_and_its_scripts_are_served(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for name in ("main.js", "page.css", "plotly.js", "tradeoff.js"):
        assert client.get(f"/assets/{name}").status_code == 200


def test_every_run_of_a_folder_can_be_chosen(client):
    assert client.get("/api/runs").json()["runs"] == ["first", "second run"]
    assert client.get("/api/runs/second%20run/overview").json()["study"] == "second run"


def test_one_run_is_served_by_its_own_folder(folder):
    with TestClient(make_app(folder / "first"), base_url=HERE) as client:
        assert client.get("/api/runs").json()["runs"] == ["first"]
        assert client.get("/api/runs/first/overview").json()["study"] == "first"


def test_the_run_that_is_shown_first_is_read_before_a_page_asks(folder):
    made = Queue()

    class Noted(Runs):
        def answer(self, name, what, make):
            found = super().answer(name, what, make)
            made.put((name, what))
            return found

    async def first_made():
        async with Pages(Noted(folder), "").at_work(None):
            return await asyncio.to_thread(made.get, timeout=60)

    assert asyncio.run(first_made()) == ("first", "overview")
    assert made.empty()


def test_what_has_not_changed_is_not_sent_again(client, folder):
    first = client.get("/api/runs/first/overview")
    known = {"If-None-Match": first.headers["etag"]}
    assert client.get("/api/runs/first/overview", headers=known).status_code == 304
    final = folder / "first" / "final.json"
    final.write_text(final.read_text() + "\n")
    assert client.get("/api/runs/first/overview", headers=known).status_code == 200


def test_figures_and_trials_are_documents(client):
    assert "importance" in client.get("/api/runs/first/figures").json()
    assert client.get("/api/runs/first/space").json()["data"][-1]["name"] == "baseline"
    assert len(client.get("/api/runs/first/trials").json()["rows"]) == 10
    assert client.get("/api/runs/first/trials/0").json()["trial"] == 0


def test_the_table_is_a_csv_of_all_trials(client):
    rows = list(csv.DictReader(client.get("/api/runs/first/trials.csv").text.splitlines()))
    assert [row["trial"] for row in rows] == [str(n) for n in range(10)]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("/api/runs/third/overview", "there is no run 'third'"),
        ("/api/runs/..%2Ffirst/overview", None),
        ("/api/runs/..%2F..%2Fetc%2Fpasswd/overview", None),
        ("/api/runs/first/trials/99", "has no trial 99"),
        ("/api/runs/first/secrets", None),
        ("/assets/..%2Fserver.py", None),
        ("/assets/server.py", None),
    ],
)
def test_what_is_not_there_is_not_found(client, address, text):
    answer = client.get(address)
    assert answer.status_code == 404
    if text:
        assert text in answer.json()["error"]


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "[::1].a", "1:2:3"]
)
def test_a_strange_host_is_refused(client, host):
    answer = client.get("/api/runs", headers={"Host": host})
    assert answer.status_code == 400
    assert "is no name of this machine" in answer.json()["error"]


@pytest.mark.parametrize("name", ["localhost", "192.168.1.20", "[::1]", socket.gethostname()])
def test_the_names_and_addresses_of_this_machine_are_answered(client, name):
    for host in (name, f"{name}:8801", name.upper()):
        assert client.get("/api/runs", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_page_for_this_machine_needs_no_warning(folder, host):
    assert warning_for(host) == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "server.example", "192.168.1.20"])
def test_a_page_for_others_says_who_can_reach_it(folder, host):
    with TestClient(make_app(folder, host=host), base_url=HERE) as client:
        warning = client.get("/api/runs").json()["warning"]
    assert f"listens on {host}: whoever reaches this machine can read these runs" in warning


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("/", 200),
        ("/api/runs/first/overview", 200),
        ("/assets/none", 404),
        ("/api/runs/first/trials/" + "9" * 5000, 404),
        ("/api/runs/first/trials/-1", 404),
        ("/api/runs/first/trials/\u0663", 404),
    ],
)
def test_every_answer_is_guarded(client, address, code):
    answer = client.get(address)
    assert answer.status_code == code
    assert (
        GUARDS.items() <= {name.title(): value for name, value in answer.headers.items()}.items()
    )
    refused = client.get(address, headers={"Host": "evil.example"})
    assert "content-security-policy" in refused.headers


@pytest.mark.parametrize("token", [None, "", "guessed", "gu\u00e9ssed".encode()])
def test_a_post_from_elsewhere_writes_nothing(client, folder, token):
    before = files_of(folder / "first")
    headers = {} if token is None else {TOKEN: token}
    answer = client.post("/api/runs/first/trials/0/export", headers=headers)
    assert answer.status_code == 403
    assert files_of(folder / "first") == before


def test_reading_changes_no_file_of_a_run(client, folder):
    before = files_of(folder / "first")
    for what in ("overview", "figures", "space", "trials", "trials/0", "trials.csv"):
        assert client.get(f"/api/runs/first/{what}").status_code == 200
    assert files_of(folder / "first") == before


def test_an_export_that_fails_tells_why(client):
    """The made-up trials have no weights, so the command itself has to refuse."""
    token = client.get("/api/runs").json()["token"]
    tradeoff = client.get("/api/runs/first/overview").json()["tradeoff"]
    number = tradeoff["trial"][tradeoff["rankings"][0]["rows"][0]]
    address = f"/api/runs/first/trials/{number}/export"
    assert client.get(address).json()["state"] == "none"
    state = client.post(address, headers={TOKEN: token}).json()
    deadline = time.monotonic() + 120
    while state["state"] == "running" and time.monotonic() < deadline:
        time.sleep(0.2)
        state = client.get(address).json()
    assert state["state"] == "failed"
    assert "autocompress:" in state["text"]


def test_an_export_that_says_much_ends(folder, tmp_path, monkeypatch):
    """More than a pipe holds: a process that nobody reads from would wait for ever."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys; sys.stderr.write(1_000_000 * 'a warning; ')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    run, exports = Run.open(folder / "first"), Exports()
    exports.start("first", run, 0)
    deadline = time.monotonic() + 120
    while exports.state("first", run, 0).state == "running" and time.monotonic() < deadline:
        time.sleep(0.2)
    state = exports.state("first", run, 0)
    assert state.state == "failed"
    assert "autocompress:" in state.text


def test_a_folder_without_runs_is_a_clear_error(tmp_path):
    with pytest.raises(RunError, match="is no run and holds none"):
        make_app(tmp_path)


def test_the_server_starts_without_torch():
    code = (
        "import sys, autocompress.dashboard.server\n"
        "sys.exit(' '.join({'torch', 'fastai', 'sklearn'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
