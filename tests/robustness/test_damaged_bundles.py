"""Random edits of bundles, plans and weights: each gives one sentence, or a model."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from autocompress.bundles import load
from autocompress.bundles.contents import METRICS, ORIGIN, STUDY
from autocompress.bundles.loading import GOLDEN, INDEX, PLAN, WEIGHTS, digest_of_file
from autocompress.bundles.reproducing import recorded
from autocompress.bundles.verify import verify
from autocompress.graph import Plan, rebuild
from autocompress.models.weights import load_weights

from edits import damaged, json_files, toml_files
from little_bundles import SPEC, compressed

pytestmark = pytest.mark.filterwarnings("ignore")  # of tensors without elements


@pytest.fixture
def weights(tmp_path):
    """A model, and its weights as users give them."""
    model = compressed()
    save_file({name: t.contiguous() for name, t in model.state_dict().items()},
              tmp_path / "weights.safetensors")  # fmt: skip
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pt")
    return model, tmp_path


def readers(folder):
    return [lambda: load(folder), lambda: verify(folder), lambda: recorded(folder)]


def signed(folder, name):
    """Note the digest of a file that was changed: who edits a bundle can write that too."""
    index = json.loads((folder / INDEX).read_text())
    index["files"][name]["sha256"] = digest_of_file(folder / name)
    (folder / INDEX).write_text(json.dumps(index))


def test_an_edited_index_of_a_bundle(changeable, try_edits):
    try_edits(changeable / INDEX, json_files, *readers(changeable))


@pytest.mark.parametrize(
    ("name", "edits_of"),
    [
        (PLAN, json_files),
        (ORIGIN, json_files),
        (METRICS, json_files),
        (STUDY, toml_files),
        (WEIGHTS, damaged),
        (GOLDEN, damaged),
    ],
)
def test_an_edited_file_of_a_bundle(changeable, try_edits, name, edits_of):
    folder = changeable
    try_edits(folder / name, edits_of, *readers(folder), after=lambda: signed(folder, name))


def test_an_edited_plan(bundle, tmp_path, try_edits):
    path = tmp_path / "plan.json"
    shutil.copy(bundle / PLAN, path)
    try_edits(path, json_files, lambda: rebuild(SPEC.build(), Plan.from_json(path.read_bytes())))


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
def test_damaged_weights(weights, try_edits, name):
    model, folder = weights
    try_edits(folder / name, damaged, lambda: load_weights(model, folder / name))
