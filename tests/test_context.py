"""What all trials share: the baseline, trained or given, and what it is worth."""

import json
from dataclasses import replace

import pytest
import torch

from autocompress.context import prepare, trained
from autocompress.errors import AutocompressError, RunError
from autocompress.events import BaselineReady, EpochDone, Message, ignore
from autocompress.metrics import Metric
from autocompress.problem import problem_from
from autocompress.runs import layout
from autocompress.tasks import Mean

from small_studies import MadeUpTarget, study_in


def problem(folder, *settings):
    return replace(problem_from(study_in(folder, *settings)), target=MadeUpTarget())


def test_images_are_normalised_as_the_study_says(tmp_path):
    plain = problem(tmp_path).data
    given = problem(tmp_path, "data.mean=[0.5]", "data.std=[0.25]").data
    raw = problem(tmp_path, "data.mean=[0.0]", "data.std=[1.0]").data
    assert torch.allclose(given.example, (raw.example - 0.5) / 0.25, atol=1e-6)
    assert not torch.allclose(plain.example, given.example)


def test_weights_that_do_no_better_than_chance_are_doubted(tmp_path, begun):
    weights = begun.folder / layout.BASELINE / layout.WEIGHTS
    given = [f'model.weights="{weights}"', "model.epochs=0"]
    wrong = ["data.mean=[1.0]", "data.std=[0.001]"]
    events = {}
    for name, more in (("right", []), ("wrong", wrong)):
        events[name] = []
        study = problem(tmp_path, *given, *more)
        prepare(study, tmp_path / name, events[name].append)
    doubts = {n: [e.text for e in events[n] if isinstance(e, Message)] for n in events}
    assert not any("warning" in text for text in doubts["right"])
    assert any("data.mean, data.std" in text and "10.0%" in text for text in doubts["wrong"])
    found = [e.metrics["accuracy"] for e in events["right"] if isinstance(e, BaselineReady)]
    assert found == [begun.baseline_metrics["accuracy"]]


def test_only_a_share_of_right_answers_has_a_chance_to_be_compared_with(tmp_path, begun):
    weights = begun.folder / layout.BASELINE / layout.WEIGHTS
    wrong = ["model.epochs=0", "data.mean=[1.0]", "data.std=[0.001]"]
    study, events = problem(tmp_path, f'model.weights="{weights}"', *wrong), []
    error = Metric(name="error", title="error", direction="minimize")
    right = Mean(lambda outputs, targets: (outputs.argmax(1) == targets).float(), error)
    task = replace(study.task, scores=[right])
    prepare(replace(study, task=task), tmp_path / "run", events.append)
    assert not [event for event in events if isinstance(event, Message)]


def test_a_baseline_is_trained_once_and_reported(tmp_path):
    study, events = problem(tmp_path, "model.epochs=2"), []
    first = trained(study.model, study, tmp_path / "baseline", events.append)
    assert not first.training
    epochs = [(e.stage, e.epoch, e.epochs) for e in events if isinstance(e, EpochDone)]
    assert epochs == [("baseline", 1, 2), ("baseline", 2, 2)]
    curve = json.loads((tmp_path / "baseline" / layout.CURVE).read_text())
    assert [row["epoch"] for row in curve] == [1, 2]
    facts = json.loads((tmp_path / "baseline" / layout.TRAINING).read_text())
    assert (facts["epochs"], facts["threads"]) == (2, torch.get_num_threads())
    events.clear()
    again = trained(study.model, study, tmp_path / "baseline", events.append)
    assert events == []
    state = again.state_dict()
    assert all(tensor.equal(state[name]) for name, tensor in first.state_dict().items())


def test_a_baseline_that_was_changed_on_disk_is_refused(tmp_path):
    study = problem(tmp_path, "model.epochs=0")
    trained(study.model, study, tmp_path / "baseline", ignore)
    (tmp_path / "baseline" / layout.WEIGHTS).write_bytes(b"nonsense")
    with pytest.raises(RunError, match=r"weights\.safetensors cannot be loaded"):
        trained(study.model, study, tmp_path / "baseline", ignore)


@pytest.mark.filterwarnings("ignore")  # of what overflows
def test_a_baseline_that_diverges_names_the_setting(tmp_path):
    study = problem(tmp_path)

    class Exploding(torch.nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, inputs):
            outputs = self.model(inputs)
            return outputs * float("nan") if self.training else outputs

    network = replace(study.model, initial=lambda: Exploding(study.model.structure()))
    with pytest.raises(AutocompressError, match=r"model\.learning_rate: training the baseline"):
        trained(network, study, tmp_path / "baseline", ignore)
    assert not (tmp_path / "baseline").exists()


def test_what_trials_share(begun):
    work = begun.work()
    assert work.teacher is begun.baseline
    assert (work.seed, work.dry) == (1, False)
    assert begun.work(dry=True).dry
    assert begun.start.model is begun.baseline
    assert len(begun.start.plan.steps) == 0
    other = torch.nn.Linear(1, 1)
    assert replace(begun, teacher=other).work().teacher is other
    units = json.loads((begun.folder / layout.BASELINE / layout.UNITS).read_text())
    assert [unit["units"] for unit in units["units"]][:2] == [8, 16]
    assert units["fixed"]


def test_a_teacher_is_trained_beside_the_baseline(tmp_path):
    study = problem(tmp_path, "model.epochs=0")
    study = replace(study, teacher=study.model)
    events = []
    context = prepare(study, tmp_path, events.append)
    assert context.teacher is not None
    assert context.work().teacher is context.teacher
    assert (tmp_path / layout.TEACHER / layout.WEIGHTS).exists()
