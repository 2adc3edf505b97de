"""The numbers that a deployed model computes with."""

from collections.abc import Sequence
from typing import Literal

from autocompress.errors import ConfigurationError
from autocompress.registry import did_you_mean

Precision = Literal["fp32", "fp16", "int8"]


def require_precision(name: str, allowed: Sequence[str], target: str) -> None:
    """Check that a target runs a precision.

    Args:
        name: the precision.
        allowed: what the target runs.
        target: its name, for the message.

    Raises:
        ConfigurationError: it does not.
    """
    if name not in allowed:
        raise ConfigurationError(
            f"precision {name!r}{did_you_mean(name, allowed)}: {target} runs {', '.join(allowed)}"
        )
