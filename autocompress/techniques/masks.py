"""Which groups are zeroed now: ranked by themselves or together, and held at zero."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from autocompress.techniques.groups import WeightScore
from autocompress.techniques.layers import Kind
from autocompress.techniques.ranking import rank_globally, rank_layers, rank_locally
from autocompress.techniques.sparsity_targets import SparsityTarget


class Masks:
    """The zeroed groups of every target; nothing is zeroed at first.

    Args:
        targets: what is ranked, and how much of it is to be zero in the end.
        tensors: canonical name to the tensors that the masks are for.
    """

    def __init__(self, targets: Sequence[SparsityTarget], tensors: Mapping[str, Tensor]) -> None:
        self._targets, self._tensors = targets, tensors
        self._zeroed: dict[int, Tensor] = {}  # number of a target: its groups, True where zeroed
        self._masks: list[tuple[str, Tensor]] = []  # name of a tensor, True where zeroed

    @torch.no_grad()
    def rank(self, fraction: float, score: WeightScore) -> None:
        """Choose anew what is zeroed; what was zeroed before goes first.

        Args:
            fraction: of each target's sparsity, in [0, 1].
            score: scores the elements of a tensor; the lowest are zeroed.
        """
        zeroed: dict[int, Tensor] = {}
        for numbers in self._populations() if fraction > 0 else ():
            scores = [self._targets[n].groups.scores(score, self._zeroed.get(n)) for n in numbers]
            due = fraction * self._targets[numbers[0]].sparsity
            zeroed.update(zip(numbers, self._ranked(numbers, scores, due), strict=True))
        self._zeroed = zeroed
        self._masks = [
            (name, mask)
            for number, groups in zeroed.items()
            for name, mask in self._targets[number].groups.masks(groups).items()
        ]

    @torch.no_grad()
    def apply(self) -> None:
        """Zero what is masked, in place."""
        for name, mask in self._masks:
            self._tensors[name].masked_fill_(mask, 0)

    def kept(self) -> Mapping[str, Tensor]:
        """Return for each masked tensor a bool of its shape, True where it is kept."""
        zero: dict[str, Tensor] = {}
        for name, mask in self._masks:
            zero[name] = zero[name] | mask if name in zero else mask
        return {name: (~mask).expand_as(self._tensors[name]) for name, mask in zero.items()}

    def sparsity(self) -> Mapping[str, float]:
        """Return, by names of layers and unit groups, the fraction of groups that is zeroed."""
        found = {target.groups.name: 0.0 for target in self._targets}
        for number, zeroed in self._zeroed.items():
            found[self._targets[number].groups.name] = float(zeroed.double().mean())
        return found

    def group_counts(self) -> Mapping[str, int]:
        """Return, by names of layers and unit groups, the number of groups that were ranked."""
        return {self._targets[n].groups.name: z.numel() for n, z in self._zeroed.items()}

    def overall_sparsity(self, kind: Kind) -> float:
        """Return the fraction of all groups of a kind that is zeroed; 0 where there are none."""
        parts = [z for n, z in self._zeroed.items() if self._targets[n].groups.kind == kind]
        total = sum(zeroed.numel() for zeroed in parts)
        return sum(int(zeroed.count_nonzero()) for zeroed in parts) / total if total else 0.0

    def _populations(self) -> Sequence[Sequence[int]]:
        """Group the numbers of the targets by what is ranked together."""
        populations: dict[object, list[int]] = {}
        for number, target in enumerate(self._targets):
            alone = target.population is None
            populations.setdefault(number if alone else target.population, []).append(number)
        return list(populations.values())

    def _ranked(self, numbers: Sequence[int], scores: list[Tensor], due: float) -> list[Tensor]:
        first = self._targets[numbers[0]]
        if first.groups.is_whole_layer:
            return rank_layers(scores, due)
        if first.population is not None:
            return rank_globally(scores, due)
        return [rank_locally(scores[0], due)]


class HeldZeros:
    """Weights that stay at zero; see :func:`hold_zeros`."""

    def __init__(self, weights: Sequence[tuple[Tensor, Tensor]]) -> None:
        self._weights = weights

    @torch.no_grad()
    def apply(self) -> None:
        """Zero them again, in place; call it after every optimizer step."""
        for weight, kept in self._weights:
            weight.mul_(kept)


def hold_zeros(model: nn.Module) -> HeldZeros:
    """Remember which weights of a model are exactly zero now, so that training keeps them there.

    Args:
        model: its tensors of one dimension (biases, norms) are left alone.

    Example:
        >>> model = nn.Linear(3, 2)
        >>> model.weight.data[0] = 0
        >>> zeros = hold_zeros(model)
        >>> model.weight.data += 1  # a step of an optimizer
        >>> zeros.apply()
        >>> model.weight[0].tolist()
        [0.0, 0.0, 0.0]
    """
    weights = [p for p in model.parameters() if p.dim() > 1]
    kept = [(weight, weight.detach() != 0) for weight in weights]
    return HeldZeros([(weight, mask) for weight, mask in kept if not bool(mask.all())])
