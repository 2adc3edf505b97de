"""Latency of a model: how long one call takes, alone or compared with a baseline.

The protocol and why: a call-by-call alternation measures cold caches, so blocks alternate; under
load medians collapse where the 10th percentile holds, so contention is watched; and machines
drift, so what is measured is the ratio to a baseline timed in the same seconds, and the latency
is that ratio times the baseline's own reference.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.errors import ConfigurationError
from autocompress.measurement.lock import DeviceLock
from autocompress.measurement.runtimes import RUNTIMES, onnx_file, require_runtime
from autocompress.measurement.sampling import Effort, Outcome, TimedCalls, sample
from autocompress.measurement.statistics import Interval, Statistic, percentiles_ms
from autocompress.measurement.timing import timed_by_clock, timed_by_events
from autocompress.registry import did_you_mean

DEVICES = ("auto", "cpu", "cuda")
STORED = 1000  # samples kept in a Latency, evenly spaced over all that were taken


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencySettings:
    """How latency is measured.

    Attributes:
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: the GPU where there is one.
        runtime: name in ``RUNTIMES``: what the model will be deployed in.
        batch_size: images per call, at least 1.
        threads: of the CPU, at least 1.
        budget_s: seconds that one measurement may take, above 0, after preparing the models.
        width: half the 95 % interval of the ratio, as a fraction, at which measuring ends.
        contention: fraction of time that other processes may take, in [0, 1], before medians
            are given up for CPU times or 10th percentiles.
        channels_last: lay images and convolutions out with their channels last.
    """

    device: str = "auto"
    runtime: str = "torch"
    batch_size: int = 1
    threads: int = 1
    budget_s: float = 5.0
    width: float = 0.02
    contention: float = 0.1
    channels_last: bool = False

    def __post_init__(self) -> None:
        checks = {
            f"device: expected one of {', '.join(DEVICES)}, not {self.device!r}"
            f"{did_you_mean(self.device, DEVICES)}": self.device in DEVICES,
            f"runtime: expected one of {', '.join(RUNTIMES)}, not {self.runtime!r}"
            f"{did_you_mean(self.runtime, RUNTIMES)}": self.runtime in RUNTIMES,
            f"batch_size: expected at least 1, not {self.batch_size}": self.batch_size >= 1,
            f"threads: expected at least 1, not {self.threads}": self.threads >= 1,
            f"budget_s: expected more than 0, not {self.budget_s}": self.budget_s > 0,
            f"width: expected more than 0, not {self.width}": self.width > 0,
            f"contention: expected 0 to 1, not {self.contention}": 0 <= self.contention <= 1,
        }
        problems = [problem for problem, passed in checks.items() if not passed]
        if problems:
            raise ConfigurationError(problems)

    def torch_device(self) -> torch.device:
        """Return the device.

        Raises:
            ConfigurationError: it is ``"cuda"`` and there is none.
        """
        available = torch.cuda.is_available()
        if self.device == "cuda" and not available:
            raise ConfigurationError("device 'cuda': PyTorch finds no CUDA device here")
        return torch.device("cuda" if available and self.device != "cpu" else "cpu")

    def require(self) -> None:
        """Check that this machine has the device, and what the runtime needs.

        Raises:
            ConfigurationError: it has not.
        """
        require_runtime(self.runtime, self.torch_device())


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """One measured model.

    Attributes:
        latency_ms: milliseconds per call: ratio x reference of the baseline.
        ratio: candidate / baseline; 1 for the baseline itself.
        ratio_low: lower end of the ratio's 95 % interval.
        ratio_high: upper end.
        p10_ms: 10th percentile of the model's own calls.
        p50_ms: median.
        p90_ms: 90th percentile.
        n: calls that count.
        contention: mean fraction of time that other processes took, in [0, 1].
        flag: why the number should be read with care, None where there is no reason.
        statistic: of the blocks: ``"median"``; under contention the median CPU time ``"cpu"``,
            or ``"p10"``, where the calling thread's time is not the whole work.
        samples_ms: up to 1,000 of the calls, evenly spaced in time.
    """

    latency_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    p10_ms: float
    p50_ms: float
    p90_ms: float
    n: int
    contention: float
    flag: str | None
    statistic: Statistic
    samples_ms: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**asdict(self), "samples_ms": [round(value, 6) for value in self.samples_ms]}


def measure_reference(model: nn.Module, example: Tensor, settings: LatencySettings) -> Latency:
    """Measure a model by itself: the reference that candidates are later compared with.

    Waits for the device and has it alone meanwhile. The model itself is not changed: a copy in
    evaluation mode is run.

    Args:
        model: any model.
        example: images [batch_size, channels, height, width].
        settings: device, runtime and effort.

    Raises:
        ConfigurationError: device or runtime are not available, the example has another batch
            size, or the runtime can't run the model.
    """
    with cpu_threads(settings.threads):
        timed = _prepare(model, example, settings)
        outcome = _sample_alone(timed, None, settings)
    found = outcome.interval
    return _latency(
        outcome,
        latency_ms=found.value,
        ratio=Interval(1.0, found.low / found.value, found.high / found.value),
    )


class Ruler:
    """Measures candidates in alternation with one baseline, which is prepared only once.

    Exporting or compiling the baseline for its runtime costs seconds to minutes; that is done
    at the first measurement and kept. Use it in one thread at a time.

    Attributes:
        baseline: the model to compare with.
        example: the images that every call gets.
        settings: device, runtime and effort.
    """

    def __init__(
        self,
        baseline: nn.Module,
        example: Tensor,
        settings: LatencySettings,
        *,
        reference_ms: float,
    ) -> None:
        """Keep what to compare with; nothing is run yet.

        Args:
            baseline: the model to compare with, as it is at the first measurement.
            example: images [batch_size, channels, height, width].
            settings: device, runtime and effort.
            reference_ms: the baseline's own latency, from :func:`measure_reference`.
        """
        self.baseline = baseline
        self.example = example
        self.settings = settings
        self._reference_ms = reference_ms
        self._prepared: TimedCalls | None = None

    @property
    def runtime(self) -> str:
        """Name in ``RUNTIMES``."""
        return self.settings.runtime

    def measure(self, candidate: nn.Module | bytes, *, budget_s: float | None = None) -> Latency:
        """Measure a candidate.

        Waits for the device and has it alone meanwhile. Neither model is changed: copies in
        evaluation mode are run.

        Args:
            candidate: the model to measure, or the content of an ONNX file, which the runtime
                ``"onnxruntime"`` takes.
            budget_s: seconds, instead of the settings'.

        Raises:
            ConfigurationError: as :func:`measure_reference`, or the runtime takes no ONNX file.
        """
        settings = self.settings if budget_s is None else replace(self.settings, budget_s=budget_s)
        with cpu_threads(settings.threads):
            if self._prepared is None:
                self._prepared = _prepare(self.baseline, self.example, settings)
            timed = _prepare(candidate, self.example, settings)
            outcome = _sample_alone(timed, self._prepared, settings)
        ratio = outcome.interval
        return _latency(outcome, latency_ms=ratio.value * self._reference_ms, ratio=ratio)


@contextmanager
def cpu_threads(count: int) -> Iterator[None]:
    """Let PyTorch use this many CPU threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _prepare(model: nn.Module | bytes, example: Tensor, settings: LatencySettings) -> TimedCalls:
    """Copy a model to the device and hand it to the runtime."""
    if isinstance(model, bytes):
        if settings.runtime != "onnxruntime":
            raise ConfigurationError(
                f"an ONNX file runs in runtime 'onnxruntime', not {settings.runtime!r}"
            )
        return timed_by_clock(onnx_file(model, _placed_images(example, settings)))
    own, images = placed(model, example, settings)
    call = RUNTIMES[settings.runtime](own, images)
    queued = images.is_cuda and settings.runtime != "onnxruntime"
    return timed_by_events(call, images.device) if queued else timed_by_clock(call)


def placed(
    model: nn.Module, example: Tensor, settings: LatencySettings
) -> tuple[nn.Module, Tensor]:
    """Copy a model, in evaluation mode, and its images to the device and memory layout.

    Raises:
        ConfigurationError: the device is not available, or the example has another batch size.
    """
    images = _placed_images(example, settings)
    own = copy.deepcopy(model).eval().to(images.device)
    return own.to(memory_format=_layout(settings)), images  # training may have left another


def _placed_images(example: Tensor, settings: LatencySettings) -> Tensor:
    device = settings.torch_device()
    if example.ndim == 0 or len(example) != settings.batch_size:
        raise ConfigurationError(
            f"expected {settings.batch_size} example images (batch_size), not shape "
            f"{list(example.shape)}"
        )
    return example.detach().to(device).contiguous(memory_format=_layout(settings))


def _layout(settings: LatencySettings) -> torch.memory_format:
    return torch.channels_last if settings.channels_last else torch.contiguous_format


def _sample_alone(
    candidate: TimedCalls, baseline: TimedCalls | None, settings: LatencySettings
) -> Outcome:
    effort = Effort(
        budget_s=settings.budget_s, width=settings.width, contention=settings.contention
    )
    with DeviceLock(settings.torch_device()).exclusive():
        return sample(candidate, effort, baseline=baseline)


def _latency(outcome: Outcome, *, latency_ms: float, ratio: Interval) -> Latency:
    samples = [value for block in outcome.candidate for value in block.samples_ms]
    step = max(1, -(-len(samples) // STORED))
    p10, p50, p90 = percentiles_ms(outcome.candidate)
    return Latency(
        latency_ms=latency_ms,
        ratio=ratio.value,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        p10_ms=p10,
        p50_ms=p50,
        p90_ms=p90,
        n=len(samples),
        contention=outcome.contention,
        flag=outcome.flag,
        statistic=outcome.statistic,
        samples_ms=tuple(samples[::step]),
    )
