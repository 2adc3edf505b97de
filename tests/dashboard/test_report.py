import json
import re
from contextlib import nullcontext

import pytest

from autocompress.dashboard.details import details
from autocompress.dashboard.document import overview, study_figures, trials
from autocompress.dashboard.page import MODULES, asset, whole_page
from autocompress.dashboard.report import report_data, write_report
from autocompress.errors import UsageError
from autocompress.runs.lock import only_writer

from made_up_runs import FIVE, FOUR, ONE, REASON, made_up_run

STATES = {
    "finished": {"complete": 5},
    "running": {"complete": 2, "failed": 1, "running": 1, "finished": False},
    "begun": {"complete": 0, "failed": 0, "pruned": 0, "running": 1, "finished": False},
    "unfinished": {"complete": 2, "finished": False},
    "empty": {"complete": 0, "failed": 0, "pruned": 0, "finished": False},
    "failed": {"complete": 0, "failed": 4, "pruned": 0, "finished": False},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return made_up_run(tmp_path_factory.mktemp("runs") / "my run", complete=8)


@pytest.fixture(scope="module")
def document(run):
    return overview(run)


def data_in(html):
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', html)[1]
    )


@pytest.mark.parametrize("name", STATES)
def test_every_state_of_a_run_has_a_report(tmp_path, name):
    run = made_up_run(tmp_path / name, **STATES[name])
    with only_writer(run.path) if "running" in STATES[name] else nullcontext():
        write_report(run, tmp_path / "report.html")
    found = data_in((tmp_path / "report.html").read_text())
    kind = {"empty": "unfinished", "begun": "running"}.get(name, name)
    assert found["overview"]["state"]["kind"] == kind
    assert len(found["trials"]["rows"]) == len(run.trials())
    assert set(found["details"]) >= {str(trial.number) for trial in run.front()}
    assert set(found["figures"]) == set(study_figures(run))


@pytest.mark.parametrize("objectives", [ONE, FOUR, FIVE])
def test_a_run_of_any_objectives_has_a_report(tmp_path, objectives):
    run = made_up_run(tmp_path / "run", complete=6, objectives=objectives)
    write_report(run, tmp_path / "report.html")
    found = data_in((tmp_path / "report.html").read_text())["overview"]
    titles = [column["title"] for column in found["front"]["columns"]]
    assert ("energy" in titles) == ("energy_mj" in objectives)
    assert len(found["tradeoff"]["rankings"]) == len(objectives) + 1


def test_the_front_has_both_scores_and_the_final_evaluation(run, document):
    front = document.front
    titles = [column.title for column in front.columns]
    assert titles[:4] == ["trial", "accuracy, valid", "accuracy, test", "latency"]
    member = run.front()[0]
    row = dict(zip(titles, front.rows[1], strict=True))
    assert row["trial"].sort == member.number
    assert row["latency"].sort == member.metrics["latency_ms"].value
    assert member.metrics["latency_ms"] != member.searched["latency_ms"]
    assert front.rows[0][0].text == "baseline"
    assert "x (" in row["of baseline"].text or row["of baseline"].text.endswith("x")


def test_a_model_has_its_export_command_numbers_and_what_was_done(run):
    member = run.front()[0]
    found = details(run, member.number)
    where = f"'{run.path}' --trial {member.number} -o 'my run-{member.number}'"
    assert found.export == f"autocompress export {where}"
    names = [number.title for number in found.numbers]
    assert names[:3] == ["accuracy, valid", "accuracy, test", "latency"]
    assert " points" in found.numbers[0].change
    assert "x (" in found.numbers[2].change
    assert any(sentence.startswith("Sparsify:") for sentence in found.words)
    assert set(found.figures) == {"widths", "curve", "latency", "stages"}


def test_what_could_not_be_cut_has_its_reason(tmp_path):
    run = made_up_run(tmp_path / "fixed", complete=2)
    units = {
        "units": [{"layer": "a", "kind": "linear", "units": 3, "not_removable": ["softmax"]}],
        "fixed": {"head": "reaches the model's output"},
    }
    (run.path / "baseline" / "units.json").write_text(json.dumps(units))
    fixed = details(run, run.front()[0].number).fixed
    assert fixed == [("head", "reaches the model's output"), ("a", "softmax")]


def test_failed_trials_keep_their_reasons(run):
    texts = [cell.text for row in trials(run).rows for cell in row]
    assert texts.count(f"prune: {REASON}") == 2


def test_states_are_counted_with_their_reasons(tmp_path):
    run = made_up_run(tmp_path / "states", complete=20, failed=2, pruned=1, stopped=2)
    rows = {}
    for state, n, why, which in overview(run).states.rows:
        rows.setdefault(state.text, []).append((n.sort, why.text, which.text))
    numbers = {state: [t.number for t in run.trials() if t.state == state] for state in rows}
    assert rows["failed"] == [(2, f"prune: {REASON}", ", ".join(map(str, numbers["failed"])))]
    assert rows["front"] == [(len(run.front()), "", "")]
    assert sorted(n for n, *_ in rows["pruned"]) == [1, 2]
    broken = [t for t in run.trials() if t.state == "complete" and not t.feasible]
    (n, why, _), *more = rows["breaks a limit"]
    assert (n, more) == (len(broken), [])
    over = broken[0].violations["accuracy_drop"]
    assert why.removeprefix("such as: ") == f"accuracy drop {over:.3g} over"


def test_stages_come_from_the_final_evaluation_or_else_from_the_trial(run):
    member = run.front()[0]
    last = details(run, member.number).figures["stages"]["data"]
    assert [len(line["y"]) for line in last] == [6, 6, 6]
    assert None not in last[1]["y"]
    off = next(t for t in run.trials() if t.folder and not t.final_stages)
    latencies = details(run, off.number).figures["stages"]["data"][1]["y"]
    assert latencies[-1] == off.metrics["latency_ms"].value
    assert list(latencies[1:-1]) == [None] * 4


def test_no_text_of_a_user_becomes_markup(run):
    html = whole_page("</title><script>alert(1)</script>", report_data(run))
    assert "<script>alert" not in html
    rows = data_in(html)["trials"]["rows"]
    assert any(REASON in cell["text"] for row in rows for cell in row)


def test_the_page_loads_nothing_from_elsewhere(run):
    html = whole_page("x", report_data(run))
    ours = re.sub(r"<script>.*?</script>", "", html, count=1, flags=re.DOTALL)  # plotly's own
    assert not re.findall(r"""(?:src|href)=["']?(?!data:)[^"'>]+""", ours)
    assert "{{" not in re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


def test_every_module_that_is_imported_is_on_the_page():
    imported = {
        name
        for script in ("main", *MODULES)
        for name in re.findall(r'from "ac/(\w+)"', asset(f"{script}.js"))
    }
    assert imported == set(MODULES)


def test_a_report_into_a_missing_folder_is_a_clear_error(run, tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        write_report(run, tmp_path / "missing" / "report.html")
