import json
import re

import pytest

from autocompress.dashboard.document import document
from autocompress.dashboard.report import page, write_report
from autocompress.errors import UsageError

from made_up_runs import REASON, made_up_run

STATES = {
    "finished": {"complete": 5},
    "running": {"complete": 2, "failed": 1, "running": 1, "finished": False},
    "unfinished": {"complete": 2, "finished": False},
    "empty": {"complete": 0, "failed": 0, "pruned": 0, "finished": False},
    "failed": {"complete": 0, "failed": 4, "pruned": 0, "finished": False},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_up_run(tmp_path_factory.mktemp("runs") / "my run", complete=8)


@pytest.fixture(scope="module")
def told(run):
    return document(run)


def data_in(html):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', html)[1]
    )


@pytest.mark.parametrize("name", STATES)
def test_every_state_of_a_run_has_a_report(tmp_path, name):
    run = made_up_run(tmp_path / name, **STATES[name])
    write_report(run, tmp_path / "report.html")
    told = data_in((tmp_path / "report.html").read_text())
    assert told["state"]["kind"] == ("unfinished" if name == "empty" else name)
    assert len(told["trials"]["rows"]) == len(run.trials())
    assert len(told["details"]) == len(run.front())


def test_the_front_has_both_accuracies_and_the_last_word(run, told):
    front = told["front"]
    titles = [column["title"] for column in front["columns"]]
    assert "accuracy, valid" in titles
    assert "accuracy, test" in titles
    member = run.front()[0]
    row = dict(zip(titles, front["rows"][1], strict=True))
    assert row["trial"]["sort"] == member.number
    assert row["latency"]["sort"] == member.metrics["final_latency_ms"]
    assert front["rows"][0][0]["text"] == "baseline"


def test_every_member_of_the_front_has_its_export_command(run, told):
    for details, member in zip(told["details"], run.front(), strict=True):
        where = f"'{run.path}' --trial {member.number} -o 'my run-{member.number}'"
        assert details["export"] == f"autocompress export {where}"


def test_failed_trials_keep_their_reasons(told):
    texts = [cell["text"] for row in told["trials"]["rows"] for cell in row]
    assert texts.count(f"prune: {REASON}") == 2


def test_no_text_of_a_user_becomes_markup(told):
    html = page(told)
    assert "<script>alert" not in html
    assert any(REASON in cell["text"] for row in data_in(html)["trials"]["rows"] for cell in row)


def test_the_page_loads_nothing_from_elsewhere(told):
    html = page(told)
    ours = re.sub(r"<script>.*?</script>", "", html, count=1, flags=re.DOTALL)  # plotly's own
    assert not re.findall(r"""(?:src|href)=["']?(?!data:)[^"'>]+""", ours)
    assert "{{" not in re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


def test_a_report_into_a_missing_folder_is_a_clear_error(run, tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        write_report(run, tmp_path / "missing" / "report.html")
