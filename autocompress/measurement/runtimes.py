"""What a model is run by: each runtime turns a model and an example into a call to time.

A runtime receives a model in evaluation mode, which it may keep and change, on the device of the
example.
"""

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.errors import ConfigurationError
from autocompress.registry import Registry

Call = Callable[[], Any]
Prepare = Callable[[nn.Module, Tensor], Call]
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
GRAPH_WARM_UPS = 3  # calls before a CUDA graph is captured, as PyTorch's documentation asks for


def torch_eager(model: nn.Module, example: Tensor) -> Call:
    """PyTorch as it is, operator by operator."""
    return lambda: model(example)


def torch_compiled(model: nn.Module, example: Tensor) -> Call:
    """``torch.compile`` of the exported graph, for this batch size.

    The graph is exported first so that every model has code of its own: compiled versions of
    one ``forward`` share a limit, after which PyTorch falls back to eager silently.

    Raises:
        ConfigurationError: the model can't be exported or compiled here.
    """
    try:
        exported = torch.export.export(model, (example,)).module()
        compiled = torch.compile(exported, dynamic=False, fullgraph=True)
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
    if example.device.type != "cuda":
        raise ConfigurationError("runtime 'cuda-graph' needs latency.device = 'cuda'")
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

    def replay() -> Any:
        graph.replay()
        return output

    return replay


def onnx_runtime(model: nn.Module, example: Tensor) -> Call:
    """ONNX Runtime, on the CPU or on CUDA, with as many threads as PyTorch has here.

    Raises:
        ConfigurationError: the extra packages are not installed, the device is not supported by
            the installed build, or the model can't be exported.
    """
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"runtime 'onnxruntime' needs {', '.join(missing)}: pip install 'autocompress[onnx]'"
        )
    import onnxruntime

    provider = "CUDAExecutionProvider" if example.is_cuda else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise ConfigurationError(
            f"runtime 'onnxruntime' on {example.device.type} needs {provider}; the installed "
            f"build has {', '.join(onnxruntime.get_available_providers())}"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            torch.onnx.export(model, (example,), path, dynamo=True, verbose=False)
        except Exception as error:
            raise ConfigurationError(
                f"the model can't be exported to ONNX: {type(error).__name__}: {error}"
            ) from error
        session = onnxruntime.InferenceSession(path, options, providers=[provider])
    feed = {session.get_inputs()[0].name: example.detach().cpu().numpy()}
    return lambda: session.run(None, feed)


RUNTIMES: Registry[Prepare] = Registry(
    "runtime",
    {
        "torch": torch_eager,
        "torch-compile": torch_compiled,
        "cuda-graph": cuda_graph,
        "onnxruntime": onnx_runtime,
    },
)
