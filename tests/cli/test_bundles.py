import pytest
import typer

from autocompress.bundles import Bundle
from autocompress.bundles.checks import Check, Times
from autocompress.bundles.reproducing import Again
from autocompress.cli.bundles import checked_row, conclude, drift_row
from autocompress.metrics import Estimate

from made_up_runs import ACCURACY, FOUR, made_up_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    home = tmp_path_factory.mktemp("runs") / "made_up"
    return made_up_run(home, complete=8, objectives=FOUR)


def times(p50_ms):
    return Times(p10_ms=p50_ms, p50_ms=p50_ms, p90_ms=p50_ms, n=9, contention=0.0, flag=None)


CHECK = Check(
    difference=1e-7,
    scores={"accuracy": Estimate(value=0.9712)},
    agreement=1.0,
    bytes=40_000,
    latency=times(0.5),
    baseline_latency=times(1.0),
)


def test_a_checked_file_is_a_row():
    assert checked_row("model.pt2", CHECK, ACCURACY) == {
        "checked file": "model.pt2",
        "size": "40.0 kB",
        "difference": "1.0e-07",
        "same outcome": "100.00 %",
        "accuracy": "97.12 %",
        "latency": "0.50 ms",
        "baseline": "1.00 ms",
        "ratio": "0.50x",
    }
    unknown = checked_row("model.pte", Check(bytes=1), ACCURACY)
    assert set(list(unknown.values())[2:]) == {"-"}


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (
            {"rejected": {"model.onnx": "model.onnx: its outputs differ"}},
            "rejected, see ",
        ),
        ({"unwritten": {"model.onnx": "model.onnx can't be written: no rule"}}, "missing: "),
    ],
)
def test_a_file_that_is_rejected_or_missing_is_a_failure_with_its_reason(
    capsys, tmp_path, files, text
):
    with pytest.raises(typer.Exit) as left:
        conclude(Bundle(path=tmp_path, files={}, checks={}, **files))
    assert left.value.exit_code == 1
    reason = next(iter(next(iter(files.values())).values()))
    err = capsys.readouterr().err
    assert err.startswith(text)
    assert err.endswith(f": {reason}\n")


def test_a_whole_bundle_is_no_failure(capsys, tmp_path):
    conclude(Bundle(path=tmp_path, files={"model.pt2": 40_000}, checks={"model.pt2": CHECK}))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--min-accuracy", "1.0"], 3, "within the budget; nearest is trial"),
        (["--max-parameters", "1"], 3, "it misses parameters"),
        (["--max", "energy_mj=0.1"], 3, "it misses energy_mj"),
        (["--trial", "99"], 2, "has no trial 99; it has trials 0 to"),
        (
            ["--pick", "best"],
            2,
            "unknown pick 'best'; allowed: accurate, fast, small, frugal",
        ),
        (["--pick", "fats"], 2, "did you mean 'fast'?"),
        (["--trial", "0", "--pick", "fast"], 2, "--trial names the model: leave out --pick"),
        (["--trial", "0", "--max-latency-ms", "1"], 2, "leave out --pick, --max"),
        (["--trial", "0", "--max", "energy_mj=1"], 2, "leave out --pick, --max"),
    ],
)
def test_what_cannot_be_exported_is_named(call, finished, tmp_path, arguments, code, words):
    left, out, err = call("export", finished.path, "-o", tmp_path / "bundle", *arguments)
    assert (left, out) == (code, "")
    assert words in " ".join(err.split())
    assert not (tmp_path / "bundle").exists()


def test_a_run_without_models_has_nothing_to_export(call, tmp_path):
    empty = made_up_run(tmp_path / "empty", complete=0)
    code, _, err = call("export", empty.path, "-o", tmp_path / "bundle", "--min-accuracy", "0.1")
    assert code == 2
    assert "no finished, feasible trial to pick from" in err


def test_a_bundle_that_is_none_is_an_error(call, tmp_path):
    code, out, err = call("reproduce", tmp_path)
    assert (code, out) == (2, "")
    assert str(tmp_path) in err


@pytest.mark.parametrize(
    ("number", "row"),
    [
        (("accuracy", 0.97, 0.98), ["model", "accuracy", "0.97", "0.98", "+0.01 (+1.03%)"]),
        (("parameters", 500, 500), ["model", "parameters", "500", "500", "0"]),
        (("latency_ms", 2.0, None), ["model", "latency_ms", "2", "", "not measured again"]),
    ],
)
def test_a_drift_is_a_row(number, row):
    metric, bundle, again = number
    found = drift_row(Again(of="model", metric=metric, bundle=bundle, again=again))
    assert list(found.values()) == row
