"""What a model is run by: each runtime turns a model and an example into a call to time.

A runtime receives a model in evaluation mode, which it may keep and change, on the device of the
example.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.conversion.onnx_files import (
    INPUT,
    batch_of,
    open_session,
    provider_of,
    write_onnx,
)
from autocompress.errors import ConfigurationError
from autocompress.registry import Registry

Call = Callable[[], Any]
Prepare = Callable[[nn.Module, Tensor], Call]
GRAPH_WARM_UPS = 3  # calls before a CUDA graph is captured, as PyTorch's documentation asks for


def torch_eager(model: nn.Module, example: Tensor) -> Call:
    """PyTorch as it is, operator by operator."""
    return lambda: model(example)


def torch_compiled(model: nn.Module, example: Tensor) -> Call:
    """``torch.compile`` of the exported graph, for this batch size, with frozen weights.

    Frozen weights are constants, which the compiler folds and lays out for its kernels. The graph
    is exported first so that every model has code of its own: compiled versions of one
    ``forward`` share a limit, after which PyTorch falls back to eager silently.

    Raises:
        ConfigurationError: the model can't be exported or compiled here.
    """
    try:
        exported = torch.export.export(model, (example,)).module()
        compiled = torch.compile(
            exported, dynamic=False, fullgraph=True, options={"freezing": True}
        )
        with torch.inference_mode():
            compiled(example)
    except Exception as error:
        raise ConfigurationError(
            f"runtime 'torch-compile' can't run this model here: {type(error).__name__}: {error}"
        ) from error
    return lambda: compiled(example)


def cuda_graph(model: nn.Module, example: Tensor) -> Call:
    """A CUDA graph: all kernels of a call, captured once and launched together.

    Raises:
        ConfigurationError: the example is not on a CUDA device, or the model can't be captured.
    """
    require_runtime("cuda-graph", example.device)
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


def onnx_runtime(model: nn.Module, example: Tensor) -> Call:
    """ONNX Runtime, on the CPU or on CUDA, with as many threads as PyTorch has here.

    Raises:
        ConfigurationError: the extra packages are not installed, the device is not supported by
            the installed build, or the model can't be exported or takes another batch size.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(model, example, path)
        return onnx_file(path, example)


def onnx_file(source: Path | bytes, example: Tensor) -> Call:
    """Prepare a call of an ONNX file, or of its content, as ``onnx_runtime`` does of a model.

    Raises:
        ConfigurationError: as ``onnx_runtime``.
    """
    session = open_session(source, threads=torch.get_num_threads(), device=example.device)
    if batch_of(session) == 1 and len(example) != 1:
        raise ConfigurationError(
            f"runtime 'onnxruntime': the exported model takes one image at a time, not "
            f"latency.batch_size = {len(example)}"
        )
    feed = {INPUT: example.detach().cpu().numpy()}
    return lambda: session.run(None, feed)


def require_runtime(name: str, device: torch.device) -> None:
    """Check that a runtime can run here, before there is a model for it.

    Raises:
        ConfigurationError: the device is not one of its, or packages are missing.
    """
    if name == "cuda-graph" and device.type != "cuda":
        raise ConfigurationError("runtime 'cuda-graph' needs latency.device = 'cuda'")
    if name == "onnxruntime":
        provider_of(device)


RUNTIMES: Registry[Prepare] = Registry(
    "runtime",
    {
        "torch": torch_eager,
        "torch-compile": torch_compiled,
        "cuda-graph": cuda_graph,
        "onnxruntime": onnx_runtime,
    },
)
