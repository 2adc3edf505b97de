"""Learn from a teacher: losses on outputs and on feature maps, and who gathers them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from autocompress.errors import ConfigurationError, UsageError
from autocompress.graph.tracing import Inputs, as_arguments
from autocompress.registry import by_name
from autocompress.settings import check, setting
from autocompress.techniques.features import Features, LayerPair, choose_pairs, same_resolution
from autocompress.techniques.modes import eval_mode


def soft_target(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Match softened classes: T^2 KL(softmax(t / T) || softmax(s / T)) (Hinton et al. 2015).

    Args:
        student: logits ``[batch, classes, ...]``.
        teacher: logits of the same shape.
        temperature: > 0; higher is softer.
    """
    log_student = F.log_softmax(student / temperature, 1)
    log_teacher = F.log_softmax(teacher / temperature, 1)
    divergence = F.kl_div(log_student, log_teacher, log_target=True, reduction="none").sum(1)
    return temperature**2 * divergence.mean()


def logits(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Match logits: mean((s - t)^2) (Ba & Caruana 2014); the temperature has no effect.

    Args:
        student: logits ``[batch, classes, ...]``.
        teacher: logits of the same shape.
        temperature: not used.
    """
    return F.mse_loss(student, teacher)


def attention_transfer(student: Tensor, teacher: Tensor) -> Tensor:
    """Match where features are strong: norm(a_s - a_t)^2 (Zagoruyko & Komodakis 2017, eq. 2).

    ``a`` is the sum of squares over channels, flattened and divided by its L2 norm; the result is
    the mean over the batch, in [0, 2]. Maps of two resolutions are averaged down to the smaller.

    Args:
        student: ``[batch, channels, height, width]``.
        teacher: the same, any number of channels.
    """
    student, teacher = same_resolution(student, teacher)
    return (_attention(student) - _attention(teacher)).square().sum(1).mean()


def _attention(maps: Tensor) -> Tensor:
    return F.normalize(maps.square().sum(1).flatten(1), dim=1)


def feature(student: Tensor, teacher: Tensor) -> Tensor:
    """Match features through a learned 1x1 projection: mean((P s - t)^2) (Romero et al. 2015).

    Args:
        student: projected maps ``[batch, channels, height, width]``.
        teacher: maps with the same channels.
    """
    return F.mse_loss(*same_resolution(student, teacher))


def similarity_preserving(student: Tensor, teacher: Tensor) -> Tensor:
    """Match which images look alike: norm(G_s - G_t)_F^2 / b^2 (Tung & Mori 2019, eq. 4).

    ``G`` is the Gram matrix of the batch's flattened features, each row divided by its L2 norm.

    Args:
        student: ``[batch, ...]``.
        teacher: ``[batch, ...]``, any other sizes.
    """
    return (_similarity(student) - _similarity(teacher)).square().mean()


def _similarity(maps: Tensor) -> Tensor:
    flat = maps.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)


OUTPUT_LOSSES = by_name("distillation loss", soft_target, logits)
FEATURE_LOSSES = by_name("distillation loss", attention_transfer, feature, similarity_preserving)
DISTILLATION_LOSSES = by_name(
    "distillation loss", *OUTPUT_LOSSES.values(), *FEATURE_LOSSES.values()
)


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
        active=lambda values: values["loss"] == "soft_target",
    )
    layers: tuple[LayerPair, ...] = setting(
        (), help="pairs of modules whose features are compared; none: chosen by resolution"
    )

    def __post_init__(self) -> None:
        """Check every field."""
        check(self, _layers_suit_loss)


def _layers_suit_loss(layers: tuple[LayerPair, ...], loss: str) -> str:
    if not layers or loss not in OUTPUT_LOSSES:
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
        if settings.loss in FEATURE_LOSSES:
            self.pairs = choose_pairs(student, teacher, settings.layers, example)
        self._student_features = Features(student, [name for name, _ in self.pairs])
        self._teacher_features = Features(teacher, [name for _, name in self.pairs])
        self._projections = [
            _projection(ours, theirs, seed) if settings.loss == "feature" else nn.Identity()
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
        """Return the parameters of the learned projections; only ``feature`` has some."""
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
        name = self.settings.loss
        if name in OUTPUT_LOSSES:
            ours, theirs = (
                self._outputs(student_output).float(),
                self._outputs(teacher_output).float(),
            )
            return OUTPUT_LOSSES[name](ours, theirs, self.settings.temperature)
        maps = zip(
            self._projections,
            self._student_features.take(),
            self._teacher_features.take(),
            strict=True,
        )
        losses = [FEATURE_LOSSES[name](p(s.float()), t.float()) for p, s, t in maps]
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
