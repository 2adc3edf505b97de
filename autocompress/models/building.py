"""From a model's name to a model with random weights."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torchvision
from torch import nn

from autocompress.errors import ConfigurationError, in_one_line
from autocompress.models.adaptation import fit_head, fit_stem
from autocompress.models.networks import NETWORKS
from autocompress.registry import did_you_mean
from autocompress.sentences import shown
from autocompress.user_code import call_function

ONE_OUTPUT = {  # torchvision models that would return several outputs, or warn, by default
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}


def build(
    factory: str,
    kwargs: Mapping[str, Any] | None = None,
    *,
    num_classes: int | None,
    channels: int | None,
) -> nn.Module:
    """Build a model with random weights; the same arguments always give the same structure.

    The function that the name stands for receives ``num_classes`` and ``channels`` where its
    signature names them and ``kwargs`` does not. What it does not receive is fitted afterwards:
    the head (last linear layer or 1x1 convolution) and the first convolution are replaced where
    their sizes differ, with a message through :mod:`logging`. Whether the model then reads the
    images and gives one output per class shows only when it runs.

    Args:
        factory: ``"torchvision:NAME"`` for an image classifier of torchvision,
            ``"autocompress:NAME"`` for a network of this package, or
            ``"package.module:function"`` for a function of the user's that returns a module;
            the current working directory can be imported from.
        kwargs: more arguments for that function.
        num_classes: number of classes, at least 1; ``None`` where outputs are no classes of the
            items: the model keeps its head.
        channels: channels of the images, at least 1; ``None`` where inputs have none: the model
            keeps its first convolution.

    Raises:
        ConfigurationError: the name does not exist, does not import or fails (with the user's
            own traceback), or the model can't be fitted to the classes and channels.
    """
    known = {"num_classes": num_classes, "channels": channels}
    offered = {name: value for name, value in known.items() if value is not None}
    for name, value in offered.items():
        if value < 1:
            raise ConfigurationError(f"{name}: expected at least 1, not {value}")
    fixed = dict(kwargs or {})
    home, _, name = factory.partition(":")
    if home == "torchvision":
        offered.pop("channels", None)
        model = _build_torchvision(name, {**offered, **fixed})
    elif home == "autocompress":
        model = _call(factory, NETWORKS[name], {**offered, **fixed})
    else:
        model, offered = _build_foreign(factory, fixed, offered)
    if num_classes is not None and ("num_classes" in fixed or "num_classes" not in offered):
        fit_head(model, num_classes)
    if channels is not None and ("channels" in fixed or "channels" not in offered):
        fit_stem(model, channels)
    return model


def _build_torchvision(name: str, kwargs: Mapping[str, Any]) -> nn.Module:
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise ConfigurationError(
            f"torchvision has no classifier {name!r}{did_you_mean(name, known)}; allowed: "
            f"{', '.join(known)}"
        )
    function = torchvision.models.get_model_builder(name)
    return _call(f"torchvision:{name}", function, {**ONE_OUTPUT.get(name, {}), **kwargs})


def _build_foreign(
    factory: str, fixed: dict[str, Any], offered: dict[str, int]
) -> tuple[nn.Module, dict[str, int]]:
    """Return the model and those of the offered arguments that its function takes."""
    taken: dict[str, int] = {}

    def arguments(function: Callable[..., Any]) -> dict[str, Any]:
        names = inspect.signature(function).parameters
        taken.update({name: value for name, value in offered.items() if name in names})
        return {**taken, **fixed}

    model = call_function(factory, "model", arguments)
    if not isinstance(model, nn.Module):
        raise ConfigurationError(
            f"model {factory!r}: expected the function to return a torch.nn.Module, not "
            f"{type(model).__name__}"
        )
    return model, taken


def _call(factory: str, function: Callable[..., nn.Module], kwargs: dict[str, Any]) -> nn.Module:
    try:
        return function(**kwargs)
    except ConfigurationError:
        raise
    except Exception as error:  # whatever a function makes of arguments that it does not expect
        raise ConfigurationError(
            f"model {factory!r} can't be built with {shown(kwargs)}: {in_one_line(error)}; its "
            f"arguments: {', '.join(inspect.signature(function).parameters)}"
        ) from error
