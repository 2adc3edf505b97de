import json

import pytest

from autocompress.errors import RunError
from autocompress.runs import layout
from autocompress.runs.files import Measurement, TrialFiles

from made_up_runs import made_up_run


@pytest.fixture
def folder(tmp_path):
    return made_up_run(tmp_path / "run", complete=1, failed=0, pruned=0).trial(0).folder


def test_what_a_trial_left_is_read(folder):
    files = TrialFiles.read(folder)
    assert files.layers[0].name == "features.0"
    assert files.layers[0].before == (32, 1, 3, 3)
    assert files.layers[-1].rank == files.layers[-1].after[0][0]
    assert files.layers[-1].width == 256
    assert files.profile[0].before.widths == (32,)
    assert files.measurement.n == len(files.measurement.samples_ms) == 200


def test_what_is_missing_is_empty(folder):
    assert TrialFiles.read(None) == TrialFiles()
    (folder / layout.PROFILE).unlink()
    (folder / layout.MEASUREMENT).unlink()
    files = TrialFiles.read(folder)
    assert files.profile == ()
    assert files.measurement == Measurement()
    assert files.layers


def test_entries_of_a_later_release_are_left_out(folder):
    rows = json.loads((folder / layout.LAYERS).read_text())
    (folder / layout.LAYERS).write_text(json.dumps([{**row, "more": 1} for row in rows]))
    assert len(TrialFiles.read(folder).layers) == len(rows)


def test_layers_that_were_not_called_or_are_gone_have_no_work(folder):
    row = {"name": "a", "type": "Linear", "before": None, "after": None}
    (folder / layout.PROFILE).write_text(json.dumps([row]))
    (layer,) = TrialFiles.read(folder).profile
    assert (layer.before, layer.after) == (None, None)


@pytest.mark.parametrize("content", ['[{"name": "a"}]', '{"a": 1}', "[", "[1]"])
def test_a_damaged_file_is_named(folder, content):
    (folder / layout.LAYERS).write_text(content)
    with pytest.raises(RunError, match=r"layers\.json"):
        TrialFiles.read(folder)
