import logging

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from autocompress import models
from autocompress.errors import ConfigurationError

SMALL = {"widths": [4], "hidden": 8}


def small(num_classes=3, channels=1):
    return models.build(
        "autocompress:vgg_small", SMALL, num_classes=num_classes, channels=channels
    )


def assert_same(first, second, but=()):
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]) != (name in but), name


def test_safetensors_are_loaded(tmp_path):
    source, target = small(), small()
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    models.load_weights(target, tmp_path / "weights.safetensors")
    assert_same(source, target)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_state_dicts_are_loaded_as_training_scripts_store_them(tmp_path, wrapper, prefix):
    source, target = small(), small()
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "weights.pth")
    models.load_weights(target, str(tmp_path / "weights.pth"))
    assert_same(source, target)


def test_a_head_for_other_classes_keeps_its_random_weights(tmp_path, caplog):
    source, target = small(num_classes=7), small(num_classes=3)
    head = target.classifier[6].weight.clone()
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    with caplog.at_level(logging.WARNING, "autocompress"):
        models.load_weights(target, tmp_path / "weights.safetensors")
    assert torch.equal(target.classifier[6].weight, head)
    assert torch.equal(target.classifier[0].weight, source.classifier[0].weight)
    assert "classifier.6.weight" in caplog.text
    assert "for 7 classes, not 3" in caplog.text


def test_a_grey_stem_computes_what_the_coloured_one_would(tmp_path):
    source, target = small(channels=3), small(channels=1)
    save_file(source.state_dict(), tmp_path / "weights.safetensors")
    models.load_weights(target, tmp_path / "weights.safetensors")
    grey = torch.rand(2, 1, 8, 8)
    torch.testing.assert_close(target.eval()(grey), source.eval()(grey.expand(-1, 3, -1, -1)))


def test_torchvision_weights_come_by_name(monkeypatch):
    source = models.build("torchvision:googlenet", num_classes=5, channels=3)
    state = {**source.state_dict(), "aux1.fc2.weight": torch.zeros(1)}
    choices = torchvision.models.get_model_weights("googlenet")
    monkeypatch.setattr(choices, "get_state_dict", lambda self, **options: dict(state))
    target = models.build("torchvision:googlenet", num_classes=5, channels=3)
    models.load_weights(target, "DEFAULT", factory="torchvision:googlenet")
    assert_same(source, target)


@pytest.mark.parametrize(
    ("source", "factory", "message"),
    [
        ("IMAGENET1K_V9", "torchvision:resnet18", "allowed: DEFAULT, IMAGENET1K_V1"),
        ("DEFAULT", "autocompress:vgg_small", "expected a file .safetensors"),
        ("nowhere.safetensors", "", "no such file"),
        ("nowhere.pt", "", "no such file"),
    ],
)
def test_unknown_sources_are_clear(source, factory, message):
    with pytest.raises(ConfigurationError, match=message):
        models.load_weights(small(), source, factory=factory)


def test_a_failed_download_is_a_clear_error(monkeypatch):
    def offline(self, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(
        torchvision.models.get_model_weights("resnet18"), "get_state_dict", offline
    )
    with pytest.raises(ConfigurationError, match="can't be downloaded: no route to host"):
        models.load_weights(small(), "DEFAULT", factory="torchvision:resnet18")


def test_foreign_weights_are_listed_by_kind(tmp_path):
    state = small().state_dict()
    state["another"] = torch.zeros(2)
    state["classifier.0.weight"] = torch.zeros(8, 17)
    del state["features.1.bias"]
    save_file(state, tmp_path / "weights.safetensors")
    target = small()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(ConfigurationError) as caught:
        models.load_weights(target, tmp_path / "weights.safetensors")
    told = str(caught.value)
    assert "1 missing: features.1.bias" in told
    assert "1 unexpected: another" in told
    assert "1 wrongly shaped: classifier.0.weight [8, 17] (the model has [8, 16])" in told
    assert all(torch.equal(before[name], t) for name, t in target.state_dict().items())


def test_long_lists_are_cut(tmp_path):
    save_file({f"layer{i}": torch.zeros(1) for i in range(9)}, tmp_path / "weights.safetensors")
    with pytest.raises(ConfigurationError, match=r"9 unexpected: layer0, .* and 4 more"):
        models.load_weights(small(), tmp_path / "weights.safetensors")


@pytest.mark.parametrize("name", ["broken.safetensors", "broken.pt"])
def test_corrupt_files_are_clear(tmp_path, name):
    (tmp_path / name).write_bytes(b"not tensors")
    with pytest.raises(ConfigurationError, match="can't be read"):
        models.load_weights(small(), tmp_path / name)


def test_files_that_need_code_to_run_are_refused(tmp_path):
    torch.save(small(), tmp_path / "model.pt")
    with pytest.raises(ConfigurationError, match="files that need code to be run are refused"):
        models.load_weights(small(), tmp_path / "model.pt")


def test_a_file_without_a_state_dict_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ConfigurationError, match="expected a state dict"):
        models.load_weights(small(), tmp_path / "list.pt")
