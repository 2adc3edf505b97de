"""A rehearsal of removals without numbers: does the model's own Python code follow?

A forward pass may repeat a size as a literal or an attribute. One unit of every group is removed
from a copy of the model without data (meta tensors), and the forward pass is run on fake tensors.
Where it fails, the attributes that repeat the size are searched; a group that still fails stays.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map

from autocompress.errors import UsageError
from autocompress.graph.removal import Choice, removal
from autocompress.graph.surgery import remove
from autocompress.graph.tracing import Inputs, as_arguments, named_tensors
from autocompress.graph.unit_groups import UnitGroup

MAX_SIZES = 3  # attributes that may repeat one size together
MAX_CANDIDATES = 6
FORWARD_ERRORS = (  # what a forward pass raises when sizes don't fit
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
    UsageError,
)


@dataclass(frozen=True)
class Failure:
    """A forward pass that failed: the innermost module it was in, and what it said."""

    module: str
    message: str


class Rehearsal:
    """Tries removals on a copy of a model without data."""

    def __init__(self, model: nn.Module, example_inputs: Inputs) -> None:
        """Copy the modules of a model; its tensors are only looked at."""
        tensors = named_tensors(model).values()
        self._devices = {name: t.device for name, t in named_tensors(model).items()}
        empty = {id(t): _without_data(t) for t in tensors}
        self.model = copy.deepcopy(model, memo=empty).eval()
        self.inputs = as_arguments(example_inputs)

    def settle(self, groups: Sequence[UnitGroup]) -> list[UnitGroup]:
        """Return the groups with the attributes that follow, or with the reason why they stay."""
        settled = {group.name: group for group in groups}
        while True:
            active = [group for group in settled.values() if group.removable]
            failure = self.failure(active)
            if failure is None:
                return list(settled.values())
            suspects = _suspects(active, failure.module)
            guilty = self._guilty(suspects) or suspects
            for group in guilty:
                outcome = self._followed(group, failure)
                settled[group.name] = outcome
                for twin in self._twins(outcome, active, failure.module):
                    settled[twin.name] = twin

    def _guilty(self, groups: Sequence[UnitGroup]) -> list[UnitGroup]:
        """Return the groups that fail on their own, by halving."""
        if not groups or self.failure(groups) is None:
            return []
        if len(groups) == 1:
            return list(groups)
        middle = len(groups) // 2
        return self._guilty(groups[:middle]) + self._guilty(groups[middle:])

    def _followed(self, group: UnitGroup, failure: Failure) -> UnitGroup:
        for sizes in _repeated_sizes(self.model, group, failure.module):
            candidate = replace(group, sizes=sizes)
            if self.failure([candidate]) is None:
                return candidate
        own = self.failure([group]) or failure
        where = own.module or "the model"
        return replace(group, reasons=(f"{where} repeats its size: {own.message}",))

    def _twins(
        self, outcome: UnitGroup, groups: Sequence[UnitGroup], module: str
    ) -> Iterator[UnitGroup]:
        """Yield the groups at the same place in modules of the same type, settled alike."""
        pattern = _pattern(outcome, module)
        if pattern is None or not module:
            return
        kind = type(self.model.get_submodule(module))
        peers = [
            name
            for name, peer in self.model.named_modules()
            if type(peer) is kind and name != module
        ]
        by_pattern = {_key(group): group for group in groups}
        for peer in peers:
            group = by_pattern.get(frozenset((f"{peer}.{tensor}", dim) for tensor, dim in pattern))
            if group is not None:
                yield replace(
                    group,
                    reasons=tuple(why.replace(module, peer) for why in outcome.reasons),
                    sizes=tuple(size.replace(module, peer) for size in outcome.sizes),
                )

    def failure(self, groups: Iterable[UnitGroup]) -> Failure | None:
        """Remove one unit of each group and run the forward pass; return where it fails."""
        twin = copy.deepcopy(self.model)
        stack: list[str] = []
        try:
            step = removal(twin, [Choice(group, _first_of(group)) for group in groups])
            remove(twin, step)
            with FakeTensorMode(allow_non_fake_inputs=True) as mode, torch.no_grad():
                self._fill(twin)
                _keep_stack(twin, stack)
                twin(*tree_map(lambda x: _faked(mode, x), self.inputs))
        except FORWARD_ERRORS as error:
            return Failure(stack[-1] if stack else "", _first_line(error))
        return None

    def _fill(self, model: nn.Module) -> None:
        """Replace meta tensors by fake ones on the devices of the original (in place)."""
        fake: dict[int, Tensor] = {}
        names = {id(t): name for name, t in named_tensors(model).items()}
        for module in model.modules():
            for table in (module._parameters, module._buffers):
                for key, old in table.items():
                    if old is None:
                        continue
                    device = self._devices[names[id(old)]]
                    if id(old) not in fake:
                        fake[id(old)] = _like(old, device)
                    table[key] = fake[id(old)]  # type: ignore[assignment]


def _without_data(tensor: Tensor) -> Tensor:
    empty = tensor.detach().to("meta")
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty


def _like(tensor: Tensor, device: torch.device) -> Tensor:
    fake = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
    return nn.Parameter(fake, requires_grad=False) if isinstance(tensor, nn.Parameter) else fake


def _faked(mode: FakeTensorMode, value: object) -> object:
    return mode.from_tensor(value) if isinstance(value, Tensor) else value


def _first_of(group: UnitGroup) -> Tensor:
    removed = torch.zeros(group.size, dtype=torch.bool)
    removed[0] = True
    return removed


def _keep_stack(model: nn.Module, stack: list[str]) -> None:
    """Keep the names of the modules that are running in ``stack`` (hooks stay on the model)."""
    for name, module in model.named_modules():
        module.register_forward_pre_hook(lambda _m, _a, name=name: stack.append(name))
        module.register_forward_hook(lambda _m, _a, _o: _drop(stack))


def _drop(stack: list[str]) -> None:
    stack.pop()


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _suspects(groups: Sequence[UnitGroup], module: str) -> list[UnitGroup]:
    """Return the groups with a member in a module, or in the nearest one around it with any."""
    while True:
        prefix = f"{module}." if module else ""
        found = [g for g in groups if any(m.tensor.startswith(prefix) for m in g.members)]
        if found or not module:
            return found or list(groups)
        module = module.rpartition(".")[0]


def _repeated_sizes(model: nn.Module, group: UnitGroup, module: str) -> Iterator[tuple[str, ...]]:
    """Yield sets of attributes that may repeat a group's size, the likeliest first."""
    owners = dict.fromkeys([module, *(_parent(_parent(m.tensor)) for m in group.members)])
    widths = {group.size} | {m.indices.numel() for m in group.members}
    names = [
        f"{owner}.{key}" if owner else key
        for owner in owners
        for key, value in vars(model.get_submodule(owner)).items()
        if type(value) is int and value in widths and not key.startswith("_")
    ][:MAX_CANDIDATES]
    for count in range(1, min(MAX_SIZES, len(names)) + 1):
        yield from combinations(names, count)


def _key(group: UnitGroup) -> frozenset[tuple[str, int]]:
    return frozenset((member.tensor, member.dim) for member in group.members)


def _pattern(group: UnitGroup, module: str) -> list[tuple[str, int]] | None:
    """Return what a group cuts, relative to a module; None if it reaches out of the module."""
    inside = [m for m in group.members if m.tensor.startswith(f"{module}.")]
    if len(inside) != len(group.members):
        return None
    return [(m.tensor.removeprefix(f"{module}."), m.dim) for m in inside]


def _parent(name: str) -> str:
    return name.rpartition(".")[0]
