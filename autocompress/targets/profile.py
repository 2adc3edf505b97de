"""Where the time of a call goes, layer by layer, in two models side by side."""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.results import LayerProfile, LayerWork
from autocompress.targets.cores import cpu_threads
from autocompress.targets.local import placed
from autocompress.targets.lock import DeviceLock

BLOCK_CALLS = 10  # of one model before the other has its turn; fewer where calls are slow
LEAST_BLOCKS = 2  # of each model, whatever the budget
MOST_BLOCKS = 10  # whatever the budget: medians of 90 calls and of thousands differ by some 2 %
DROPPED = 1  # first call of a block, which finds the other model's data in the caches
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@dataclass(frozen=True, kw_only=True)
class Profiling:
    """Where and how long layers are timed.

    Attributes:
        device: where both models run; ``None``: where the example is.
        threads: of the CPU, at least 1.
        channels_last: lay images and convolutions out with their channels last.
        budget_s: most seconds for the timed calls; each model is called at least five times,
            and some hundred times at most.
    """

    device: torch.device | None = None
    threads: int = 1
    channels_last: bool = False
    budget_s: float = 0.3


def profile_layers(
    baseline: nn.Module,
    candidate: nn.Module,
    example: Tensor,
    settings: Profiling = Profiling(),
) -> list[LayerProfile]:
    """Time each layer that has a weight, before and after compression.

    Copies of both models run in eager PyTorch, in alternating blocks. Hooks around each layer
    read the thread's CPU time (the clock, for several threads) or record CUDA events. A layer's
    time is the median over calls; what runs between layers (activations, pooling, additions, the
    packed projection of attention) is not in any row. Waits for the device and has it alone.

    Args:
        baseline: the original model.
        candidate: the compressed one, whose layers have kept their names; a layer that was
            factorized is a sequence of layers, whose times and work are added up.
        example: inputs of one call, ``[batch_size, ...]``.
        settings: device, threads, layout and time.

    Returns:
        one for each layer of ``baseline`` that was called, in the order of definition.

    Raises:
        ConfigurationError: channels come last and the inputs are no images.
    """
    # CPU time does not run on while others have the core, but shows one thread only.
    clock = time.thread_time_ns if settings.threads == 1 else time.perf_counter_ns
    device, layout = settings.device or example.device, settings.channels_last
    with cpu_threads(settings.threads), torch.inference_mode():
        first, inputs = placed(baseline, example, device, channels_last=layout)
        second, _ = placed(candidate, example, device, channels_last=layout)
        with DeviceLock(inputs.device).exclusive():
            smallest = _Watch(
                _smallest().to(device), torch.zeros(1, 1, 1, 1, device=device), clock
            )
            watches = [_Watch(first, inputs, clock), _Watch(second, inputs, clock), smallest]
            _alternate(watches, settings.budget_s)
    overheads = {_kind(s.layer): statistics.median(s.samples_ms) for s in smallest.seen.values()}
    before, after = (watch.layers(overheads) for watch in watches[:2])
    return [
        LayerProfile(
            name=name,
            type=type(layer).__name__,
            before=before[name],
            after=_added_up([after[part] for part in after if _is_part(part, name)]),
        )
        for name, layer in first.named_modules()
        if name in before
    ]


def _is_part(name: str, whole: str) -> bool:
    return name == whole or name.startswith(f"{whole}.")


def _added_up(parts: list[LayerWork]) -> LayerWork | None:
    if not parts:
        return None
    return LayerWork(
        ms=sum(part.ms for part in parts),
        macs=sum(part.macs for part in parts),
        bytes=sum(part.bytes for part in parts),
        overhead_ms=sum(part.overhead_ms for part in parts),
        widths=tuple(width for part in parts for width in part.widths),
    )


@dataclass
class _Seen:
    """One layer: what it is, its work in one call of the model, and its times."""

    layer: nn.Module
    calls: int = 0
    macs: int = 0
    bytes: int = 0
    samples_ms: list[float] = field(default_factory=list)


class _Watch:
    """Hooks on the layers of one model, which this object may keep and change."""

    def __init__(self, model: nn.Module, inputs: Tensor, clock: Callable[[], int]) -> None:
        self.model = model
        self.inputs = inputs
        self.clock = clock
        self.seen: dict[str, _Seen] = {}
        self._marks: dict[str, list[Any]] = defaultdict(list)
        named = {name: layer for name, layer in model.named_modules() if _is_leaf(layer)}
        counting = [layer.register_forward_hook(self._count(n)) for n, layer in named.items()]
        model(inputs)
        for handle in counting:
            handle.remove()
        for name, seen in self.seen.items():
            seen.layer.register_forward_pre_hook(self._mark(name))
            seen.layer.register_forward_hook(self._mark(name))

    def call(self) -> float:
        """Call the model once and add a sample to each layer; return the seconds it took."""
        self._marks.clear()
        start = time.perf_counter()
        self.model(self.inputs)
        if self.inputs.is_cuda:
            torch.cuda.synchronize(self.inputs.device)
        seconds = time.perf_counter() - start
        for name, marks in self._marks.items():
            pairs = zip(marks[::2], marks[1::2], strict=True)
            self.seen[name].samples_ms.append(sum(_between(a, b) for a, b in pairs))
        return seconds

    def forget(self, calls: int) -> None:
        """Drop the last samples."""
        for seen in self.seen.values():
            del seen.samples_ms[-calls:]

    def layers(self, overheads: dict[str, float]) -> dict[str, LayerWork]:
        """Return what was seen of each layer."""
        return {
            name: LayerWork(
                ms=statistics.median(seen.samples_ms),
                macs=seen.macs,
                bytes=seen.bytes,
                overhead_ms=seen.calls * overheads[_kind(seen.layer)],
                widths=_widths(seen.layer),
            )
            for name, seen in self.seen.items()
        }

    def _count(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            seen = self.seen.setdefault(name, _Seen(layer))
            seen.calls += 1
            seen.macs += _macs(layer, inputs, output)
            seen.bytes += sum(
                tensor.numel() * tensor.element_size()
                for tensor in (*_tensors(inputs), *_tensors(output), *layer.parameters())
            )

        return hook

    def _mark(self, name: str) -> Callable[..., None]:
        marks, clock, cuda = self._marks, self.clock, self.inputs.is_cuda

        def hook(*_: Any) -> None:
            if cuda:
                event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
                event.record()
                marks[name].append(event)
            else:
                marks[name].append(clock())

        return hook


def _between(start: Any, end: Any) -> float:
    """Return the milliseconds between two marks: CUDA events, or nanoseconds of the clock."""
    if isinstance(start, int):
        return float(end - start) / 1e6
    return float(start.elapsed_time(end))


def _smallest() -> nn.Module:
    """Return a model of the smallest layers, for a one-pixel image: one multiplication each."""
    layers = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(1, 1)
    return nn.Sequential(*layers).eval()


def _alternate(watches: list[_Watch], budget_s: float) -> None:
    """Call the models in alternating blocks until there are enough, or the time is up."""
    start = time.perf_counter()
    slowest_s = max(watch.call() for watch in watches)
    calls = int(min(BLOCK_CALLS, max(DROPPED + 1, budget_s / (4 * max(slowest_s, 1e-6)))))
    for watch in watches:
        watch.forget(1)
    blocks = 0
    while blocks < LEAST_BLOCKS or (
        blocks < MOST_BLOCKS and time.perf_counter() - start < budget_s
    ):
        for watch in watches if blocks % 2 == 0 else reversed(watches):
            for _ in range(DROPPED):
                watch.call()
            watch.forget(DROPPED)
            for _ in range(calls - DROPPED):
                watch.call()
        blocks += 1


def _is_leaf(layer: nn.Module) -> bool:
    weight = layer._parameters.get("weight")
    return isinstance(weight, Tensor) and not any(layer.children())


def _kind(layer: nn.Module) -> str:
    if isinstance(layer, CONVOLUTIONS + TRANSPOSED):
        return "convolution"
    weight = layer._parameters["weight"]
    return "norm" if weight is not None and weight.ndim == 1 else "product"


def _widths(layer: nn.Module) -> tuple[int, ...]:
    weight = layer._parameters["weight"]
    if weight is None or weight.ndim < 2 or isinstance(layer, nn.Embedding):
        return ()
    if isinstance(layer, TRANSPOSED):
        return (layer.out_channels,)
    return (weight.shape[0],)


def _macs(layer: nn.Module, inputs: Any, output: Any) -> int:
    """Return the multiply-accumulates of a call; a norm counts one for each output."""
    weight = layer._parameters["weight"]
    outputs = sum(tensor.numel() for tensor in _tensors(output))
    if weight is None or isinstance(layer, nn.Embedding):
        return 0
    if isinstance(layer, TRANSPOSED):
        return sum(tensor.numel() for tensor in _tensors(inputs)) * weight[0].numel()
    return outputs * (weight[0].numel() if weight.ndim > 1 else 1)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
