"""One trial: how it ends, what it returns, and what it leaves on disk."""

from dataclasses import replace

import pytest
import torch

from autocompress.errors import DeviceLostError
from autocompress.metrics import Metric
from autocompress.pipeline import compress
from autocompress.recipe import Recipe
from autocompress.results import Failure, TrialResult
from autocompress.runs import layout
from autocompress.runs.files import TrialFiles
from autocompress.runs.store import load_state
from autocompress.techniques.factorization import Factorization
from autocompress.techniques.pruning import Pruning
from autocompress.techniques.sparsification import Sparsification
from autocompress.training.fitting import Monitor, Training
from autocompress.trial import PrunedError, TrialCallback, run_trial

RECIPE = Recipe(
    sparsification=Sparsification(sparsity=0.5, schedule="linear"),
    pruning=Pruning(),
    factorization=Factorization(rank=0.5, min_rank=1),
    training=Training(epochs=2, recovery_epochs=1, learning_rate=1e-2),
)
UNTRAINED = Recipe(training=Training(epochs=0, recovery_epochs=0))


class Listening(TrialCallback):
    """Notes what it receives."""

    def __init__(self):
        self.heard = []

    def begin(self, recipe):
        self.heard.append("begin")

    def batch(self):
        if self.heard[-1] != "batch":
            self.heard.append("batch")

    def epoch(self, record, model):
        self.heard.append(f"{record.stage} {record.epoch}")

    def stage(self, state):
        self.heard.append(state.stage)

    def made(self, state):
        self.heard.append("made")


@pytest.fixture(scope="module")
def done(begun, tmp_path_factory):
    """A complete trial: its context, its result, and what a callback heard."""
    context = replace(begun, folder=tmp_path_factory.mktemp("run"))
    listening = Listening()
    return context, run_trial(RECIPE, context, [listening], name="00003"), listening.heard


def test_a_complete_trial_returns_all_that_is_known(done):
    context, result, _ = done
    assert result.state == "complete"
    assert result.failure is None
    assert result.recipe == RECIPE.to_dict()
    sizes = {"parameters", "nonzero", "macs", "size_bytes"}
    assert set(result.metrics) == {"accuracy", "latency_ms", *sizes}
    assert result.metrics["accuracy"].n == 150
    assert result.metrics["accuracy"].low < result.metrics["accuracy"].value
    points = [(record.stage, record.epoch) for record in result.curve]
    assert points == [("train", 1), ("train", 2), ("recover", 1)]
    assert [s.stage for s in result.stages] == ["train", "prune", "factorize", "recover", "fold"]
    assert result.stages[-1].score == result.metrics["accuracy"].value
    assert result.stages[-1].parameters == result.metrics["parameters"].value
    wanted = {"train", "prune", "recover", "fold", "deploy", "evaluate", "measure", "save"}
    assert wanted <= result.seconds.keys()
    assert result.threads == torch.get_num_threads()
    assert TrialResult.from_dict(result.to_dict()) == result
    assert context.baseline_metrics["parameters"].value > result.metrics["parameters"].value


def test_callbacks_follow_everything_in_order(done):
    assert done[2] == [
        "begin",
        "batch",
        "train 1",
        "batch",
        "train 2",
        "train",
        "prune",
        "factorize",
        "batch",
        "recover 1",
        "recover",
        "fold",
        "made",
    ]


def test_what_is_stored_is_what_was_measured(done):
    context, result, _ = done
    folder = layout.trial_folder(context.folder, result.folder)
    state = load_state(folder, context.problem.model.structure())
    again = context.evaluator(state.model)
    assert again.metrics == result.metrics
    files = TrialFiles.read(folder)
    assert files.layers
    assert files.profile
    assert files.measurement.n > 0
    assert state.curve == result.curve


def test_the_same_recipe_gives_the_same_model(done):
    context, result, _ = done
    again = compress(context.start, RECIPE, context.work())
    folder = layout.trial_folder(context.folder, result.folder)
    stored = load_state(folder, context.problem.model.structure()).model.state_dict()
    assert all(tensor.equal(stored[name]) for name, tensor in again.model.state_dict().items())


def test_a_callback_may_end_a_trial_with_what_is_known(done, context):
    class Ending(TrialCallback):
        def epoch(self, record, model):
            if record.epoch == 2:
                raise PrunedError(Failure(stage="train", reason="enough", epoch=2), known)

    known = {"accuracy": done[1].metrics["accuracy"]}
    result = run_trial(RECIPE, context, [Ending()], name="00000")
    assert (result.state, result.failure.reason, result.metrics) == ("pruned", "enough", known)
    assert result.curve == done[1].curve[:2]  # with the epoch after which it ended
    assert result.folder is None
    assert not (context.folder / layout.TRIALS).exists()


def test_what_goes_wrong_is_a_result_with_stage_and_traceback(context):
    class Breaking(TrialCallback):
        def batch(self):
            raise RuntimeError("a filter died")

    result = run_trial(RECIPE, context, [Breaking()], name="00000")
    assert (result.state, result.failure.stage) == ("failed", "train")
    assert result.failure.reason.endswith("a filter died")
    assert 'raise RuntimeError("a filter died")' in result.failure.traceback
    assert not (context.folder / layout.TRIALS).exists()


def test_what_cannot_work_on_this_model_is_not_begun(context):
    hopeless = Sparsification(sparsity=0.5, criterion="batch_norm_scale", granularity="weight")
    result = run_trial(replace(RECIPE, sparsification=hopeless), context, name="00000")
    assert (result.state, result.failure.stage, result.curve) == ("pruned", "estimate", ())


@pytest.mark.parametrize("who", ["monitor", "callback"])
def test_a_request_to_stop_is_passed_on_and_nothing_is_stored(context, who):
    class Stopped(TrialCallback):
        def batch(self):
            raise KeyboardInterrupt

    callbacks = [Stopped()] if who == "callback" else []
    monitor = Stopped() if who == "monitor" else Monitor()
    with pytest.raises(KeyboardInterrupt):
        run_trial(RECIPE, replace(context, monitor=monitor), callbacks, name="00000")
    assert not (context.folder / layout.TRIALS).exists()


def test_a_gpu_that_broke_is_passed_on(context):
    class Illegal(TrialCallback):
        def batch(self):
            raise torch.AcceleratorError("CUDA error: an illegal memory access")

    with pytest.raises(DeviceLostError):
        run_trial(RECIPE, context, [Illegal()], name="00000")


@pytest.mark.parametrize(
    ("method", "stage"),
    [("begin", "estimate"), ("batch", "train"), ("epoch", "train"), ("stage", "train"),
     ("made", "estimate")],
)  # fmt: skip
def test_a_callback_that_breaks_fails_the_trial(context, method, stage):
    def broken(*_):
        raise RuntimeError("my callback broke")

    callback = type("Broken", (TrialCallback,), {method: broken})()
    result = run_trial(RECIPE, context, [callback], name="00000")
    assert (result.state, result.failure.stage) == ("failed", stage)
    assert result.failure.reason.startswith("RuntimeError: ")
    assert result.failure.reason.endswith("my callback broke")
    assert "in broken" in result.failure.traceback
    assert not (context.folder / layout.TRIALS).exists()


def test_a_metric_that_breaks_fails_the_trial(context):
    def weigh(candidate):
        raise RuntimeError("the scales are broken")

    own = Metric(name="weight_kg", direction="minimize", measure=weigh)
    evaluator = replace(context.evaluator, own=(own,))
    result = run_trial(UNTRAINED, replace(context, evaluator=evaluator), name="00000")
    assert (result.state, result.failure.stage) == ("failed", "measure")
    assert result.failure.reason == "the metric 'weight_kg': RuntimeError: the scales are broken"


def test_a_folder_that_cannot_be_written_fails_the_trial(context):
    (context.folder / layout.TRIALS).write_text("no folder")
    result = run_trial(UNTRAINED, context, name="00000")
    assert (result.state, result.failure.stage) == ("failed", "save")


def test_a_trial_may_start_from_the_trainable_state_of_another(done, context):
    from autocompress.runs.store import load_trainable

    first, result, _ = done
    folder = layout.trial_folder(first.folder, result.folder)
    start = load_trainable(folder, context.problem.model.structure())
    again = run_trial(UNTRAINED, context, name="00000", start=start)
    assert again.state == "complete"
    assert again.metrics["parameters"] == result.metrics["parameters"]
    assert again.stages[-1].steps == result.stages[-1].steps
