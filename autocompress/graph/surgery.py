"""The only code that edits a model: it applies the steps of a plan, in place.

Nothing is noted in the model: a plan is data beside it, which the caller keeps.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from autocompress.errors import UsageError, in_one_line
from autocompress.graph.elastic import has_form, make_elastic, replace_module, why_not
from autocompress.graph.folds import fold_tensors
from autocompress.graph.heads import Heads
from autocompress.graph.low_rank import low_rank_layers
from autocompress.graph.plan import Axis, Fold, LowRank, Plan, Remove, Step
from autocompress.graph.sizes import follow_sizes


def rebuild(model: nn.Module, plan: Plan) -> None:
    """Apply a whole plan to a freshly built model, in place.

    The weights are not part of a plan: load them afterwards with ``load_state_dict``.

    Raises:
        UsageError: a step does not fit the model.
    """
    for number, step in enumerate(plan.steps):
        try:
            _apply(model, step)
        except UsageError:
            raise
        except Exception as error:  # of the model's own modules, which a foreign plan may break
            raise UsageError(
                f"step {number} of the plan does not fit {type(model).__name__}: "
                f"{in_one_line(error)}"
            ) from error


def _apply(model: nn.Module, step: Step) -> None:
    match step:
        case Remove():
            remove(model, step)
        case LowRank():
            replace_low_rank(model, step, None)
        case Fold():
            fold(model, step)


def remove(model: nn.Module, step: Remove) -> None:
    """Remove slices of tensors and let the sizes that modules repeat follow, in place.

    Parameters are new objects afterwards: an optimizer of the old ones is worthless.

    Raises:
        UsageError: the model has no such tensor, dimension, index or attribute.
    """
    masks = _masks(model, step)
    _follow_heads(model, masks)
    by_tensor: dict[str, dict[int, Tensor]] = {}
    for (name, dim), mask in masks.items():
        by_tensor.setdefault(name, {})[dim] = mask
    places = holders(model)
    for name, dims in by_tensor.items():
        _cut(_tensor(model, name), dims, places)
    for name, size in step.attributes.items():
        _set_size(model, name, size)


def replace_low_rank(model: nn.Module, step: LowRank, factors: tuple[Tensor, ...] | None) -> None:
    """Replace a layer by two thinner ones, ``NAME.0`` and ``NAME.1``, in place.

    Args:
        model: the model.
        step: which layer, how, and the rank between the two.
        factors: weights of the first and the second layer; the second takes the old bias. Shapes:
            ``linear``: [rank, in], [out, rank];
            ``pointwise``: [rank, in, 1, 1], [out, rank, 1, 1];
            ``spatial``: [rank, in, k, 1], [out, rank, 1, k];
            ``channel``: [rank, in, k, k], [out, rank, 1, 1].
            None leaves them uninitialised: their values come from a state dict.

    Raises:
        UsageError: no such layer, a layer that the kind does not fit, or that shares its tensors.
    """
    layer = _module(model, step.module)
    _refuse_shared(model, step.module, layer)
    pair = low_rank_layers(layer, step, factors)
    pair.train(layer.training)
    replace_module(model, step.module, pair)


def fold(model: nn.Module, step: Fold) -> None:
    """Fold a batch norm into a layer, in place; what follows inside the norm's module stays.

    Raises:
        UsageError: no such modules, types that don't fold, or tensors shared with other modules.
    """
    layer, norm = _module(model, step.convolution), _module(model, step.norm)
    _refuse_shared(model, step.convolution, layer)
    rest = fold_tensors(layer, norm, step)
    if step.remove_norm:
        replace_module(model, step.norm, rest)


def _module(model: nn.Module, name: str) -> nn.Module:
    try:
        return model.get_submodule(name)
    except AttributeError as error:
        raise UsageError(f"{type(model).__name__} has no module {name!r}") from error


def holders(model: nn.Module) -> dict[int, list[tuple[nn.Module, str]]]:
    """Return every (module, attribute) that holds a tensor, by the tensor's id."""
    found: dict[int, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for table in (module._parameters, module._buffers):
            for key, value in table.items():
                found.setdefault(id(value), []).append((module, key))
    return found


def _refuse_shared(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, _ = name.rpartition(".")
    owner = model.get_submodule(parent)
    if isinstance(owner, Heads) or has_form(owner):
        raise UsageError(f"{name} is read by its attention itself and cannot be replaced")
    places = holders(model)
    for key, tensor in layer.named_parameters(recurse=False):
        if len(places[id(tensor)]) > 1:
            raise UsageError(f"{name}.{key} is shared with another module: it cannot be changed")


def _masks(model: nn.Module, step: Remove) -> dict[Axis, Tensor]:
    return {
        (name, dim): _mask(_tensor(model, name), name, dim, indices)
        for (name, dim), indices in step.indices.items()
        if indices
    }


def _tensor(model: nn.Module, name: str) -> Tensor:
    parent, _, key = name.rpartition(".")
    value = getattr(_module(model, parent), key, None)
    if not isinstance(value, Tensor):
        raise UsageError(f"{type(model).__name__} has no tensor {name!r}")
    return value


def _mask(tensor: Tensor, name: str, dim: int, indices: Sequence[int]) -> Tensor:
    size = tensor.shape[dim] if 0 <= dim < tensor.dim() else 0
    if max(indices) >= size or min(indices) < 0:
        raise UsageError(
            f"{name} has shape {list(tensor.shape)}: index {max(indices)} of dimension {dim} "
            "cannot be removed"
        )
    mask = torch.zeros(size, dtype=torch.bool)
    mask[torch.tensor(indices)] = True
    if bool(mask.all()):
        raise UsageError(f"nothing of {name} would be left along dimension {dim}")
    return mask


def _follow_heads(model: nn.Module, masks: Mapping[Axis, Tensor]) -> None:
    """Give every attention that is cut free sizes, and let them follow."""
    for name, module in [*model.named_modules()]:
        if has_form(module) and any(tensor.startswith(f"{name}.") for tensor, _ in masks):
            reason = why_not(module)
            if reason is not None:
                raise UsageError(f"{name} is an attention {reason}: it cannot be cut")
            make_elastic(model, name)
    for name, module in model.named_modules():
        if isinstance(module, Heads) and (f"{name}.{module.packed}", 0) in masks:
            module.resize(masks[f"{name}.{module.packed}", 0])


def _cut(
    old: Tensor, masks: Mapping[int, Tensor], places: Mapping[int, list[tuple[nn.Module, str]]]
) -> None:
    new = old.detach()
    for dim, mask in masks.items():
        new = new.index_select(dim, (~mask).nonzero().flatten().to(new.device))
    new = new.contiguous()
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, requires_grad=old.requires_grad)
    for module, key in places[id(old)]:
        setattr(module, key, new)
        follow_sizes(module)


def _set_size(model: nn.Module, name: str, size: int) -> None:
    parent, _, key = name.rpartition(".")
    module = _module(model, parent)
    before = getattr(module, key, None)
    if not isinstance(before, int) or isinstance(before, bool):
        raise UsageError(f"{type(model).__name__} has no whole-number attribute {name!r}")
    if not 0 < size <= before:
        raise UsageError(f"{name} is {before}: it can shrink, and cannot become {size}")
    setattr(module, key, size)
