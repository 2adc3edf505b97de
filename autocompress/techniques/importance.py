"""What a criterion looks at: gathered while a model trains, for the weights that are scored."""

import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

from autocompress.techniques.layers import Layer


class ImportanceStatistics:
    """Gathers statistics of weights between mask updates, by the names in ``criteria.STATISTICS``.

    Args:
        weights: canonical name to parameter, of all tensors that are scored.
        layers: canonical name to layer, for those weights that a layer reads.
        wanted: names of the statistics that the criterion needs.
        needs_step: whether the criterion cannot tell weights apart before the first training step.
        seed: of the noise.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        layers: Mapping[str, Layer],
        wanted: frozenset[str],
        *,
        needs_step: bool,
        seed: int,
    ) -> None:
        self._weights, self._layers, self._wanted = weights, layers, wanted
        self._waits_for_step, self._seed = needs_step, seed
        self._stepped = False
        self._initial = self._copies() if "initial" in wanted else {}
        self._previous = self._at_update = self._copies() if "previous" in wanted else {}
        self._saliency, self._squared_input = _Total(), _Total()
        self._handles: list[RemovableHandle] = []

    def open(self) -> None:
        """Hook into the layers whose inputs the criterion looks at."""
        if "input_norm" in self._wanted:
            self._handles = [
                layer.module.register_forward_pre_hook(
                    partial(self._see_inputs, name), with_kwargs=True
                )
                for name, layer in self._layers.items()
            ]

    def close(self) -> None:
        """Remove all hooks."""
        while self._handles:
            self._handles.pop().remove()

    def missing(self) -> str | None:
        """Return what the criterion still waits for, or None once it can score."""
        if self._waits_for_step and not self._stepped:
            return "a training step (call apply() after each)"
        if "saliency" in self._wanted and not self._saliency.values:
            return "gradients (call after_backward() after each backward pass)"
        if "input_norm" in self._wanted and not self._squared_input.values:
            return "inputs (train the model inside `with` the sparsifier)"
        return None

    @torch.no_grad()
    def after_backward(self) -> None:
        """Take in the gradients of one backward pass."""
        if "saliency" in self._wanted:
            for name, weight in self._weights.items():
                if weight.grad is not None:
                    self._saliency.add(name, (weight.detach() * weight.grad).abs().float())

    def after_step(self) -> None:
        """Note that the weights have moved."""
        self._stepped = True
        self._previous = self._at_update

    def after_update(self) -> None:
        """Begin a new interval; what was seen before counts until something new is seen."""
        if "previous" in self._wanted:
            self._at_update = self._copies()
        self._saliency.close()
        self._squared_input.close()

    def about(self, name: str) -> dict[str, Tensor]:
        """Return the wanted statistics of one weight: float tensors that broadcast over it."""
        weight = self._weights[name].detach()
        sources: dict[str, Callable[[], Tensor]] = {
            "weight": lambda: weight,
            "initial": lambda: self._initial[name],
            "previous": lambda: self._previous[name],
            "saliency": lambda: self._saliency.values.get(name, torch.zeros_like(weight)),
            "input_norm": lambda: self._input_norm(name),
            "norm_scale": weight.abs,
            "noise": lambda: self._noise(name),
        }
        found = {key: sources[key]() for key in sorted(self._wanted)}
        return {key: t if t.dtype == torch.float64 else t.float() for key, t in found.items()}

    def _copies(self) -> dict[str, Tensor]:
        return {name: weight.detach().clone() for name, weight in self._weights.items()}

    def _noise(self, name: str) -> Tensor:
        weight = self._weights[name]
        generator = torch.Generator(weight.device)
        generator.manual_seed(zlib.crc32(name.encode()) ^ self._seed)
        return torch.rand(weight.shape, generator=generator, device=weight.device)

    def _see_inputs(
        self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if torch.is_grad_enabled():  # validation must not be seen
            for value in _inputs(args, kwargs):
                self._squared_input.add(name, _squares_by_channel(module, value.detach()))

    def _input_norm(self, name: str) -> Tensor:
        """Return the norms so that they broadcast over the weight; 0 for a layer never called."""
        layer = self._layers[name]
        module = layer.module
        squares = self._squared_input.values.get(name)
        if squares is None:
            return torch.zeros(1, device=self._weights[name].device)
        if not isinstance(module, _ConvNd):
            return squares.sqrt()
        by_group = squares.sqrt().reshape(module.groups, -1)
        by_filter = by_group.repeat_interleave(module.out_channels // module.groups, 0)
        return layer.original(by_filter[:, :, None, None, None])


class _Total:
    """Sums of tensors by name over an interval; the last closed one stands until new values."""

    def __init__(self) -> None:
        self.values: dict[str, Tensor] = {}
        self._closed: set[str] = set()

    def add(self, name: str, value: Tensor) -> None:
        if name in self._closed or name not in self.values:
            self.values[name] = value
            self._closed.discard(name)
        else:
            self.values[name] += value

    def close(self) -> None:
        self._closed = set(self.values)


def _inputs(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Tensor]:
    """Return what a layer's weight reads: the input, or an attention's query, key and value."""
    named = [kwargs[key] for key in ("input", "query", "key", "value") if key in kwargs]
    return [value for value in (*args[:3], *named) if isinstance(value, Tensor)]


def _squares_by_channel(module: nn.Module, value: Tensor) -> Tensor:
    """Sum a layer's squared inputs over everything but channels: ``[channels]``."""
    axis = value.dim() - 1
    if isinstance(module, _ConvNd):
        axis -= len(module.kernel_size)
    return value.float().square().movedim(axis, -1).flatten(0, -2).sum(0)
