"""A study on real digits with a second per trial, and a target whose latencies are made up."""

import contextlib
from dataclasses import replace

import torch

from autocompress.config import load_study
from autocompress.errors import ConfigurationError
from autocompress.targets import Artifact, Calls

STUDY = """
[study]
name = "micro"
trials = 4
seed = 1
derive = false

[data]
source = "digits"
image_size = 8
batch_size = 50
train_limit = 300
valid_limit = 150
test_limit = 150

[model]
factory = "autocompress:vgg_small"
kwargs = { widths = [8, 16], layers_per_stage = 1, hidden = 32, dropout = 0.0 }
epochs = 3
learning_rate = 1e-2

[training]
epochs = 1
recovery_epochs = 1
learning_rate = 1e-2

[target]
device = "cpu"
threads = 1
budget_s = 0.05

[search]
sparsity = { low = 0.0, high = 0.8, step = 0.1 }
linear_sparsity = { low = 0.0, high = 0.8, step = 0.1 }
distillation = ["none", "soft_target"]
distillation_weight = 0.5
rank = { low = 0.25, high = 1.0, step = 0.25 }
"""


def study_file(folder, text=STUDY):
    """Write a study file into ``folder``, and return where it is."""
    path = folder / "study.toml"
    path.write_text(text)
    return path


def study_in(folder, *settings, text=STUDY):
    """Write a study file into ``folder``, and read it with some settings changed."""
    return load_study(study_file(folder, text), settings)


def limited(context, **limits):
    """Return what trials share, in a study with these limits."""
    config = replace(context.problem.config, limits=limits)
    return replace(context, problem=replace(context.problem, config=config))


def own_trials(run):
    """Return the trials that are over, without those derived from others."""
    return [t for t in run.trials() if t.parent is None and t.state != "waiting"]


class MadeUpTarget:
    """A target on which a call takes a microsecond per parameter: nothing is timed.

    Attributes:
        slowness: of the sessions that are opened from now on.
        problem: why it cannot be used here.
    """

    name = "made up"
    batch_size = 1
    precisions = ("fp32",)
    quick = True

    def __init__(self, *, problem=""):
        self.slowness, self.problem = 1.0, problem

    def check(self):
        if self.problem:
            raise ConfigurationError(self.problem)

    def prepare(self, model, precision, *, example, calibration):
        size = sum(p.numel() for p in model.parameters())
        return Artifact(content=model, format="module", precision=precision, size_bytes=4 * size)

    def open(self, artifact, example):
        return MadeUpSession(artifact.content, self.slowness * artifact.size_bytes / 4000)

    def exclusive(self):
        return contextlib.nullcontext()

    def fingerprint(self):
        return {"target": "made up"}


class MadeUpSession:
    """A model on the made-up target."""

    def __init__(self, model, ms):
        self.model, self.ms = model, ms

    def run(self, inputs):
        with torch.no_grad():
            return self.model(inputs)

    def time(self, calls):
        return Calls([self.ms] * calls, 0.0)

    def close(self):
        pass
