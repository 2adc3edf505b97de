"""The knobs that a study may turn: their names, bounds and defaults."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from autocompress.conversion.precision import PRECISIONS
from autocompress.techniques.criteria import CRITERIA
from autocompress.techniques.distillation import DISTILLATION_LOSSES
from autocompress.techniques.granularity import CONVOLUTION_GRANULARITIES, LINEAR_GRANULARITIES
from autocompress.techniques.schedules import SCHEDULES

Value = float | int | bool | str
Params = Mapping[str, Any]
Kind = Literal["float", "int", "categorical", "boolean"]
STAGES = ("early", "middle", "late")


def _always(_: Params) -> bool:
    return True


def _sparsifies_convolutions(params: Params) -> bool:
    return any(params[name] for name in ("sparsity", *(f"sparsity_{s}" for s in STAGES)))


def sparsifies(params: Params) -> bool:
    """Return whether these knobs drive anything to zero."""
    return _sparsifies_convolutions(params) or params["linear_sparsity"] > 0


def _distils(params: Params) -> bool:
    return bool(params["distillation"] != "none")


@dataclass(frozen=True, kw_only=True)
class Knob:
    """One thing that a study may turn.

    Attributes:
        name: its key in the study file's ``[search]`` table.
        kind: what its values are.
        low: smallest allowed number (``None`` for names and booleans).
        high: largest allowed number.
        choices: allowed names, for a categorical knob.
        doc: what it does, in one line.
        default: its value where a study does not mention it; ``None`` where something else
            decides (the ``[training]`` table, or ``sparsity`` for its three stages).
        active: whether the knob has an effect, given the knobs before it in the table.
    """

    name: str
    kind: Kind
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] | None = None
    doc: str
    default: Value | None
    active: Callable[[Params], bool] = _always


def _fraction(name: str, default: float | None, doc: str, **more: Any) -> Knob:
    bounds = {"low": 0.0, "high": 1.0, **more}
    return Knob(name=name, kind="float", default=default, doc=doc, **bounds)


def _names(name: str, default: str, doc: str, choices: Any, **more: Any) -> Knob:
    allowed = tuple(choices)
    return Knob(name=name, kind="categorical", default=default, doc=doc, choices=allowed, **more)


TABLE = (
    _fraction("sparsity", 0.0, "fraction of the convolutions' groups to zero", high=0.99),
    *(
        _fraction(
            f"sparsity_{stage}", None, f"instead of sparsity, in the {stage} third", high=0.99
        )
        for stage in STAGES
    ),
    _names(
        "granularity",
        "filter",
        "what stands or falls together in a convolution",
        CONVOLUTION_GRANULARITIES,
        active=_sparsifies_convolutions,
    ),
    _fraction("linear_sparsity", 0.0, "fraction of the linear layers' groups to zero", high=0.99),
    _names(
        "linear_granularity",
        "row",
        "what stands or falls together in a linear layer",
        LINEAR_GRANULARITIES,
        active=lambda params: params["linear_sparsity"] > 0,
    ),
    _names(
        "scope", "local", "rank in each layer, or in all", ("local", "global"), active=sparsifies
    ),
    _names("criterion", "large_final", "what counts as unimportant", CRITERIA, active=sparsifies),
    _names("schedule", "cosine", "how sparsity grows in training", SCHEDULES, active=sparsifies),
    _fraction("schedule_end", 0.7, "share of the training by which sparsity is reached", low=0.05),
    _fraction(
        "rewind",
        1.0,
        "training progress, before schedule_end, whose weights then return; 1 = off",
        active=sparsifies,
    ),
    _names(
        "distillation",
        "none",
        "the loss that brings in the teacher",
        ("none", *DISTILLATION_LOSSES),
    ),
    _fraction("distillation_weight", 0.5, "share of the distillation loss", active=_distils),
    Knob(
        name="temperature",
        kind="float",
        low=1.0,
        high=100.0,
        default=4.0,
        doc="softens the outputs of teacher and student",
        active=lambda params: params["distillation"] == "soft_target",
    ),
    _fraction("energy", 1.0, "energy kept in linear layers; 1 = rank decides", low=0.01),
    _fraction("convolution_energy", 1.0, "the same in convolutions", low=0.01),
    _fraction(
        "rank",
        1.0,
        "share of singular values kept in linear layers; 1 = off",
        low=0.01,
        active=lambda params: params["energy"] == 1,
    ),
    _fraction(
        "convolution_rank",
        1.0,
        "the same in convolutions; 1 = off",
        low=0.01,
        active=lambda params: params["convolution_energy"] == 1,
    ),
    _names(
        "convolution_kind",
        "channel",
        "how a convolution is factorized",
        ("channel", "spatial"),
        active=lambda params: min(params["convolution_rank"], params["convolution_energy"]) < 1,
    ),
    Knob(name="prune", kind="boolean", default=True, doc="whether zeroed units are removed"),
    Knob(
        name="round_to",
        kind="int",
        low=1,
        high=256,
        default=1,
        doc="widths stay multiples of this",
        active=lambda params: params["prune"] and sparsifies(params),
    ),
    Knob(name="fold", kind="boolean", default=True, doc="whether batch norms are folded"),
    _names("precision", "fp32", "of the deployed model", PRECISIONS),
    Knob(
        name="learning_rate",
        kind="float",
        low=1e-7,
        high=10.0,
        default=None,
        doc="peak learning rate",
    ),
    Knob(name="epochs", kind="int", low=0, high=10_000, default=None, doc="sparsifying epochs"),
    Knob(
        name="recovery_epochs",
        kind="int",
        low=0,
        high=10_000,
        default=None,
        doc="epochs after surgery",
    ),
)
KNOBS: Mapping[str, Knob] = {knob.name: knob for knob in TABLE}
