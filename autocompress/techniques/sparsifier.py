"""Masks over the weights of a model in training, which follow a schedule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from torch import Tensor, nn

from autocompress.errors import UsageError
from autocompress.graph import UnitGroup, Units
from autocompress.short_repr import short_repr
from autocompress.techniques.criteria import CRITERIA, measures_change, needs
from autocompress.techniques.importance import ImportanceStatistics
from autocompress.techniques.layers import Kind
from autocompress.techniques.masks import Masks
from autocompress.techniques.report import Report
from autocompress.techniques.schedules import SCHEDULES, fraction_at
from autocompress.techniques.sparsity_targets import resolve

if TYPE_CHECKING:
    from autocompress.techniques.sparsification import Sparsification


@short_repr
@dataclass(frozen=True, kw_only=True)
class Sparsified(Report):
    """What a sparsification without training did. Its steps are empty: zeros are no surgery.

    Attributes:
        sparsity: name of each layer or unit group to the fraction of its groups that is zero.
        skipped: name of each layer or unit group that could not follow the settings, to why.
    """

    sparsity: Mapping[str, float]
    skipped: Mapping[str, str]


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
        settings: "Sparsification",
        units: Units | Sequence[UnitGroup] = (),
        *,
        seed: int = 0,
    ) -> None:
        self.settings = settings
        self._model = model
        self._criterion = CRITERIA[settings.criterion]
        found = resolve(
            model,
            settings.by_kind,
            units,
            self._criterion,
            scope=settings.scope,
            exclude=settings.exclude,
        )
        self.skipped: Mapping[str, str] = found.skipped
        self._masks = Masks(found.targets, found.tensors)
        self._rewind_state: dict[str, Tensor] | None = None
        scored = found.scored
        self._statistics = ImportanceStatistics(
            {name: found.tensors[name] for name in scored},
            {name: layer for name, layer in found.layers.items() if name in scored},
            needs(self._criterion),
            needs_step=measures_change(self._criterion),
            seed=seed,
        )

    def __enter__(self) -> Self:
        """Install the hooks of a criterion that looks at inputs."""
        self._statistics.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the hooks."""
        self._statistics.close()

    def after_backward(self) -> None:
        """Let the criterion see the gradients; call it after every backward pass."""
        self._statistics.after_backward()

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
        missing = self._statistics.missing()
        if missing is None or fraction == 0:
            self._masks.rank(fraction, self._score)
            self._rewind_at_end(progress)
            self._masks.apply()
            self._statistics.after_update()
        elif progress >= 1:
            raise UsageError(f"the criterion {settings.criterion} is still waiting for {missing}")

    def apply(self) -> None:
        """Zero what the masks say, in place; call it after every optimizer step."""
        self._masks.apply()
        self._statistics.after_step()

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
    def report(self) -> Sparsified:
        """What is zeroed now, and what is left alone."""
        percent = {name: 100 * share for name, share in self.sparsity.items()}
        said = [f"{name}: {share:.3g} % are zero" for name, share in percent.items()]
        said += [f"{name}: left: {reason}" for name, reason in self.skipped.items()]
        return Sparsified(sentences=tuple(said), sparsity=self.sparsity, skipped=self.skipped)

    @property
    def group_counts(self) -> Mapping[str, int]:
        """Name of each layer or unit group to the number of its groups; empty until ranked."""
        return self._masks.group_counts()

    def overall_sparsity(self, kind: Kind) -> float:
        """Return the fraction of all groups of convolutions or of linear layers that is zeroed."""
        return self._masks.overall_sparsity(kind)

    def _score(self, name: str) -> Tensor:
        """Score each element of a tensor."""
        score: Tensor = self._criterion(**self._statistics.about(name))
        if not bool(score.sum().isfinite()):
            raise UsageError(
                f"cannot rank {name}: its {self.settings.criterion} scores are not finite; "
                "do its weights, gradients or inputs hold NaN or infinite values?"
            )
        return score

    def _remember(self, progress: float) -> None:
        begins = self.settings.rewind
        if begins is not None and progress >= begins and self._rewind_state is None:
            state = self._model.state_dict()
            self._rewind_state = {name: tensor.clone() for name, tensor in state.items()}

    def _rewind_at_end(self, progress: float) -> None:
        if self._rewind_state and progress >= self.settings.end:
            self.rewind(self._rewind_state)
            self._rewind_state = {}  # used up
