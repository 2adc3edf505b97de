"""PyTorch as a target: operator by operator, compiled, or as a CUDA graph.

What is deployed is a network. Latency is measured on a copy of it in the runtime; outputs, which
do not depend on the runtime but for rounding, are computed operator by operator.
"""

import copy
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from autocompress.errors import ConfigurationError
from autocompress.targets.cores import cpu_threads
from autocompress.targets.half import Half
from autocompress.targets.local import (
    LocalSession,
    LocalTarget,
    placed,
    require_batch_size,
)
from autocompress.targets.precision import require_precision
from autocompress.targets.size import state_bytes
from autocompress.targets.target import Artifact
from autocompress.targets.timing import Call, timed_by_clock, timed_by_events

GRAPH_WARM_UPS = 3  # calls before a CUDA graph is captured, as PyTorch's documentation asks for


class TorchTarget(LocalTarget):
    """What the runtimes of PyTorch share: float32, and float16 on a GPU."""

    @property
    def precisions(self) -> tuple[str, ...]:
        """Return what it can run: float16 is no faster on CPUs."""
        return ("fp32", "fp16") if self.torch_device().type == "cuda" else ("fp32",)

    def prepare(
        self, model: nn.Module, precision: str, *, example: Tensor, calibration: Iterator[Tensor]
    ) -> Artifact:
        """Return the network itself, or a copy in float16.

        Raises:
            ConfigurationError: the target does not run this precision.
        """
        require_precision(precision, self.precisions, self.name)
        network = Half(model) if precision == "fp16" else _in_evaluation_mode(model)
        return Artifact(
            content=network,
            format="module",
            precision=precision,
            size_bytes=state_bytes(network),
        )

    def open(self, artifact: Artifact, example: Tensor) -> LocalSession:
        """Copy the network into the runtime.

        Raises:
            ConfigurationError: the artifact is a file, the example has another batch size, or
                the runtime can't run the model.
        """
        if not isinstance(artifact.content, nn.Module):
            raise ConfigurationError(
                f"runtime {self.runtime!r} runs networks, not files of format {artifact.format!r}"
            )
        require_batch_size(example, self.batch_size)
        own, inputs = placed(
            artifact.content, example, self.torch_device(), channels_last=self.channels_last
        )
        with cpu_threads(self.threads):
            call = self.load(own, inputs)
        on_stream = inputs.is_cuda
        timed = timed_by_events(call, inputs.device) if on_stream else timed_by_clock(call)
        return LocalSession(_Outputs(artifact.content), timed, self.threads)

    @abstractmethod
    def load(self, model: nn.Module, example: Tensor) -> Call:
        """Return a call of a model, in evaluation mode, which the runtime may keep and change.

        Raises:
            ConfigurationError: the runtime can't run the model.
        """


class TorchEager(TorchTarget):
    """PyTorch as it is, operator by operator."""

    runtime = "torch"
    quick = True

    def load(self, model: nn.Module, example: Tensor) -> Call:
        """Return a plain call."""
        return lambda: model(example)


class TorchCompiled(TorchTarget):
    """``torch.compile`` of the exported graph, for this batch size, with frozen weights.

    Frozen weights are constants, which the compiler folds and lays out for its kernels. The graph
    is exported first so that every model has code of its own: compiled versions of one
    ``forward`` share a limit, after which PyTorch falls back to eager silently.
    """

    runtime = "torch-compile"

    def load(self, model: nn.Module, example: Tensor) -> Call:
        """Export, compile and call once."""
        try:
            exported = torch.export.export(model, (example,)).module()
            compiled = torch.compile(
                exported, dynamic=False, fullgraph=True, options={"freezing": True}
            )
            with torch.inference_mode():
                compiled(example)
        except Exception as error:
            raise ConfigurationError(
                f"runtime 'torch-compile' can't run this model here: "
                f"{type(error).__name__}: {error}"
            ) from error
        return lambda: compiled(example)


class CudaGraph(TorchTarget):
    """A CUDA graph: all kernels of a call, captured once and launched together."""

    runtime = "cuda-graph"
    quick = True

    def check(self) -> None:
        """Check that the device is a GPU.

        Raises:
            ConfigurationError: it is not.
        """
        if self.torch_device().type != "cuda":
            raise ConfigurationError("runtime 'cuda-graph' needs device = 'cuda'")

    def load(self, model: nn.Module, example: Tensor) -> Call:
        """Warm up on a stream of its own, then capture one call."""
        self.check()
        stream = torch.cuda.Stream(example.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(example.device))
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.no_grad(), torch.cuda.stream(stream):
                for _ in range(GRAPH_WARM_UPS):
                    model(example)
            torch.cuda.current_stream(example.device).wait_stream(stream)
            with torch.no_grad(), torch.cuda.graph(graph):
                output = model(example)
        except RuntimeError as error:
            raise ConfigurationError(
                f"runtime 'cuda-graph' can't capture this model: {error}"
            ) from error
        return _Replay(graph, output, model, example)


@dataclass(frozen=True)
class _Replay:
    """A captured call, and what it reads: a graph knows tensors' memory, but does not keep it."""

    graph: torch.cuda.CUDAGraph
    output: Any
    model: nn.Module
    example: Tensor

    def __call__(self) -> Any:
        self.graph.replay()
        return self.output


@dataclass(frozen=True)
class _Outputs:
    """Runs a network where it is; outputs come back to the device of the inputs."""

    network: nn.Module

    def __call__(self, inputs: Tensor) -> Any:
        tensors = chain(self.network.parameters(), self.network.buffers())
        home = next((tensor.device for tensor in tensors), inputs.device)
        outputs = self.network(inputs.to(home))
        if home == inputs.device:
            return outputs
        return tree_map_only(Tensor, lambda tensor: tensor.to(inputs.device), outputs)


def _in_evaluation_mode(model: nn.Module) -> nn.Module:
    """Return the model itself where all of it is in evaluation mode, else a copy that is."""
    if any(module.training for module in model.modules()):
        return copy.deepcopy(model).eval()
    return model
