"""Settings of a target that a study file names."""

from dataclasses import dataclass
from typing import Literal

from autocompress.settings import check, setting
from autocompress.targets.runtimes import TARGETS, local_target
from autocompress.targets.sampling import Effort
from autocompress.targets.target import Target


@dataclass(frozen=True, kw_only=True)
class TargetSettings:
    """Where a model will run, and how long its latency is measured.

    Attributes:
        device: ``"auto"`` is the GPU where there is one, else the CPU.
        runtime: what the model will be deployed in: a name of ``TARGETS``, or
            ``"package.module:function"``, which returns a target.
        batch_size: inputs per call.
        threads: of the CPU.
        budget_s: seconds that measuring one model may take.
        width: half the 95 % interval of the ratio, as a fraction, at which measuring ends.
        contention: fraction of time, in [0, 1], that other processes may take before medians
            are given up for 10th percentiles.
        channels_last: lay images and convolutions out with their channels last.

    Raises:
        ConfigurationError: names everything that is out of its range.
    """

    device: Literal["auto", "cpu", "cuda"] = setting("auto", help="auto, cpu, cuda")
    runtime: str = setting(
        "torch", help="what the model will be deployed in", names=TARGETS, references=True
    )
    batch_size: int = setting(1, help="inputs per call", low=1, high=65_536)
    threads: int = setting(1, help="of the CPU", low=1, high=1024)
    budget_s: float = setting(5.0, help="seconds to measure one model", low=0, above=True)
    width: float = setting(
        0.02, help="half the interval of the ratio that is narrow enough", low=0, above=True
    )
    contention: float = setting(
        0.1, help="fraction of time that other processes may take", low=0, high=1
    )
    channels_last: bool = setting(False, help="lay images out with their channels last")

    def __post_init__(self) -> None:
        """Check every field."""
        check(self)

    @property
    def effort(self) -> Effort:
        """How long latency is measured."""
        return Effort(budget_s=self.budget_s, width=self.width, contention=self.contention)

    @property
    def local(self) -> Target | None:
        """The target on this machine; ``None`` where the runtime is the user's own."""
        if ":" in self.runtime:
            return None
        return local_target(
            self.runtime,
            device=self.device,
            threads=self.threads,
            batch_size=self.batch_size,
            channels_last=self.channels_last,
        )
