"""ExecuTorch with XNNPACK, for phones and other devices with ARM or x86 processors."""

from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram

from autocompress.bundles.formats.base import Batch, Exportable, Format, Forward
from autocompress.bundles.outputs import one_or_tuple
from autocompress.targets.programs import export_one_input


class ExecuTorch(Format):
    """A ``.pte`` file in float32, for one input at a time, lowered to XNNPACK."""

    filename = "model.pte"
    baseline = "executorch"
    packages = ("executorch",)
    extra = "executorch"

    @staticmethod
    def write(source: Exportable, path: Path) -> Batch:
        """Lower the exported graph; what XNNPACK can't run is left to portable kernels."""
        return _lower(export_one_input(source.model, source.example), path)

    @staticmethod
    def read(path: Path) -> Forward:
        """Load into ExecuTorch's runtime; its number of threads holds for the whole process."""
        from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool
        from executorch.runtime import Runtime

        _unsafe_reset_threadpool(torch.get_num_threads())
        program = Runtime.get().load_program(path)
        method = program.load_method("forward")

        def run(inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
            outputs = method.execute([inputs.contiguous()])
            # copies, since the runtime writes the next outputs to the same place
            return one_or_tuple([output.clone() for output in outputs])

        return run


class ExecuTorchInt8(ExecuTorch):
    """A ``.pte`` file in 8 bits: static, a scale per channel, calibrated on training inputs."""

    filename = "model-int8.pte"
    exact = False
    calibrated = True

    @staticmethod
    def write(source: Exportable, path: Path) -> Batch:
        """Quantize the exported graph, symmetrically, then lower it."""
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
            XNNPACKQuantizer,
            get_symmetric_quantization_config,
        )
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        program = export_one_input(source.model, source.example)
        settings = get_symmetric_quantization_config(is_per_channel=True)
        prepared = prepare_pt2e(program.module(), XNNPACKQuantizer().set_global(settings))
        with torch.no_grad():
            for part in torch.split(source.calibration, 1):
                prepared(part)
        return _lower(export_one_input(convert_pt2e(prepared), source.example), path)


def _lower(program: ExportedProgram, path: Path) -> Batch:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    path.write_bytes(lowered.to_executorch().buffer)
    return 1
