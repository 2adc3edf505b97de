"""ONNX, for ONNX Runtime and most other deployment tools."""

from pathlib import Path

import torch

from autocompress.errors import ConfigurationError
from autocompress.export.formats.base import Batch, Exportable, Format, Run, exported


class Onnx(Format):
    """ONNX in float32."""

    filename = "model.onnx"
    baseline = "onnx"
    packages = ("onnx", "onnxruntime", "onnxscript")
    extra = "onnx"

    @staticmethod
    def write(source: Exportable, path: Path) -> Batch:
        """Write by ``torch.onnx.export`` from the exported graph, weights inside the file."""
        program, batch = exported(source.model, source.example)
        try:
            written = torch.onnx.export(
                program, dynamo=True, verbose=False,
                input_names=["images"], output_names=["logits"],
            )  # fmt: skip
            assert written is not None
            written.model.metadata_props.update(source.metadata)
            written.save(path, external_data=False)
        except Exception as error:
            raise ConfigurationError(f"the model can't be exported to ONNX: {error}") from error
        return batch

    @staticmethod
    def read(path: Path) -> Run:
        """Read into ONNX Runtime on the CPU."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(path, options, providers=providers)
        name = session.get_inputs()[0].name
        return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])
