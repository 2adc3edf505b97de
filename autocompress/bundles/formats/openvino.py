"""OpenVINO, for processors and graphics chips of Intel."""

from pathlib import Path

import torch
from torch import Tensor

from autocompress.bundles.formats.base import Batch, Exportable, Format, Forward
from autocompress.bundles.outputs import one_or_tuple
from autocompress.targets.programs import export_program


class OpenVino(Format):
    """OpenVINO's intermediate representation in float32; metadata in its ``rt_info``."""

    filename = "model.xml"
    companions = ("model.bin",)
    baseline = "openvino"
    packages = ("openvino",)
    extra = "openvino"

    @staticmethod
    def write(source: Exportable, path: Path) -> Batch:
        """Convert the exported graph; the weights go to a file beside, in float32 too."""
        import openvino

        program, batch = export_program(source.model, source.example)
        shape = [-1 if batch == "any" else 1, *source.example.shape[1:]]
        model = openvino.convert_model(program, input=openvino.PartialShape(shape))
        for name, text in source.metadata.items():
            model.set_rt_info(text, ["autocompress", name])
        openvino.save_model(model, path, compress_to_fp16=False)
        return batch

    @staticmethod
    def read(path: Path) -> Forward:
        """Compile for the CPU, to compute in float32."""
        import openvino

        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "f32",  # some processors would else choose bfloat16
        }
        compiled = openvino.Core().compile_model(path, "CPU", settings)

        def run(inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
            found = compiled(inputs.numpy())
            return one_or_tuple([torch.tensor(found[i]) for i in range(len(compiled.outputs))])

        return run
