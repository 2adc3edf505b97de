"""Learn from a teacher: how its outputs or features join the loss, and who gathers them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from autocompress.errors import ConfigurationError, UsageError
from autocompress.graph.tracing import Inputs, as_arguments
from autocompress.settings import check, setting
from autocompress.short_repr import short_repr
from autocompress.techniques.distillation_losses import (
    DISTILLATION_LOSSES,
    compares_features,
    has_projection,
    has_temperature,
)
from autocompress.techniques.features import Features, LayerPair, choose_pairs
from autocompress.techniques.modes import eval_mode

__all__ = ["DISTILLATION_LOSSES", "Distillation", "Distiller", "logits_of"]


@short_repr
@dataclass(frozen=True, slots=True)
class Distillation:
    """How the teacher's outputs join the loss.

    Attributes:
        loss: a name of ``DISTILLATION_LOSSES``.
        weight: share of the distillation loss in [0, 1]; the task's loss has the rest.
        temperature: > 0; softens the outputs in ``soft_target``.
        layers: pairs (student's module, teacher's module) for the losses on features; none: at
            each resolution that both networks have, the last module of each.

    Raises:
        ConfigurationError: names everything that is wrong.
    """

    loss: str = setting(
        "soft_target",
        help="the loss that brings in the teacher",
        names=DISTILLATION_LOSSES,
        off="none",
        switch=True,
    )
    weight: float = setting(0.5, help="share of the distillation loss", low=0, high=1)
    temperature: float = setting(
        4.0,
        help="softens the outputs of teacher and student",
        low=0,
        above=True,
        active=lambda values: _has_temperature(values["loss"]),
    )
    layers: tuple[LayerPair, ...] = setting(
        (), help="pairs of modules whose features are compared; none: chosen by resolution"
    )

    def __post_init__(self) -> None:
        """Check every field."""
        check(self, _layers_suit_loss)


def _has_temperature(loss: str) -> bool:
    return loss in DISTILLATION_LOSSES and has_temperature(DISTILLATION_LOSSES[loss])


def _layers_suit_loss(layers: tuple[LayerPair, ...], loss: str) -> str:
    if not layers or compares_features(DISTILLATION_LOSSES[loss]):
        return ""
    return f"layers: the loss {loss!r} looks at outputs, not at layers"


class Distiller:
    """Adds a teacher's outputs to a student's loss, inside ``with``.

    The teacher runs in eval mode and without gradients; afterwards its modes are what they were.
    Neither network is changed.

    Args:
        student: the network that is trained.
        teacher: any network with the same inputs and outputs.
        settings: which loss, and how much of it.
        example: a batch, or a tuple of all positional arguments.
        outputs: what of a network's outputs the losses on outputs compare, as a tensor
            ``[batch, channels, ...]``; by default the first tensor.
        seed: of the initial weights of learned projections.

    Attributes:
        pairs: (student's module, teacher's module) that are compared; empty for outputs.

    Raises:
        ConfigurationError: outputs or named layers don't match, or no layers can be paired.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        settings: Distillation,
        example: Inputs,
        *,
        outputs: Callable[[Any], Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        if student is teacher:
            raise ConfigurationError("a network cannot teach itself: give the teacher as a copy")
        self.settings = settings
        self.pairs: tuple[LayerPair, ...] = ()
        self._student, self._teacher = student, teacher
        self._outputs = outputs or logits_of
        self._resources: ExitStack | None = None
        self._loss = DISTILLATION_LOSSES[settings.loss]
        self._has_temperature = has_temperature(self._loss)
        if compares_features(self._loss):
            self.pairs = choose_pairs(student, teacher, settings.layers, example)
        self._student_features = Features(student, [name for name, _ in self.pairs])
        self._teacher_features = Features(teacher, [name for _, name in self.pairs])
        self._projections = [
            _projection(ours, theirs, seed) if has_projection(self._loss) else nn.Identity()
            for ours, theirs in self._example_maps(example)
        ]

    def __enter__(self) -> Self:
        """Hook into the compared layers and put the teacher into eval mode."""
        with ExitStack() as stack:
            stack.enter_context(eval_mode(self._teacher))
            stack.enter_context(self._student_features)
            stack.enter_context(self._teacher_features)
            self._resources = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the hooks and put the teacher's modules back into their modes."""
        if self._resources is not None:
            self._resources.close()
            self._resources = None

    def parameters(self) -> Iterator[nn.Parameter]:
        """Return the parameters of the learned projections; only a loss that projects has some."""
        return (p for projection in self._projections for p in projection.parameters())

    def loss(self, task_loss: Tensor, student_output: object, inputs: Inputs) -> Tensor:
        """Return ``(1 - weight) * task_loss + weight * distillation loss``, a scalar.

        Under autocast the teacher runs in its format, and the losses are computed in float32:
        Gram matrices of large maps are beyond the range of float16.

        Args:
            task_loss: the loss without a teacher.
            student_output: what the student just made of the inputs (of several outputs the first
                counts).
            inputs: the same batch, for the teacher.

        Raises:
            UsageError: outside ``with``, or the student has not run on the inputs.
        """
        if self._resources is None:
            raise UsageError("a Distiller works inside `with` only")
        weight = self.settings.weight
        if weight == 0:
            return task_loss
        with torch.no_grad():
            teacher_output = self._teacher(*as_arguments(inputs))
        with torch.autocast(task_loss.device.type, enabled=False):
            distilled = self._distilled(student_output, teacher_output)
        return (1 - weight) * task_loss + weight * distilled

    def _distilled(self, student_output: object, teacher_output: object) -> Tensor:
        if not compares_features(self._loss):
            ours, theirs = self._outputs(student_output), self._outputs(teacher_output)
            more = {"temperature": self.settings.temperature} if self._has_temperature else {}
            return self._loss(ours.float(), theirs.float(), **more)
        maps = zip(
            self._projections,
            self._student_features.take(),
            self._teacher_features.take(),
            strict=True,
        )
        losses = [self._loss(p(s.float()), t.float()) for p, s, t in maps]
        return torch.stack(losses).mean()

    def _example_maps(self, example: Inputs) -> list[tuple[Tensor, Tensor]]:
        with torch.no_grad(), ExitStack() as stack:
            for model in (self._student, self._teacher):
                stack.enter_context(eval_mode(model))
            ours = stack.enter_context(self._student_features)
            theirs = stack.enter_context(self._teacher_features)
            outputs = [model(*as_arguments(example)) for model in (self._student, self._teacher)]
            _check_outputs(*map(self._outputs, outputs))
            return list(zip(ours.take(), theirs.take(), strict=True))


def logits_of(output: object) -> Tensor:
    """Return a network's output, or the first where it puts out several.

    Raises:
        UsageError: there is no tensor in it.
    """
    for leaf in tree_leaves(output):
        if isinstance(leaf, Tensor):
            return leaf
    raise UsageError(f"expected a tensor as output, got {type(output).__name__}")


def _check_outputs(student: Tensor, teacher: Tensor) -> None:
    if student.shape != teacher.shape:
        raise ConfigurationError(
            f"the student's output has shape {list(student.shape)} and the teacher's "
            f"{list(teacher.shape)}: they must have the same classes"
        )


def _projection(student: Tensor, teacher: Tensor, seed: int) -> nn.Conv2d:
    """Return a 1x1 convolution from the student's channels to the teacher's, without bias."""
    generator = torch.Generator().manual_seed(seed)
    projection = nn.Conv2d(student.shape[1], teacher.shape[1], 1, bias=False)
    nn.init.kaiming_uniform_(projection.weight, a=5**0.5, generator=generator)
    return projection.to(student.device)
