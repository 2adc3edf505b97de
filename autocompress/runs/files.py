"""What a trial left in its folder besides weights: layers, their times, samples of its latency."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, TypeVar

from autocompress.artifacts import read_json
from autocompress.errors import RunError
from autocompress.results import LayerChange, LayerProfile, LayerWork
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
        return cls(
            layers=_read(folder, layout.LAYERS, _layers, ()),
            profile=_read(folder, layout.PROFILE, _profile, ()),
            measurement=_read(folder, layout.MEASUREMENT, _measurement, Measurement()),
        )


def _read(folder: Path | None, name: str, parse: Callable[[Any], _Read], missing: _Read) -> _Read:
    path = None if folder is None else folder / name
    if path is None or not path.exists():
        return missing
    try:
        return parse(read_json(path))
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is damaged: {error!r}") from error


def _layers(rows: Sequence[Mapping[str, Any]]) -> tuple[LayerChange, ...]:
    return tuple(
        LayerChange(
            **{
                **_of(LayerChange, row),
                "before": tuple(row["before"]),
                "after": tuple(map(tuple, row["after"])),
            }
        )
        for row in rows
    )


def _profile(rows: Sequence[Mapping[str, Any]]) -> tuple[LayerProfile, ...]:
    return tuple(
        LayerProfile(
            name=row["name"],
            type=row["type"],
            before=_work(row["before"]),
            after=_work(row["after"]),
        )
        for row in rows
    )


def _work(row: Mapping[str, Any] | None) -> LayerWork | None:
    return LayerWork(**{**_of(LayerWork, row), "widths": tuple(row["widths"])}) if row else None


def _measurement(row: Mapping[str, Any]) -> Measurement:
    known = _of(Measurement, row)
    return Measurement(**{**known, "samples_ms": tuple(row.get("samples_ms", ()))})


def _of(kind: type, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a row that a dataclass has; others came in with later versions."""
    return {entry.name: row[entry.name] for entry in fields(kind) if entry.name in row}
