import logging
import sys
import textwrap

import pytest
import torch

from autocompress import models
from autocompress.errors import ConfigurationError


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """Write a module into a fresh current folder; return its name."""
    monkeypatch.chdir(tmp_path)

    def write(source, name="mine_models"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    yield write
    sys.modules.pop("mine_models", None)


@pytest.mark.parametrize(
    ("name", "side"),
    [("resnet18", 32), ("squeezenet1_1", 32), ("googlenet", 32), ("inception_v3", 75)],
)
def test_torchvision_models_return_one_tensor_in_both_modes(name, side):
    model = models.build(f"torchvision:{name}", num_classes=4, channels=1)
    images = torch.rand(2, 1, side, side)
    assert model.train()(images).shape == (2, 4)
    assert model.eval()(images).shape == (2, 4)


def test_torchvision_kwargs_reach_the_model():
    kwargs = {"num_classes": 9, "width_per_group": 32}
    model = models.build("torchvision:resnet18", {"num_classes": 9}, num_classes=4, channels=3)
    assert model.fc.out_features == 4
    with pytest.raises(ConfigurationError, match="resnet18"):
        models.build("torchvision:resnet18", kwargs, num_classes=4, channels=3)


def test_first_convolution_is_replaced_and_reported(caplog):
    with caplog.at_level(logging.WARNING, "autocompress"):
        model = models.build("torchvision:resnet18", num_classes=4, channels=1)
    stem = model.conv1
    assert (stem.in_channels, stem.kernel_size, stem.stride, stem.padding, stem.bias) == (
        1, (7, 7), (2, 2), (3, 3), None,
    )  # fmt: skip
    assert "conv1" in caplog.text
    assert "3 channels" in caplog.text
    assert "have 1" in caplog.text


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("torchvision:resnet81", "did you mean 'resnet18'"),
        ("torchvision:fasterrcnn_resnet50_fpn", "no classifier"),
        ("autocompress:vgg_smal", "did you mean 'vgg_small'"),
        ("no_such_package_at_all:model", "no module named 'no_such_package_at_all'"),
        ("resnet18", "expected 'package.module:function'"),
        ("a b:c", "expected 'package.module:function'"),
    ],
)
def test_unknown_names_are_clear(factory, message):
    with pytest.raises(ConfigurationError, match=message):
        models.build(factory, num_classes=2, channels=3)


@pytest.mark.parametrize(
    "sizes", [{"num_classes": 0, "channels": 1}, {"num_classes": 2, "channels": 0}]
)
def test_sizes_below_one_are_refused(sizes):
    with pytest.raises(ConfigurationError, match="expected at least 1, not 0"):
        models.build("autocompress:vgg_small", **sizes)


def test_users_function_receives_what_its_signature_names(user_module):
    name = user_module("""
        from torch import nn
        def net(num_classes, width=4):
            head = nn.Linear(width, num_classes)
            return nn.Sequential(nn.Conv2d(3, width, 1), nn.Flatten(), head)
        """)
    path = list(sys.path)
    model = models.build(f"{name}:net", {"width": 6}, num_classes=5, channels=1)
    assert sys.path == path
    assert model(torch.rand(2, 1, 1, 1)).shape == (2, 5)
    assert model[0].out_channels == 6


def test_users_head_is_replaced_and_reported(user_module, caplog):
    name = user_module("""
        from torch import nn
        def linear():
            return nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(2, 10, bias=False))
        def convolution():
            return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 10, 1), nn.Flatten())
        """)
    with caplog.at_level(logging.WARNING, "autocompress"):
        linear = models.build(f"{name}:linear", num_classes=5, channels=1)
        convolution = models.build(f"{name}:convolution", num_classes=5, channels=1)
    assert (linear[2].out_features, linear[2].bias) == (5, None)
    assert convolution(torch.rand(2, 1, 3, 3)).shape == (2, 5)
    assert "replaced layer 2: it had 10 outputs, the data has 5 classes" in caplog.text
    assert "replaced layer 1" in caplog.text


def test_users_broken_module_shows_their_traceback_only(user_module):
    name = user_module("""
        def helper():
            return {}["secret"]
        helper()
        """)
    with pytest.raises(ConfigurationError) as caught:
        models.build(f"{name}:net", num_classes=2, channels=1)
    told = str(caught.value)
    assert "KeyError: 'secret'" in told
    assert 'return {}["secret"]' in told
    assert "user_code.py" not in told
    assert "importlib" not in told


@pytest.mark.parametrize(
    ("source", "function", "message"),
    [
        ("def network(): ...", "netwrok", "did you mean 'network'"),
        ("def net(:", "net", "SyntaxError"),
        ("import a_missing_dependency", "net", "No module named 'a_missing_dependency'"),
        ("def net(): raise ValueError('my own words')", "net", "my own words"),
        ("def net(): return 3", "net", "torch.nn.Module, not int"),
    ],
)
def test_what_a_users_function_does_wrong_is_said(user_module, source, function, message):
    name = user_module(source)
    with pytest.raises(ConfigurationError, match=message):
        models.build(f"{name}:{function}", num_classes=2, channels=1)


def test_models_without_layers_to_fit_are_left_as_they_are(user_module):
    name = user_module("""
        from torch import nn
        def dense(num_classes):
            return nn.Sequential(nn.Flatten(), nn.Linear(16, num_classes))
        def convolutions(channels):
            return nn.Sequential(nn.Conv2d(channels, 5, 4), nn.Flatten())
        """)
    for function in ("dense", "convolutions"):
        model = models.build(f"{name}:{function}", num_classes=5, channels=1)
        assert model(torch.rand(2, 1, 4, 4)).shape == (2, 5)


def test_a_grouped_first_convolution_is_not_replaced(user_module):
    name = user_module("""
        from torch import nn
        def net():
            return nn.Sequential(nn.Conv2d(3, 6, 3, groups=3), nn.Flatten(), nn.Linear(6, 2))
        """)
    with pytest.raises(ConfigurationError, match="first convolution, 0, reads 3 channels in 3"):
        models.build(f"{name}:net", num_classes=2, channels=1)


def test_a_model_keeps_its_ends_where_outputs_are_no_classes(user_module, caplog):
    name = user_module(
        """
        from torch import nn
        def build(**options):
            assert not options
            return nn.Sequential(nn.Conv2d(5, 4, 3), nn.ReLU(), nn.Conv2d(4, 7, 1))
        """
    )
    with caplog.at_level(logging.WARNING, "autocompress"):
        model = models.build(f"{name}:build", num_classes=None, channels=None)
    assert (model[0].in_channels, model[2].out_channels) == (5, 7)
    assert not caplog.records
    kept = models.build("torchvision:resnet18", num_classes=None, channels=3)
    assert kept.fc.out_features == 1000
