"""Random edits of every document of a run: reading it gives one sentence, or what is left."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from autocompress.dashboard.details import details
from autocompress.dashboard.document import as_csv, overview, space, study_figures, trials
from autocompress.runs import Run, layout
from autocompress.runs.stored import training_of

from edits import damaged, json_files, json_lines, toml_files
from made_up_runs import made_up_run

RELEASE_0_1 = Path(__file__).parents[1] / "runs" / "release_0_1"
SCRATCH = {
    "trial": 0, "budget_s": 1.0, "seconds": 1.0, "epochs": 3, "curve": [],
    "metrics": {"accuracy": {"value": 0.9}},
}  # fmt: skip


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("damaged")
    made_up_run(home / "run", complete=9, failed=1, pruned=1, stopped=1, derived=1)
    control = home / "run" / layout.CONTROLS
    made_up_run(control / "random", complete=3, failed=0, pruned=0)
    (control / layout.SCRATCH).write_text(json.dumps(SCRATCH))
    training = {"epochs": 3, "seconds": 4.0, "threads": 1}
    (home / "run" / layout.BASELINE / layout.TRAINING).write_text(json.dumps(training))
    return home / "run"


@pytest.fixture(scope="module")
def old_folder(tmp_path_factory):
    return shutil.copytree(RELEASE_0_1, tmp_path_factory.mktemp("old") / "run")


def read_all(folder):
    """Read what any command shows of a run; of the models that a report shows one by one, one."""
    run = Run.open(folder)
    json.dumps(run.status().to_dict(), allow_nan=False)
    json.dumps(run.front_document(), allow_nan=False)
    run.table()
    run.importances()
    training_of(folder)
    [overview(run), trials(run), space(run), study_figures(run), as_csv(run)]
    [details(run, trial.number) for trial in run.front()[:1]]
    json.dumps(run.structure.to_dict())


@pytest.mark.parametrize(
    "name",
    [
        layout.HEADER,
        layout.FINAL,
        f"{layout.BASELINE}/{layout.EVALUATION}",
        f"{layout.BASELINE}/{layout.UNITS}",
        f"{layout.BASELINE}/{layout.TRAINING}",
        f"{layout.CONTROLS}/{layout.SCRATCH}",
        f"{layout.CONTROLS}/random/{layout.HEADER}",
    ],
)
def test_an_edited_document_of_a_run(run_folder, try_edits, name):
    try_edits(run_folder / name, json_files, lambda: read_all(run_folder))


@pytest.mark.parametrize("name", [layout.LAYERS, layout.PROFILE, layout.MEASUREMENT])
def test_an_edited_document_of_a_trial(run_folder, try_edits, name):
    front = Run.open(run_folder).front()[0]
    try_edits(front.folder / name, json_files, lambda: read_all(run_folder))


def test_an_edited_journal(run_folder, try_edits):
    try_edits(run_folder / layout.JOURNAL, json_lines, lambda: read_all(run_folder))


def test_an_edited_study_file_of_a_run(run_folder, try_edits):
    try_edits(run_folder / layout.STUDY, toml_files, lambda: read_all(run_folder))


@pytest.mark.parametrize(
    "name",
    [
        "run.json",
        "baseline/metrics.json",
        "baseline/units.json",
        "last_word.json",
        "trials/00000/curve.json",
        "trials/00000/stages.json",
        "trials/00001/layers.json",
    ],
)
def test_an_edited_document_of_release_0_1(old_folder, try_edits, name):
    try_edits(old_folder / name, json_files, lambda: read_all(old_folder))


def test_a_damaged_database_of_release_0_1(old_folder, try_edits):
    try_edits(old_folder / "study.db", damaged, lambda: read_all(old_folder))


def test_edited_attributes_in_the_database_of_release_0_1(old_folder, try_edits, tmp_path):
    """The attributes of a trial are JSON in a table: an edited one is put back there."""
    database, row = old_folder / "study.db", tmp_path / "row.json"
    with closing(sqlite3.connect(database)) as connection:
        found = connection.execute("select trial_user_attribute_id, value_json from "
                                   "trial_user_attributes order by 1").fetchall()  # fmt: skip
    keys = [key for key, _ in found]
    row.write_text(json.dumps([json.loads(value) for _, value in found]))

    def put_back():
        try:
            values = json.loads(row.read_text())
        except (ValueError, RecursionError):
            values = [None]
        values = values if isinstance(values, list) else [values]
        pairs = zip(values, keys, strict=False)
        with closing(sqlite3.connect(database)) as connection:
            connection.executemany(
                "update trial_user_attributes set value_json = ? "
                "where trial_user_attribute_id = ?",
                [(json.dumps(value), key) for value, key in pairs],
            )
            connection.commit()

    content = database.read_bytes()
    try:
        try_edits(row, json_files, lambda: read_all(old_folder), after=put_back)
    finally:
        database.write_bytes(content)
