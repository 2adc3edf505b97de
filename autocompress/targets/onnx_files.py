"""ONNX files: written from a model, opened in ONNX Runtime."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from autocompress.errors import ConfigurationError
from autocompress.targets.programs import Batch, export_program

Forward = Callable[[Tensor], Any]
"""From inputs ``[n, ...]`` to outputs: a tensor, or a tuple of tensors, each ``[n, ...]``."""

ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
INPUT, OUTPUT = "inputs", "output"
NO_METADATA: Mapping[str, str] = MappingProxyType({})


def require_onnx() -> None:
    """Check that the packages of the extra ``onnx`` are installed.

    Raises:
        ConfigurationError: some are missing; it names them and what installs them.
    """
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"ONNX needs {', '.join(missing)}: pip install 'autocompress[onnx]'"
        )


def write_onnx(
    model: nn.Module, example: Tensor, path: Path, *, metadata: Mapping[str, str] = NO_METADATA
) -> Batch:
    """Write a model as one ONNX file, weights inside.

    Its input is called ``inputs``, its output ``output``, or ``output_0``, ``output_1``, ... where
    the model returns several tensors.

    Args:
        model: in evaluation mode, on the device of the example; it is not changed.
        example: inputs ``[n, ...]``, at least one.
        path: the file.
        metadata: texts to store in the file's ``metadata_props``.

    Returns:
        the batch sizes that the file can run; where it is 1, a warning was logged.

    Raises:
        ConfigurationError: the model can't be exported, returns something else than a tensor or
            a tuple of tensors, or packages are missing.
    """
    require_onnx()
    program, batch = export_program(model, example)
    names = _output_names(program)
    try:
        written = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=[INPUT], output_names=names
        )
        if written is None:
            raise RuntimeError("the exporter returned nothing")
        written.model.metadata_props.update(metadata)
        written.save(path, external_data=False)
    except Exception as error:  # the exporter raises errors of many packages
        raise ConfigurationError(
            f"the model can't be exported to ONNX: {type(error).__name__}: {error}"
        ) from error
    return batch


def _output_names(program: ExportedProgram) -> list[str]:
    spec = program.call_spec.out_spec
    if spec is not None and spec.is_leaf():
        return [OUTPUT]
    if spec is None or spec.type not in (tuple, list) or spec.num_leaves != spec.num_children:
        found = "nothing" if spec is None else spec.type.__name__
        raise ConfigurationError(
            f"ONNX: expected a model that returns a tensor or a tuple of tensors, not {found}"
        )
    return [f"{OUTPUT}_{number}" for number in range(spec.num_leaves)]


def provider_of(device: torch.device) -> str:
    """Return what ONNX Runtime calls a device.

    Raises:
        ConfigurationError: packages are missing, or the installed build does not support the
            device.
    """
    require_onnx()
    import onnxruntime

    provider = "CUDAExecutionProvider" if device.type == "cuda" else "CPUExecutionProvider"
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise ConfigurationError(
            f"ONNX Runtime on {device.type} needs {provider}; the installed build has "
            f"{', '.join(available)}"
        )
    return provider


def open_session(source: Path | bytes, *, threads: int, device: torch.device) -> Any:
    """Open an ONNX file in ONNX Runtime.

    Args:
        source: the file, or its content.
        threads: of the CPU.
        device: the CPU or a CUDA device.

    Returns:
        an ``onnxruntime.InferenceSession``.

    Raises:
        ConfigurationError: packages are missing, the installed build does not support the
            device, or the file is damaged.
    """
    provider = provider_of(device)
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(source, options, providers=[provider])
    except Exception as error:  # its errors share no class
        raise ConfigurationError(f"ONNX Runtime can't open the model: {error}") from error
    if session.get_providers()[0] != provider:
        raise ConfigurationError(
            f"ONNX Runtime on {device.type} needs {provider}, which is installed but can't be "
            "loaded here (its CUDA libraries are missing or of another version)"
        )
    return session


def batch_of(session: Any) -> Batch:
    """Return the batch sizes that a session runs."""
    return 1 if session.get_inputs()[0].shape[0] == 1 else "any"


def runner(session: Any) -> Forward:
    """Return a session as a function from inputs, on any device, to outputs on the same."""
    name = session.get_inputs()[0].name
    size = 1 if batch_of(session) == 1 else None

    def run(inputs: Tensor) -> Any:
        parts = torch.split(inputs.detach().cpu(), size or len(inputs))
        by_part = [session.run(None, {name: part.numpy()}) for part in parts]
        outputs = tuple(
            torch.cat([torch.from_numpy(array) for array in arrays]).to(inputs.device)
            for arrays in zip(*by_part, strict=True)
        )
        return outputs[0] if len(outputs) == 1 else outputs

    return run
