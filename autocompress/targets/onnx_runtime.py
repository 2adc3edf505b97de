"""ONNX Runtime as a target, on the CPU or on CUDA: what is deployed is a file."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from torch import Tensor, nn

from autocompress.errors import ConfigurationError
from autocompress.results import Fingerprint
from autocompress.targets.fingerprint import version_of
from autocompress.targets.half import Half
from autocompress.targets.int8 import quantize
from autocompress.targets.local import LocalSession, LocalTarget, require_batch_size
from autocompress.targets.lock import DeviceLock
from autocompress.targets.onnx_files import (
    batch_of,
    open_session,
    provider_of,
    runner,
    write_onnx,
)
from autocompress.targets.precision import require_precision
from autocompress.targets.target import Artifact
from autocompress.targets.timing import timed_by_clock


class OnnxRuntime(LocalTarget):
    """ONNX Runtime: float32, float16 on a GPU, 8-bit integers calibrated on training inputs."""

    runtime = "onnxruntime"

    @property
    def precisions(self) -> tuple[str, ...]:
        """Return what it can run: float16 is no faster on CPUs."""
        on_gpu = self.torch_device().type == "cuda"
        return ("fp32", "fp16", "int8") if on_gpu else ("fp32", "int8")

    def check(self) -> None:
        """Check that the packages are installed, and built for the device.

        Raises:
            ConfigurationError: they are not.
        """
        provider_of(self.torch_device())

    def fingerprint(self) -> Fingerprint:
        """Return what latencies depend on, the version of ONNX Runtime included."""
        return {**super().fingerprint(), "onnxruntime": version_of("onnxruntime")}

    def prepare(
        self, model: nn.Module, precision: str, *, example: Tensor, calibration: Iterator[Tensor]
    ) -> Artifact:
        """Export the network to ONNX and, for ``"int8"``, quantize it.

        It shares the device with training meanwhile, so that it disturbs no measurement.

        Raises:
            ConfigurationError: the model can't be exported or quantized, packages are missing, or
                the target does not run this precision.
        """
        require_precision(precision, self.precisions, self.name)
        with DeviceLock(self.torch_device()).shared(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            write_onnx(Half(model) if precision == "fp16" else model, example, path)
            if precision == "int8":
                exported, path = path, Path(folder) / "int8.onnx"
                quantize(exported, calibration, path)
            content = path.read_bytes()
        return Artifact(
            content=content, format="onnx", precision=precision, size_bytes=len(content)
        )

    def open(self, artifact: Artifact, example: Tensor) -> LocalSession:
        """Open a file, with the target's number of threads.

        Raises:
            ConfigurationError: the artifact is a network, the file is damaged or takes another
                batch size than the example has, or packages are missing.
        """
        if isinstance(artifact.content, nn.Module):
            raise ConfigurationError(
                f"runtime {self.runtime!r} runs ONNX files, not networks: prepare them first"
            )
        require_batch_size(example, self.batch_size)
        session = open_session(artifact.content, threads=self.threads, device=self.torch_device())
        if batch_of(session) == 1 and self.batch_size != 1:
            raise ConfigurationError(
                f"runtime {self.runtime!r}: the exported model takes one input at a time, not "
                f"batch_size = {self.batch_size}"
            )
        feed = {session.get_inputs()[0].name: example.detach().cpu().contiguous().numpy()}
        timed = timed_by_clock(lambda: session.run(None, feed))
        return LocalSession(runner(session), timed, self.threads)
