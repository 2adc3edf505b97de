"""Sizes of a model: parameters, nonzero parameters, bytes, multiply-accumulates."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

MULTIPLYING = frozenset(  # operators of ATen that multiply matrices and have no FLOP formula
    {
        "_cdist_forward",
        "_thnn_fused_gru_cell",
        "_thnn_fused_lstm_cell",
        "_transformer_encoder_layer_fwd",
        "_trilinear",
        "addmv",
        "addr",
        "conv_tbc",
        "dot",
        "gru",
        "linalg_vecdot",
        "lstm",
        "mkldnn_rnn_layer",
        "mv",
        "ger",
        "vdot",
    }
)


def _unique(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return each tensor once, though several names may lead to it."""
    return list({id(tensor): tensor for tensor in tensors}.values())


def count_parameters(model: nn.Module) -> int:
    """Count the elements of all parameters; tied ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_nonzero(model: nn.Module) -> int:
    """Count the elements of all parameters that are not exactly zero; tied ones count once."""
    return sum(int(parameter.count_nonzero()) for parameter in model.parameters())


def state_bytes(model: nn.Module) -> int:
    """Return the bytes of a model's weights on disk, parameters and buffers; tied ones once.

    The header of a file (names and shapes, some kilobytes) is not included.
    """
    state = model.state_dict(keep_vars=True).values()
    return sum(tensor.numel() * tensor.element_size() for tensor in _unique(state))


@dataclass(frozen=True, slots=True)
class Macs:
    """Multiply-accumulates of one call.

    Attributes:
        total: multiplications, each with its addition, in convolutions, matrix products and
            attention; biases, norms and activations are not counted.
        uncounted: operators that multiply but have no formula, by name; their work is missing
            from the total.
    """

    total: int
    uncounted: tuple[str, ...]


def count_macs(model: nn.Module, example_inputs: Tensor | tuple[Tensor, ...]) -> Macs:
    """Count the multiply-accumulates of one forward pass in evaluation mode.

    Half of what :mod:`torch.utils.flop_counter` counts, which is two operations each.

    Args:
        model: on the device of the example; a copy of it is run.
        example_inputs: the arguments of the call. For numbers per image give one image.
    """
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    model = copy.deepcopy(model).eval()
    counter, seen = FlopCounterMode(display=False), _Uncounted()
    with torch.no_grad(), _plain_attention(), counter, seen:
        model(*inputs)
    return Macs(counter.get_total_flops() // 2, tuple(sorted(seen.names)))


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Compute attention by matrix products: the fused operators have no formulas on the CPU."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


class _Uncounted(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Collects the names of operators whose multiplications the FLOP counter would miss."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        packet = func.overloadpacket
        space, _, name = func.name().partition("::")
        name = name.split(".")[0]
        foreign = space not in ("aten", "prim", "prims")
        multiplies = foreign or name in MULTIPLYING or "attention" in name
        if multiplies and packet not in flop_registry:
            self.names.add(f"{space}::{name}")
        return func(*args, **(kwargs or {}))
