import pytest
import torch
from torch import nn

from autocompress.config import load_study
from autocompress.errors import ConfigurationError
from autocompress.events import Message
from autocompress.study.preparation import check_batch, load_batches, prepare
from autocompress.study.searching import ignore

STUDY = """
[study]
name = "own_weights"

[data]
source = "digits"
image_size = 8
train_limit = 200
valid_limit = 100
test_limit = 100

[model]
factory = "autocompress:vgg_small"
kwargs = { widths = [8, 16], layers_per_stage = 1, hidden = 32, dropout = 0.0 }
epochs = 4
learning_rate = 1e-2

[latency]
device = "cpu"
threads = 1
budget_s = 0.1

[search]
sparsity = { low = 0.0, high = 0.8 }
"""


def test_images_are_normalised_as_the_study_says(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    plain = load_batches(load_study(path))
    assert plain.splits.mean != (0.5,)
    given = load_batches(load_study(path, ["data.mean=[0.5]", "data.std=[0.25]"]))
    pixels = given.splits.valid.images[: len(given.example)].float() / 255
    assert torch.allclose(given.example.cpu(), (pixels - 0.5) / 0.25, atol=1e-6)


def test_weights_that_do_no_better_than_chance_are_doubted(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    config = load_study(path)
    prepare(config, tmp_path / "trained", load_batches(config), ignore)
    weights = tmp_path / "trained" / "baseline" / "weights.safetensors"
    given = [f'model.weights="{weights}"', "model.epochs=0"]
    wrong = ["data.mean=[1.0]", "data.std=[0.001]"]
    told = {}
    for name, more in (("right", []), ("wrong", wrong)):
        config = load_study(path, [*given, *more])
        told[name] = []
        prepare(config, tmp_path / name, load_batches(config), told[name].append)
    doubts = {n: [e.text for e in told[n] if isinstance(e, Message)] for n in told}
    assert not any("warning" in text for text in doubts["right"])
    assert any("data.mean, data.std" in text and "10.0%" in text for text in doubts["wrong"])


class Overwriting(nn.Sequential):
    """Changes in place what the backward pass needs."""

    def forward(self, images):
        return super().forward(images).sigmoid().mul_(2)


def test_a_model_that_cannot_be_trained_is_reported(batches):
    layers = nn.Flatten(), nn.Linear(64, 10)
    assert check_batch(nn.Sequential(*layers), batches) == (4, 10)
    with pytest.raises(ConfigurationError, match="cannot be trained: RuntimeError"):
        check_batch(Overwriting(*layers), batches)
