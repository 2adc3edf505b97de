"""The techniques that live in training, as fastai callbacks: thin shells around techniques/."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from fastai.callback.core import Callback
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from autocompress.errors import UsageError
from autocompress.graph import UnitGroup, Units, find_units
from autocompress.techniques.distillation import Distillation, Distiller
from autocompress.techniques.masks import hold_zeros
from autocompress.techniques.sparsification import Sparsification, Sparsifier

MASK_UPDATES = 32  # per training run: often enough for a smooth schedule, rare enough to be cheap


class _TrainingOnly(Callback):
    """A callback whose resources open before a fit and close after it, even a cancelled one."""

    def _is_training_run(self) -> bool:
        """Return whether this is a real fit: not ``lr_find`` and not ``get_preds``."""
        return not hasattr(self.learn, "lr_finder") and not hasattr(self.learn, "gather_preds")

    def close(self) -> None:
        """Release what ``before_fit`` opened; does nothing if nothing is open."""
        resources = self.__dict__.pop("resources", None)
        if resources is not None:
            resources.close()

    def _open(self, resource: Any) -> Any:
        self.close()
        self.resources = ExitStack()
        return self.resources.enter_context(resource)

    def after_fit(self) -> None:
        """Close what was opened."""
        self.close()

    def example(self) -> Tensor:
        """Return two validation images as the model receives them."""
        device = next(self.learn.model.parameters()).device
        images: Tensor = next(iter(self.learn.dls.valid))[0]
        return images[:2].as_subclass(Tensor).to(device)


def _plain(leaf: Any) -> Any:
    """Strip fastai's tensor subclass."""
    return leaf.as_subclass(Tensor) if isinstance(leaf, Tensor) else leaf


class KnowledgeDistillation(_TrainingOnly):
    """Add a teacher's outputs to the loss of every training batch.

    Args:
        teacher: any network with the same inputs and classes; used in eval mode, without
            gradients.
        loss: a name of ``DISTILLATION_LOSSES``.
        weight: share of the distillation loss in [0, 1]; the task's loss has the rest.
        temperature: softens both outputs, > 0; for the losses that have one.
        settings: all of the above (and the layers) as one object, instead of them.
        outputs: what of a network's outputs is imitated, ``[batch, channels, ...]``; by default
            the first tensor.

    Raises:
        UsageError: the teacher is no network.
        ConfigurationError: a setting is out of its range.
    """

    order = 5

    def __init__(
        self,
        teacher: nn.Module,
        loss: str = "soft_target",
        weight: float = 0.5,
        temperature: float = 4.0,
        *,
        settings: Distillation | None = None,
        outputs: Callable[[Any], Tensor] | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(teacher, nn.Module):
            raise UsageError(f"teacher: expected a torch.nn.Module, got {type(teacher).__name__}")
        self.teacher = teacher
        self.settings = settings or Distillation(loss=loss, weight=weight, temperature=temperature)
        self.outputs = outputs

    def before_fit(self) -> None:
        """Open the distiller; learned projections get an optimizer of their own."""
        if not self._is_training_run():
            return
        distiller = Distiller(
            self.learn.model,
            self.teacher,
            self.settings,
            example=self.example(),
            outputs=self.outputs,
        )
        self.distiller = self._open(distiller)
        projections = list(distiller.parameters())
        self.projector = torch.optim.Adam(projections, lr=self.learn.lr) if projections else None

    def after_loss(self) -> None:
        """Mix the distillation loss into the loss."""
        if not self.training or "resources" not in self.__dict__:
            return
        images = self.learn.xb[0].as_subclass(Tensor)
        outputs = tree_map(_plain, self.learn.pred)
        task_loss = self.learn.loss_grad.as_subclass(Tensor)
        self.learn.loss_grad = self.distiller.loss(task_loss, outputs, images)
        self.learn.loss = self.learn.loss_grad.clone()

    def after_step(self) -> None:
        """Train the learned projections, if the loss has any."""
        projector: torch.optim.Optimizer | None = self.__dict__.get("projector")
        if projector is not None:
            # In a float16 fit gradients are scaled; what overflowed is left out, as in the model.
            scaler = vars(self.learn).get("scaler")
            projector.step() if scaler is None else scaler.step(projector)
            projector.zero_grad()


class Sparsify(_TrainingOnly):
    """Drive weights to zero while the model trains, following a schedule.

    Args:
        sparsity: fraction of the convolutions' weights (or filters, ...) to zero, in [0, 1].
        granularity: what stands or falls together in a convolution.
        scope: ``"local"`` (every layer by itself) or ``"global"`` (one ranking).
        criterion: which weights count as unimportant.
        schedule: how sparsity grows during training.
        units: the model's units, if they were found before; else they are found here.
        settings: all settings as one object, instead of those above.
        seed: what the criterion ``random`` derives from.
        more: further fields of ``Sparsification``, such as ``linear_sparsity``.
    """

    order = 60  # after gradients are as the step will use them, unscaled

    def __init__(
        self,
        sparsity: float | None = None,
        *,
        settings: Sparsification | None = None,
        units: Units | Sequence[UnitGroup] | None = None,
        seed: int = 0,
        **more: Any,
    ) -> None:
        super().__init__()
        if settings is None:
            fields = more if sparsity is None else {"sparsity": sparsity, **more}
            settings = Sparsification(**fields)
        elif sparsity is not None or more:
            raise TypeError("give either settings or single values, not both")
        self.settings, self.units, self.seed = settings, units, seed

    def before_fit(self) -> None:
        """Find the units and open the sparsifier."""
        if not self._is_training_run():
            return
        units = self.units
        if units is None:
            units = find_units(self.learn.model, self.example())
        sparsifier = Sparsifier(self.learn.model, self.settings, units=units, seed=self.seed)
        self.sparsifier = self._open(sparsifier)
        steps = self.learn.n_epoch * len(self.learn.dls.train)
        self.interval = max(1, steps // MASK_UPDATES)
        self.step_count = 0

    @property
    def _active(self) -> bool:
        return self.training and "resources" in self.__dict__

    def before_batch(self) -> None:
        """Move the masks on, some 32 times per fit."""
        if self._active and self.step_count % self.interval == 0:
            self.sparsifier.update(float(self.learn.pct_train))

    def before_step(self) -> None:
        """Let the criterion see the gradients."""
        if self._active:
            self.sparsifier.after_backward()

    def after_step(self) -> None:
        """Keep at zero what the masks hold there."""
        if self._active:
            self.sparsifier.apply()
            self.step_count += 1

    def after_train(self) -> None:
        """Be where the schedule is at the end of the epoch; after the last one, at its end."""
        if "resources" in self.__dict__:
            self.sparsifier.update((self.learn.epoch + 1) / self.learn.n_epoch)


class HoldZeros(Callback):
    """Keep every weight that is exactly zero when the fit starts at zero until it ends."""

    order = 61

    def before_fit(self) -> None:
        """Remember the zeros of all weights that have some."""
        self.zeros = hold_zeros(self.learn.model)

    def after_step(self) -> None:
        """Zero them again."""
        self.zeros.apply()
