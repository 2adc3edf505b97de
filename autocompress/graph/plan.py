"""What was done to a model, as plain data: a plan and the weights rebuild it on a fresh model."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, get_args

from autocompress.documents import parse_json
from autocompress.errors import UsageError
from autocompress.sentences import one_line, shown
from autocompress.short_repr import short_repr

Axis = tuple[str, int]
LowRankKind = Literal["linear", "pointwise", "spatial", "channel"]
Order = Literal["after", "before"]
FORMAT = "autocompress-plan"
VERSION = 1
MOST_UNITS = 2**20  # along a dimension that is cut
MOST_INDICES = 2**22  # in the sets of one step


@short_repr
@dataclass(frozen=True)
class Remove:
    """Remove slices of tensors.

    Attributes:
        indices: for a tensor's name and a dimension, the increasing indices that go.
        attributes: sizes that modules repeat, as ``"module.attribute"``, and their new values;
            those of standard PyTorch modules follow by themselves and are not listed.
    """

    indices: Mapping[Axis, tuple[int, ...]]
    attributes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LowRank:
    """Replace a layer by two thinner ones.

    Attributes:
        module: name of the linear layer or convolution.
        kind: ``linear``: two linear layers; ``pointwise``: two 1x1 convolutions; ``spatial``:
            kx1, then 1xk; ``channel``: k x k to ``rank`` channels, then 1x1.
        rank: channels or features between the two, at least 1.
    """

    module: str
    kind: LowRankKind
    rank: int


@dataclass(frozen=True)
class Fold:
    """Fold a batch norm into a convolution or linear layer.

    Attributes:
        convolution: name of the convolution, transposed convolution or linear layer.
        norm: name of the batch norm.
        order: ``after``: the norm reads the layer; ``before``: the layer reads the norm.
        remove_norm: whether the norm goes; False while another layer still has to take it in.
    """

    convolution: str
    norm: str
    order: Order = "after"
    remove_norm: bool = True


Step = Remove | LowRank | Fold


@short_repr
@dataclass(frozen=True)
class Plan:
    """The steps that turned a freshly built model into a compressed one, in order."""

    steps: tuple[Step, ...] = ()

    def then(self, *steps: Step) -> "Plan":
        """Return the plan with more steps at its end."""
        return Plan((*self.steps, *steps))

    def to_json(self) -> str:
        """Return the plan as a JSON document.

        Equal sets of indices are written once, as half-open ranges.
        """
        return json.dumps(
            {"format": FORMAT, "version": VERSION, "steps": [_encode(step) for step in self.steps]}
        )

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "a plan") -> "Plan":
        """Read a plan.

        Args:
            text: what ``to_json`` returned.
            where: names it, for messages.

        Raises:
            UsageError: the text is no JSON, no plan, or a plan that breaks its own rules.
        """
        document = parse_json(text.encode() if isinstance(text, str) else text, where)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise UsageError(f"{where} is not a plan: expected a table with format {FORMAT!r}")
        if document.get("version") != VERSION:
            version = shown(document.get("version"))
            raise UsageError(
                f"{where}: plan version {version} is not supported; expected {VERSION}"
            )
        steps = document.get("steps")
        if not isinstance(steps, list):
            raise UsageError(f"{where}: steps must be a list")
        return cls(tuple(_decode(where, number, step) for number, step in enumerate(steps)))


def as_ranges(indices: Iterable[int]) -> list[list[int]]:
    """Write increasing indices as half-open ranges: ``0, 1, 2, 5`` is ``[[0, 3], [5, 6]]``."""
    ranges: list[list[int]] = []
    for index in indices:
        if ranges and ranges[-1][1] == index:
            ranges[-1][1] = index + 1
        else:
            ranges.append([index, index + 1])
    return ranges


def from_ranges(ranges: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Read increasing half-open ranges.

    Raises:
        ValueError: they overlap, are empty, or reach beyond what any layer has.
    """
    bounds = [_natural(bound) for pair in ranges for bound in _pair(pair)]
    if any(a >= b for a, b in zip(bounds[::2], bounds[1::2], strict=True)):
        raise ValueError("an empty range")
    if any(a > b for a, b in pairwise(bounds)):
        raise ValueError("ranges that overlap")
    if bounds and bounds[-1] > MOST_UNITS:
        raise ValueError(f"indices up to {bounds[-1] - 1}; at most {MOST_UNITS - 1} is allowed")
    return tuple(i for a, b in zip(bounds[::2], bounds[1::2], strict=True) for i in range(a, b))


def _pair(value: Sequence[int]) -> Sequence[int]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"a range is [start, stop], not {shown(value)}")
    return value


def _natural(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected an integer of 0 or more, not {shown(value)}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"expected a name, not {shown(value)}")
    return value


def _encode(step: Step) -> dict[str, Any]:
    match step:
        case Remove():
            sets = {indices: n for n, indices in enumerate(dict.fromkeys(step.indices.values()))}
            tensors: dict[str, dict[str, int]] = {}
            for (tensor, dim), indices in sorted(step.indices.items()):
                tensors.setdefault(tensor, {})[str(dim)] = sets[indices]
            return {
                "step": "remove",
                "index_sets": [as_ranges(indices) for indices in sets],
                "tensors": tensors,
                "attributes": dict(step.attributes),
            }
        case LowRank():
            return {
                "step": "low_rank",
                "module": step.module,
                "kind": step.kind,
                "rank": step.rank,
            }
        case Fold():
            return {
                "step": "fold",
                "convolution": step.convolution,
                "norm": step.norm,
                "order": step.order,
                "remove_norm": step.remove_norm,
            }


def _decode(where: str, number: int, data: Any) -> Step:
    try:
        return _DECODERS[data["step"]](data)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        what = f"step {number} of the plan is wrong: {type(error).__name__}: {error}"
        known = f"known steps: {', '.join(_DECODERS)}"
        raise UsageError(one_line(f"{where}: {what}; {known}")) from error


def _decode_remove(data: Mapping[str, Any]) -> Remove:
    sets, left = [], MOST_INDICES
    for ranges in data["index_sets"]:
        sets.append(from_ranges(ranges))
        left -= len(sets[-1])
        if left < 0:
            raise ValueError(f"more than {MOST_INDICES} indices")
    indices = {
        (_text(tensor), _natural(int(dim))): sets[_natural(number)]
        for tensor, dims in data["tensors"].items()
        for dim, number in dims.items()
    }
    attributes = {_text(name): _natural(value) for name, value in data["attributes"].items()}
    return Remove(indices, attributes)


def _decode_low_rank(data: Mapping[str, Any]) -> LowRank:
    kind, rank = data["kind"], _natural(data["rank"])
    if kind not in get_args(LowRankKind):
        raise ValueError(f"kind {shown(kind)} is not one of {', '.join(get_args(LowRankKind))}")
    if rank < 1:
        raise ValueError("a rank is at least 1")
    return LowRank(_text(data["module"]), kind, rank)


def _decode_fold(data: Mapping[str, Any]) -> Fold:
    order, remove_norm = data["order"], data["remove_norm"]
    if order not in get_args(Order):
        raise ValueError(f"order {shown(order)} is not one of {', '.join(get_args(Order))}")
    if not isinstance(remove_norm, bool):
        raise ValueError(f"remove_norm must be true or false, not {shown(remove_norm)}")
    return Fold(_text(data["convolution"]), _text(data["norm"]), order, remove_norm)


_DECODERS: Mapping[str, Callable[[Mapping[str, Any]], Step]] = {
    "remove": _decode_remove,
    "low_rank": _decode_low_rank,
    "fold": _decode_fold,
}
