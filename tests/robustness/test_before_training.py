"""What can be known before training is said before training, by ``plan`` and by ``run``."""

import json
import os
import subprocess
import sys

import pytest

from autocompress.errors import ConfigurationError
from autocompress.study.check import check
from autocompress.study.run import run_study

from small_studies import STUDY, study_in

ODD = """
import numpy as np
import torch
from torch import nn

def net(width=8):
    layers = nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(width * 64, 10))

class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.calls = net(), 0
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        return self.odd(x)

def odd(do):
    return type("Mine", (Odd,), {"odd": do})

def frozen():
    return net().requires_grad_(False)

def without_parameters():
    return nn.Flatten()

def lazy():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))

def random_outputs():
    return odd(lambda self, x: self.net(x) + torch.randn(10))()

def changes_inputs():
    return odd(lambda self, x: self.net(x.mul_(0.5)))()

def changes_state():
    def do(self, x):
        self.seen += 1
        return self.net(x) + self.seen
    return odd(do)()

def fails_alone():
    return odd(lambda self, x: self.net(x).expand(2, -1) if len(x) == 1 else self.net(x))()

def raises_alone():
    return odd(lambda self, x: self.net(x) / (len(x) > 1) if len(x) > 1 else self.missing)()

def raises_many():
    def do(self, x):
        if len(x) == 64:
            raise MemoryError("64 are too many")
        return self.net(x)
    return odd(do)()

def couples_inputs():
    return odd(lambda self, x: self.net(x) - self.net(x).mean(0))()

def no_numbers():
    made = net()
    made[0].weight.data.fill_(float("nan"))
    return made

def another():
    another.width = getattr(another, "width", 4) + 1
    return net(another.width)

def prints():
    print("building")
    return odd(lambda self, x: print("running") or self.net(x))()

def no_pixels():
    return np.zeros((50, 0, 0), np.uint8), np.arange(50) % 10

def large_label():
    labels = np.arange(50) % 10
    labels[3] = 10**12
    return np.zeros((50, 8, 8), np.uint8), labels
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    (tmp_path / "odd_nets.py").write_text(ODD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def own(name):
    """Return the settings of a study with a model of this name."""
    return (f'model.factory="odd_nets:{name}"', "model.kwargs={}")


@pytest.mark.parametrize("section", ["model", "teacher"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("frozen", "no parameter of the model can be trained: requires_grad is False for all"),
        ("without_parameters", "the model has no parameters"),
        ("lazy", "the model has lazy layers"),
        ("random_outputs", "other outputs for the same inputs in evaluation mode"),
        ("changes_inputs", "changes its inputs in place"),
        ("changes_state", "other outputs for the same inputs"),
        ("fails_alone", "other outputs for one input alone"),
        ("raises_alone", r"inputs \[1, 1, 8, 8\] of the data do not fit the model: Attribute"),
        ("couples_inputs", "other outputs for one input alone"),
        ("no_numbers", r"infinite or no numbers \(NaN\)"),
        ("another", "builds another network each time: 0.weight is"),
    ],
)
def test_a_model_that_cannot_be_searched_is_refused(home, section, name, message):
    settings = own(name) if section == "model" else (f'teacher.factory="odd_nets:{name}"',)
    config = study_in(home, *settings)
    for refused in (lambda: check(config), lambda: run_study(config, directory=home / "runs")):
        with pytest.raises(ConfigurationError, match=rf"{section}\.factory: .*{message}"):
            refused()
    assert not (home / "runs").exists()


def test_sound_models_pass(home):
    assert check(study_in(home, *own("net"))).model.parameters > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("data.image_size=1000000",), "data.image_size: expected"),
        (("target.batch_size=100000000",), "target.batch_size: expected"),
        (("target.threads=100000000",), "target.threads: expected"),
        (('data.source="odd_nets:no_pixels"',), r"expected pixels, not images \[50, 1, 0, 0\]"),
        (('data.source="odd_nets:large_label"',), "labels from 0 to .* not 1000000000000"),
        (
            ('model.factory="torchvision:resnet18"', 'model.kwargs={weights="NOPE"}'),
            r"model.factory: .*resnet18' can't be built with .*KeyError: 'NOPE'",
        ),
    ],
)
def test_sizes_and_names_out_of_range_are_told(home, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        check(study_in(home, *settings))


def test_inputs_of_one_call_that_do_not_fit_into_memory_are_told(home):
    with pytest.raises(ConfigurationError, match=r"target\.batch_size: .*MemoryError: 64 are"):
        check(study_in(home, *own("raises_many"), "target.batch_size=64"))


def test_what_a_model_prints_is_no_part_of_a_document(home):
    study = home / "study.toml"
    study_in(home, text=STUDY)
    done = subprocess.run(
        [sys.executable, "-m", "autocompress.cli", "plan", str(study), "--json",
         *(word for setting in own("prints") for word in ("--set", setting))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"]["factory"] == "odd_nets:prints"
    assert {"building", "running"} <= set(done.stderr.splitlines())
