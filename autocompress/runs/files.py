"""What a trial left in its folder besides weights: layers, their times, samples of its latency."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from autocompress.documents import known_part, read_json, typed
from autocompress.results import LayerChange, LayerProfile
from autocompress.runs import layout

_Read = TypeVar("_Read")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The calls that a latency rests on.

    Attributes:
        samples_ms: some of them, evenly spaced in time.
        p10_ms: 10th percentile of all.
        p50_ms: median.
        p90_ms: 90th percentile.
        n: how many there were.
        flag: why the latency should be read with care.
    """

    samples_ms: tuple[float, ...] = ()
    p10_ms: float | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    n: int | None = None
    flag: str | None = None


@dataclass(frozen=True, kw_only=True)
class TrialFiles:
    """The documents of one trial; what it did not come to is empty.

    Attributes:
        layers: each layer with weights, before and after.
        profile: the time of each layer, before and after.
        measurement: of its latency, during the search.
    """

    layers: tuple[LayerChange, ...] = ()
    profile: tuple[LayerProfile, ...] = ()
    measurement: Measurement = Measurement()

    @classmethod
    def read(cls, folder: Path | None) -> Self:
        """Read what a trial left in its folder.

        Args:
            folder: of the trial; ``None`` where it has none.

        Raises:
            RunError: a file is damaged.
        """
        layers = _read(folder, layout.LAYERS, LayerChange, tuple[LayerChange, ...])
        profile = _read(folder, layout.PROFILE, LayerProfile, tuple[LayerProfile, ...])
        measurement = _read(folder, layout.MEASUREMENT, Measurement, Measurement)
        return cls(
            layers=layers or (), profile=profile or (), measurement=measurement or Measurement()
        )


def _read(folder: Path | None, name: str, row: type, kind: type[_Read]) -> _Read | None:
    """Read a file, if it is there; a measurement stands beside a comparison that is left out."""
    path = None if folder is None else folder / name
    if path is None or not path.exists():
        return None
    return typed(kind, known_part(row, read_json(path)), f"{path} is damaged")
