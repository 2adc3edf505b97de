"""Modules that derive inner sizes from their inputs, and the forms of them that can shrink."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from autocompress.graph.attention import ElasticAttention, why_not_elastic
from autocompress.graph.heads import Heads
from autocompress.graph.window_attention import ElasticRelativeAttention, ElasticWindowAttention

FORMS: Mapping[str, Callable[[Any], Heads]] = {  # by name: torchvision need not be installed
    "torch.nn.modules.activation.MultiheadAttention": ElasticAttention,
    "torchvision.models.swin_transformer.ShiftedWindowAttention": ElasticWindowAttention,
    "torchvision.models.swin_transformer.ShiftedWindowAttentionV2": ElasticWindowAttention,
    "torchvision.models.maxvit.RelativePositionalMultiHeadAttention": ElasticRelativeAttention,
}


def qualified_name(kind: type) -> str:
    """Return ``package.module.Class``."""
    return f"{kind.__module__}.{kind.__qualname__}"


def has_form(module: nn.Module) -> bool:
    """Return whether a module is of a type with an elastic form."""
    return qualified_name(type(module)) in FORMS


def why_not(module: nn.Module) -> str | None:
    """Return why a module of such a type still has no elastic form, or None where it has one."""
    return why_not_elastic(module) if isinstance(module, nn.MultiheadAttention) else None


def make_elastic(model: nn.Module, name: str) -> None:
    """Replace the module called ``name`` by its elastic form, in place; same tensors and names."""
    module = model.get_submodule(name)
    replace_module(model, name, FORMS[qualified_name(type(module))](module))


def make_all_elastic(model: nn.Module) -> None:
    """Replace every module that has an elastic form, in place."""
    for name, module in [*model.named_modules()]:
        if name and has_form(module) and why_not(module) is None:
            make_elastic(model, name)


def replace_module(model: nn.Module, name: str, new: nn.Module) -> None:
    """Put ``new`` wherever the module called ``name`` is registered, shared places included."""
    old = model.get_submodule(name)
    for parent in model.modules():
        for key, child in parent._modules.items():
            if child is old:
                parent._modules[key] = new
