"""Pretrained weights: torchvision's by name, or a file of tensors."""

import logging
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from autocompress.errors import ConfigurationError, in_one_line
from autocompress.models.adaptation import find_head, find_stem
from autocompress.registry import did_you_mean
from autocompress.sentences import one_line, shown

logger = logging.getLogger(__name__)

WRAPPERS = ("state_dict", "model")  # keys under which training scripts store the state dict
AUXILIARY = {  # heads that building leaves out
    "googlenet": ("aux1.", "aux2."),
    "inception_v3": ("AuxLogits.",),
}
POINTER = b"version https://git-lfs"  # begins what stands for a file that was not fetched
LONGEST = 300  # characters of what PyTorch says of a file
SHOWN = 5  # names listed per kind of mismatch


def load_weights(model: nn.Module, source: str | Path, *, factory: str = "") -> None:
    """Load pretrained weights into a model, in place.

    Weights for another number of classes or channels are welcome: the head then keeps its random
    weights, and a first convolution for one channel gets the sum over the channels of the
    pretrained one (what it would compute on a grey image repeated in every channel) or keeps its
    random weights too; messages through :mod:`logging` say so.

    Args:
        model: a model as :func:`autocompress.models.build` made it.
        source: a ``.safetensors`` file; a ``.pt`` or ``.pth`` file with a state dict, also under
            the key ``"state_dict"`` or ``"model"`` and with ``"module."`` before its names; or,
            for a model of torchvision, the name of its weights, such as ``"DEFAULT"`` or
            ``"IMAGENET1K_V1"`` (downloaded once).
        factory: the name the model was built from, needed for torchvision's weights.

    Raises:
        ConfigurationError: there are no such weights, or they do not belong to this model: the
            missing, unexpected and wrongly shaped names are listed.
    """
    state = _read_state(source, factory)
    state = _adapt(state, model, str(source))
    _check_match(state, model, str(source))
    try:
        model.load_state_dict(state)
    except (RuntimeError, TypeError, NotImplementedError) as error:  # of kinds of tensors
        raise ConfigurationError(
            one_line(f"weights {str(source)!r} can't be loaded into this model: {error}")
        ) from error


def _read_state(source: str | Path, factory: str) -> dict[str, Tensor]:
    path = Path(source)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in (".pt", ".pth"):
        return _read_torch_file(path)
    home, _, name = factory.partition(":")
    if home == "torchvision" and isinstance(source, str):
        return _read_torchvision(source, name)
    raise ConfigurationError(
        f"weights {str(source)!r}: expected a file .safetensors, .pt or .pth, or for a model "
        f"'torchvision:NAME' the name of its weights, such as 'DEFAULT'"
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    _check_file(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise ConfigurationError(
            one_line(f"weights {str(path)!r} can't be read: {error}")
        ) from error


def _read_torch_file(path: Path) -> dict[str, Tensor]:
    _check_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConfigurationError(
            f"weights {str(path)!r} can't be read: the file is damaged, or holds more than a "
            "state dict of tensors (files that need code to be run are refused; save "
            "model.state_dict() instead of the model)"
        ) from error
    except Exception as error:  # a damaged pickle or archive may raise anything
        told = in_one_line(error)[:LONGEST]
        raise ConfigurationError(
            one_line(f"weights {str(path)!r} can't be read as a state dict of tensors: {told}")
        ) from error
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
    ):
        raise ConfigurationError(
            f"weights {str(path)!r}: expected a state dict (names to tensors), also under "
            f"{' or '.join(map(repr, WRAPPERS))}, not {type(content).__name__}"
        )
    _check_memory(content, path)
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise ConfigurationError(f"weights {str(path)!r}: no such file in {Path.cwd()}")
    with path.open("rb") as file:
        if file.read(len(POINTER)) == POINTER:
            raise ConfigurationError(
                f"weights {str(path)!r}: expected tensors, not a pointer of Git LFS; fetch the "
                "file that it stands for: git lfs pull"
            )


def _check_memory(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that claim to be larger than the whole file is."""
    size = path.stat().st_size
    for name, tensor in state.items():
        if tensor.layout is not torch.strided or tensor.numel() * tensor.element_size() > size:
            raise ConfigurationError(
                one_line(
                    f"weights {str(path)!r}: {shown(name)} {list(tensor.shape)} is no dense "
                    f"tensor that {size:,} bytes can hold"
                )
            )


def _read_torchvision(weights: str, name: str) -> dict[str, Tensor]:
    choices = torchvision.models.get_model_weights(name)
    allowed = ["DEFAULT", *choices.__members__]
    if weights not in allowed:
        raise ConfigurationError(
            f"weights {weights!r}: torchvision has none of that name for {name}"
            f"{did_you_mean(weights, allowed)}; allowed: {', '.join(allowed)}"
        )
    try:
        state = choices[weights].get_state_dict(progress=True, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise ConfigurationError(
            f"weights {weights!r} of torchvision:{name} can't be downloaded: {error}"
        ) from error
    left_out = AUXILIARY.get(name, ())
    return {key: value for key, value in state.items() if not key.startswith(left_out)}


def _adapt(state: Mapping[str, Tensor], model: nn.Module, source: str) -> dict[str, Tensor]:
    """Return the state with head and first convolution made to fit where only they differ."""
    own = model.state_dict()
    adapted = dict(state)
    head, stem = find_head(model), find_stem(model)
    for name in (f"{head}.weight", f"{head}.bias"):
        if name in own and name in state and _differ_in_classes(state[name], own[name]):
            adapted[name] = own[name]
            logger.warning(
                "%s of %s is for %d classes, not %d: it keeps its random weights",
                name, source, state[name].shape[0], own[name].shape[0],
            )  # fmt: skip
    name = f"{stem}.weight"
    if name in own and name in state and _differ_in_channels(state[name], own[name]):
        grey = own[name].shape[1] == 1
        adapted[name] = state[name].sum(1, keepdim=True) if grey else own[name]
        logger.warning(
            "%s of %s reads %d channels, not %d: it %s",
            name, source, state[name].shape[1], own[name].shape[1],
            "gets the sum over them" if grey else "keeps its random weights",
        )  # fmt: skip
    return adapted


def _differ_in_classes(theirs: Tensor, ours: Tensor) -> bool:
    return (
        theirs.ndim == ours.ndim
        and theirs.shape[0] != ours.shape[0]
        and theirs.shape[1:] == ours.shape[1:]
    )


def _differ_in_channels(theirs: Tensor, ours: Tensor) -> bool:
    return (
        theirs.ndim == ours.ndim > 1
        and theirs.shape[1] != ours.shape[1]
        and theirs.shape[0] == ours.shape[0]
        and theirs.shape[2:] == ours.shape[2:]
    )


def _check_match(state: Mapping[str, Tensor], model: nn.Module, source: str) -> None:
    own = model.state_dict()
    shapes = [
        f"{name} {list(state[name].shape)} (the model has {list(own[name].shape)})"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    problems = [
        *_listed("missing", (name for name in own if name not in state)),
        *_listed("unexpected", (name for name in state if name not in own)),
        *_listed("wrongly shaped", shapes),
    ]
    if problems:
        told = f"weights {source!r} don't belong to this model: {'; '.join(problems)}"
        raise ConfigurationError(one_line(told))


def _listed(kind: str, names: Iterable[str]) -> list[str]:
    names = list(names)
    if not names:
        return []
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return [f"{len(names)} {kind}: {', '.join(names[:SHOWN])}{rest}"]
