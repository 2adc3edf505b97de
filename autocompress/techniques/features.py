"""Feature maps inside two networks: which layers to compare, and what they put out."""

import math
from collections import Counter
from collections.abc import Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from autocompress.errors import ConfigurationError, UsageError
from autocompress.graph.tracing import Inputs, as_arguments
from autocompress.registry import did_you_mean
from autocompress.techniques.modes import eval_mode

LayerPair = tuple[str, str]
Resolution = tuple[int, int]


class Features:
    """Keeps what named modules of a network put out, inside ``with``."""

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        self._model, self._names = model, list(names)
        self._maps: dict[str, Tensor | None] = {}
        self._calls: Counter[str] = Counter()
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> Self:
        """Hook into the modules."""
        for name in dict.fromkeys(self._names):
            module = self._model.get_submodule(name)
            self._handles.append(module.register_forward_hook(partial(self._keep, name)))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the hooks and forget everything."""
        while self._handles:
            self._handles.pop().remove()
        self.take_all()

    def take(self) -> list[Tensor]:
        """Return the last map of each module, ``[batch, channels, height, width]``, and forget it.

        Raises:
            UsageError: a module has not run since the last time, or puts out no features.
        """
        found, _ = self.take_all()
        maps = []
        for name in self._names:
            value = found.get(name)
            if value is None:
                state = "puts out no feature maps" if name in found else "has not run"
                raise UsageError(f"layer {name!r} of {type(self._model).__name__} {state}")
            maps.append(value)
        return maps

    def take_all(self) -> tuple[dict[str, Tensor | None], Counter[str]]:
        """Return maps (None: no features) and numbers of calls in order of call; forget both."""
        taken = self._maps, self._calls
        self._maps, self._calls = {}, Counter()
        return taken

    def _keep(self, name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        self._maps.pop(name, None)  # so that the order is that of the last calls
        self._maps[name] = as_maps(output)
        self._calls[name] += 1


def as_maps(output: object) -> Tensor | None:
    """Bring a module's output into the form ``[batch, channels, height, width]``.

    Takes maps with channels first or (where only so the image is square) last, tokens
    ``[batch, tokens, channels]`` of a square image with or without one class token in front, and
    vectors ``[batch, channels]``; of several tensors the first. Returns None for all else.
    """
    value = next((leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)), None)
    if value is None or not value.is_floating_point():
        return None
    if value.dim() == 4:
        channels_last = value.shape[1] == value.shape[2] != value.shape[3]
        return value.permute(0, 3, 1, 2) if channels_last else value
    if value.dim() == 3:
        return _tokens_as_maps(value)
    return value[:, :, None, None] if value.dim() == 2 else None


def _tokens_as_maps(tokens: Tensor) -> Tensor | None:
    count = tokens.shape[1]
    side = math.isqrt(count)
    if side * side not in (count, count - 1):
        return None
    image = tokens[:, count - side * side :]
    return torch.unflatten(image, 1, (side, side)).permute(0, 3, 1, 2)


def same_resolution(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Average both maps down to the smaller height and the smaller width of the two."""
    size = (
        min(student.shape[2], teacher.shape[2]),
        min(student.shape[3], teacher.shape[3]),
    )
    return _pooled(student, size), _pooled(teacher, size)


def _pooled(maps: Tensor, size: Resolution) -> Tensor:
    return maps if tuple(maps.shape[2:]) == size else F.adaptive_avg_pool2d(maps, size)


def choose_pairs(
    student: nn.Module, teacher: nn.Module, named: Sequence[LayerPair], example: Inputs
) -> tuple[LayerPair, ...]:
    """Return the layers to compare: the named ones, or else one pair for each resolution.

    At each resolution (above 1x1) that both networks have, it is the last module of each that
    puts it out; if they share none, it is the last feature maps of each, which ``same_resolution``
    brings together. A module that runs several times in a forward pass is never chosen.

    Raises:
        ConfigurationError: a named layer does not exist, or no layers can be paired.
    """
    if named:
        _check_names(student, [name for name, _ in named], "student")
        _check_names(teacher, [name for _, name in named], "teacher")
        return tuple(named)
    ours = _last_by_resolution(student, example)
    theirs = _last_by_resolution(teacher, example)
    if not ours or not theirs:
        lacking = student if not ours else teacher
        raise ConfigurationError(
            f"layers: {type(lacking).__name__} has no feature maps larger than 1x1 to compare; "
            "name pairs of layers, or use a loss on outputs"
        )
    shared = [resolution for resolution in ours if resolution in theirs]
    if shared:
        return tuple((ours[resolution], theirs[resolution]) for resolution in shared)
    return ((list(ours.values())[-1], list(theirs.values())[-1]),)


def _check_names(model: nn.Module, names: Sequence[str], role: str) -> None:
    known = [name for name, _ in model.named_modules() if name]
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"layers: the {role} {type(model).__name__} has no module {name!r}"
                f"{did_you_mean(name, known)}"
            )


def _last_by_resolution(model: nn.Module, example: Inputs) -> dict[Resolution, str]:
    """Map each resolution of a network to the last module that puts it out, in that order."""
    names = [name for name, _ in model.named_modules() if name]
    with torch.no_grad(), eval_mode(model), Features(model, names) as features:
        model(*as_arguments(example))
        maps, calls = features.take_all()
    found: dict[Resolution, str] = {}
    for name, value in maps.items():
        if value is not None and calls[name] == 1 and value.shape[2] * value.shape[3] > 1:
            resolution = (value.shape[2], value.shape[3])
            found.pop(resolution, None)
            found[resolution] = name
    return found
