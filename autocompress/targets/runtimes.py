"""The targets on this machine, by the name of their runtime."""

from collections.abc import Callable

from autocompress.registry import Registry
from autocompress.targets.onnx_runtime import OnnxRuntime
from autocompress.targets.target import Target
from autocompress.targets.torch_runtimes import CudaGraph, TorchCompiled, TorchEager

TARGETS: Registry[Callable[..., Target]] = Registry(
    "runtime",
    {kind.runtime: kind for kind in (TorchEager, TorchCompiled, CudaGraph, OnnxRuntime)},
)
"""Makes a target of ``device``, ``threads``, ``batch_size`` and ``channels_last``."""


def local_target(
    runtime: str = "torch",
    *,
    device: str = "auto",
    threads: int = 1,
    batch_size: int = 1,
    channels_last: bool = False,
) -> Target:
    """Return a target of this machine.

    Args:
        runtime: name in ``TARGETS``: what the model will be deployed in.
        device: ``"cpu"``, ``"cuda"``, or ``"auto"``: the GPU where there is one.
        threads: of the CPU, at least 1.
        batch_size: inputs per call, at least 1.
        channels_last: lay images and convolutions out with their channels last.

    Raises:
        ConfigurationError: a setting is out of its range; whether the machine has the device and
            what the runtime needs is said by the target's ``check``.

    Example:
        >>> local_target("torch", device="cpu").name
        'torch on cpu'
    """
    return TARGETS[runtime](
        device=device, threads=threads, batch_size=batch_size, channels_last=channels_last
    )
