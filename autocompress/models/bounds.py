"""How much memory a model would take, found out before any of it is taken."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from autocompress.errors import ConfigurationError

MOST_PARTS = 10_000  # parameters and buffers, and as many modules: some thousand layers


class TooLargeError(ConfigurationError):
    """A model has larger or more tensors, or more modules, than it may have."""


def refuse_large(build: Callable[[], nn.Module], most_bytes: int) -> None:
    """Build a model on the meta device, where tensors have shapes and no memory.

    Args:
        build: builds it; a function that does not run on the meta device, or fails, is left to
            whoever calls it to build the model.
        most_bytes: of its parameters and buffers.

    Raises:
        TooLargeError: it is larger, or has more than ``MOST_PARTS`` tensors or modules.
    """
    try:
        with _counted(most_bytes), torch.device("meta"):
            build()
    except TooLargeError:
        raise
    except (ConfigurationError, NotImplementedError, RuntimeError):
        return


@contextmanager
def _counted(most_bytes: int) -> Iterator[None]:
    """Count what modules register, from the first on: a loop that never ends is stopped too."""
    left = {"bytes": most_bytes, "tensors": MOST_PARTS, "modules": MOST_PARTS}

    def tensor(_module: nn.Module, _name: str, added: Tensor | None) -> None:
        if isinstance(added, Tensor):
            left["tensors"] -= 1
            left["bytes"] -= added.numel() * added.element_size()
        check()

    def module(_module: nn.Module, _name: str, _added: nn.Module | None) -> None:
        left["modules"] -= 1
        check()

    def check() -> None:
        if min(left.values()) < 0:
            raise TooLargeError(
                f"the model would take more than {most_bytes:,} bytes, or have more than "
                f"{MOST_PARTS:,} tensors or modules"
            )

    hooks = [
        register_module_parameter_registration_hook(tensor),
        register_module_buffer_registration_hook(tensor),
        register_module_module_registration_hook(module),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
