"""Drive weights to zero: which, how many, and when. Knows masks, not training loops."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from autocompress.errors import UsageError
from autocompress.graph import UnitGroup, Units, find_units
from autocompress.graph.tracing import Inputs, as_arguments
from autocompress.settings import check, setting
from autocompress.techniques.criteria import CRITERIA, MEASURE_CHANGE, needs
from autocompress.techniques.evidence import Evidence
from autocompress.techniques.granularity import CONVOLUTION_GRANULARITIES, LINEAR_GRANULARITIES
from autocompress.techniques.layers import Kind
from autocompress.techniques.masks import Masks, Scope
from autocompress.techniques.modes import eval_mode
from autocompress.techniques.report import Report
from autocompress.techniques.schedules import SCHEDULES, fraction_at
from autocompress.techniques.selection import Request, Selection

Sparsities = float | tuple[float, float, float] | Mapping[str, float]
_SPARSITY: dict[str, Any] = {
    "low": 0,
    "high": 1,
    "parts": ("early", "middle", "late"),
    "off": 0.0,
    "switch": True,
}


def _asks(sparsity: Sparsities) -> bool:
    """Tell whether a sparsity asks for any zeros."""
    if isinstance(sparsity, Mapping):
        return any(sparsity.values())
    return any(sparsity) if isinstance(sparsity, tuple) else sparsity > 0


def _starts_before_end(start: float, end: float) -> str:
    return "" if start <= end else f"start: expected at most end ({end}), got {start}"


def _rewinds_before_end(rewind: float | None, start: float, end: float) -> str:
    if rewind is None or start > end or rewind < end < 1:
        return ""
    return (
        "rewind: expected a training progress in [0, end) with end < 1, so that training "
        f"goes on from the rewound weights; got {rewind!r} with end {end}"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Sparsification:
    """What to drive to zero, and when.

    A sparsity is the fraction of groups (of the granularity) that are zero in the end, in [0, 1];
    three values are for the early, middle and late third of the layers. One group of each layer
    or unit group is always left.

    Attributes:
        sparsity: of convolutions; or of each unit group, by its name.
        granularity: a name of ``CONVOLUTION_GRANULARITIES``; ``filter`` works on units.
        linear_sparsity: of linear layers.
        linear_granularity: a name of ``LINEAR_GRANULARITIES``; ``row`` works on units.
        scope: rank in each layer or unit group (``local``) or in all of the same kind and sparsity
            (``global``).
        criterion: a name of ``CRITERIA``.
        schedule: a name of ``SCHEDULES``.
        start: training progress in [0, end] at which the schedule begins.
        end: training progress in [start, 1] at which it has ended.
        exclude: names or ``fnmatch`` patterns of layers, or of modules with layers, to keep out.
        rewind: training progress in [0, end) whose weights return, masked, when the schedule has
            ended (lottery tickets, Frankle & Carbin 2019); None: weights are never rewound.

    Raises:
        ConfigurationError: names everything that is wrong.
    """

    sparsity: Sparsities = setting(
        0.5, help="fraction of the convolutions' groups to zero", **_SPARSITY
    )
    granularity: str = setting(
        "filter",
        help="what stands or falls together in a convolution",
        names=CONVOLUTION_GRANULARITIES,
        active=lambda values: _asks(values["sparsity"]),
    )
    linear_sparsity: Sparsities = setting(
        0.0, help="fraction of the linear layers' groups to zero", **_SPARSITY
    )
    linear_granularity: str = setting(
        "row",
        help="what stands or falls together in a linear layer",
        names=LINEAR_GRANULARITIES,
        active=lambda values: _asks(values["linear_sparsity"]),
    )
    scope: Scope = setting("local", help="rank in each layer, or in all")
    criterion: str = setting("large_final", help="what counts as unimportant", names=CRITERIA)
    schedule: str = setting("cosine", help="how sparsity grows in training", names=SCHEDULES)
    start: float = setting(
        0.0, help="share of the training after which sparsity begins to grow", low=0, high=1
    )
    end: float = setting(
        1.0, help="share of the training by which sparsity is reached", low=0, high=1
    )
    exclude: tuple[str, ...] = setting((), help="patterns of layers to keep out")
    rewind: float | None = setting(
        None,
        help="training progress, before the end, whose weights then return",
        low=0,
        high=1,
        off=1.0,
    )

    def __post_init__(self) -> None:
        """Check every field."""
        check(self, _starts_before_end, _rewinds_before_end)

    @property
    def requests(self) -> tuple[Request, Request]:
        """What is asked of convolutions and of linear layers."""
        return (
            Request("convolution", _by_stage(self.sparsity), self.granularity),
            Request("linear", _by_stage(self.linear_sparsity), self.linear_granularity),
        )


def _by_stage(sparsity: Sparsities) -> tuple[float, float, float]:
    if isinstance(sparsity, Mapping):
        raise UsageError("an allocation over unit groups has no sparsity by third")
    return sparsity if isinstance(sparsity, tuple) else (sparsity, sparsity, sparsity)


class Sparsifier:
    """Masks over a model's weights that follow a schedule; edits the model in place.

    What is zeroed stays zeroed until the schedule falls. A criterion that looks at gradients,
    inputs or movement waits until it has seen some: until then, ``update`` changes nothing.

    Args:
        model: what is trained.
        settings: what to zero, and when.
        units: the model's units; ``filter`` and ``row`` need them. A group whose removal would
            not be exact is left alone.
        seed: what the noise of the criterion ``random`` derives from.

    Attributes:
        skipped: name of each layer or unit group that could not follow the settings, to why.

    Raises:
        ConfigurationError: nothing in the model can follow the settings.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: Sparsification,
        units: Units | Sequence[UnitGroup] = (),
        *,
        seed: int = 0,
    ) -> None:
        self.settings = settings
        self._model = model
        self._criterion = CRITERIA[settings.criterion]
        selection = Selection(model, units, self._criterion, settings.exclude)
        asked = [request for request in settings.requests if max(request.sparsity) > 0]
        for request in asked:
            selection.add(request)
        if asked and not selection.aims:
            raise selection.nothing_left(model, asked)
        self.skipped: Mapping[str, str] = selection.skipped
        self._masks = Masks(selection.aims, selection.tensors, scope=settings.scope)
        self._ticket: dict[str, Tensor] | None = None
        weights = [name for aim in selection.aims for name in aim.target.scored_tensors]
        self._evidence = Evidence(
            {name: selection.tensors[name] for name in weights},
            {name: layer for name, layer in selection.layers.items() if name in weights},
            needs(self._criterion),
            compares=settings.criterion in MEASURE_CHANGE,
            seed=seed,
        )

    def __enter__(self) -> Self:
        """Install the hooks of a criterion that looks at inputs."""
        self._evidence.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the hooks."""
        self._evidence.close()

    def after_backward(self) -> None:
        """Let the criterion see the gradients; call it after every backward pass."""
        self._evidence.after_backward()

    def update(self, progress: float) -> None:
        """Move the masks on to where the schedule is, and apply them, in place.

        Args:
            progress: of the training run, in [0, 1].

        Raises:
            UsageError: progress is outside, the weights are not finite, or training has ended and
                the criterion has not seen what it needs.
        """
        if not 0 <= progress <= 1:
            raise UsageError(f"training progress must be in [0, 1], not {progress}")
        settings = self.settings
        self._remember(progress)
        schedule = SCHEDULES[settings.schedule]
        fraction = fraction_at(schedule, progress, settings.start, settings.end)
        missing = self._evidence.missing()
        if missing is None or fraction == 0:
            self._masks.rank(fraction, self._score)
            self._return_to_ticket(progress)
            self._masks.apply()
            self._evidence.after_update()
        elif progress >= 1:
            raise UsageError(f"the criterion {settings.criterion} is still waiting for {missing}")

    def apply(self) -> None:
        """Zero what the masks say, in place; call it after every optimizer step."""
        self._masks.apply()
        self._evidence.after_step()

    def rewind(self, state: Mapping[str, Tensor]) -> None:
        """Put the model's weights back to an earlier state and apply the masks, in place.

        Args:
            state: as from ``model.state_dict()``.
        """
        self._model.load_state_dict(state)
        self._masks.apply()

    @property
    def masks(self) -> Mapping[str, Tensor]:
        """Canonical name of each masked tensor to a bool of its shape, True where it is kept."""
        return self._masks.kept()

    @property
    def sparsity(self) -> Mapping[str, float]:
        """Name of each layer or unit group to the fraction of its groups that is zeroed."""
        return self._masks.sparsity()

    @property
    def report(self) -> "Sparsified":
        """What is zeroed now, and what is left alone."""
        percent = {name: 100 * share for name, share in self.sparsity.items()}
        said = [f"{name}: {share:.3g} % are zero" for name, share in percent.items()]
        said += [f"{name}: left: {reason}" for name, reason in self.skipped.items()]
        return Sparsified(sentences=tuple(said), sparsity=self.sparsity, skipped=self.skipped)

    def overall_sparsity(self, kind: Kind) -> float:
        """Return the fraction of all groups of convolutions or of linear layers that is zeroed."""
        return self._masks.overall_sparsity(kind)

    def _score(self, name: str) -> Tensor:
        """Score each element of a tensor."""
        score: Tensor = self._criterion(**self._evidence.about(name))
        if not bool(score.sum().isfinite()):
            raise UsageError(
                f"cannot rank {name}: its {self.settings.criterion} scores are not finite; "
                "do its weights, gradients or inputs hold NaN or infinite values?"
            )
        return score

    def _remember(self, progress: float) -> None:
        begins = self.settings.rewind
        if begins is not None and progress >= begins and self._ticket is None:
            state = self._model.state_dict()
            self._ticket = {name: tensor.clone() for name, tensor in state.items()}

    def _return_to_ticket(self, progress: float) -> None:
        if self._ticket and progress >= self.settings.end:
            self.rewind(self._ticket)
            self._ticket = {}  # used up


@dataclass(frozen=True, kw_only=True)
class Sparsified(Report):
    """What a sparsification without training did. Its steps are empty: zeros are no surgery.

    Attributes:
        sparsity: name of each layer or unit group to the fraction of its groups that is zero.
        skipped: name of each layer or unit group that could not follow the settings, to why.
    """

    sparsity: Mapping[str, float]
    skipped: Mapping[str, str]


def sparsify(
    model: nn.Module,
    settings: Sparsification,
    *,
    example: Inputs | None = None,
    units: Units | Sequence[UnitGroup] | None = None,
    seed: int = 0,
) -> tuple[nn.Module, Sparsified]:
    """Return a copy of a model with the sparsity that the schedule ends at; trains nothing.

    Without training there is no movement to measure: a criterion of ``MEASURE_CHANGE`` gives way
    to ``large_final``. Without labels, ``taylor`` takes the gradients of each sample's largest
    output.

    Args:
        model: what to copy.
        settings: what to zero; ``start``, ``end`` and ``rewind`` mean nothing here.
        example: a batch, or a tuple of all positional arguments; needed by ``taylor`` and
            ``wanda``, and to find units.
        units: the model's units; found if needed and not given.
        seed: of the criterion ``random``.

    Returns:
        The sparse model, and what became of each layer or unit group.

    Raises:
        ConfigurationError: nothing in the model can follow the settings.
        UsageError: an ``example`` is needed and missing.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
        >>> sparse, report = sparsify(model, Sparsification(), example=torch.rand(1, 3, 8, 8))
        >>> report.sentences[0]
        '0: 50 % are zero'
    """
    if settings.criterion in MEASURE_CHANGE:
        settings = replace(settings, criterion="large_final")
    settings = replace(settings, rewind=None)
    sparse = copy.deepcopy(model)
    if units is None:
        units = () if example is None else find_units(sparse, example)
    with Sparsifier(sparse, settings, units, seed=seed) as sparsifier:
        if {"saliency", "input_norm"} & needs(CRITERIA[settings.criterion]):
            if example is None:
                raise UsageError(f"the criterion {settings.criterion} needs an example")
            _show(sparse, example)
            sparsifier.after_backward()
        sparsifier.update(1.0)
    sparse.zero_grad(set_to_none=True)
    return sparse, sparsifier.report


def _show(model: nn.Module, example: Inputs) -> None:
    """Run a model forward and backward from each sample's largest output."""
    with torch.enable_grad(), eval_mode(model):
        outputs = [t for t in tree_leaves(model(*as_arguments(example))) if t.requires_grad]
        if outputs:
            sum(output.flatten(1).amax(1).sum() for output in outputs).backward()
