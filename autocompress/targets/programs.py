"""Exported graphs: where every conversion starts."""

import logging
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from autocompress.errors import ConfigurationError

logger = logging.getLogger(__name__)

Batch = Literal["any", 1]
"""Which batch sizes a converted model runs: any, or 1 where the model fixes it."""


def export_program(model: nn.Module, example: Tensor) -> tuple[ExportedProgram, Batch]:
    """Export for any batch size where the model allows it, else for one input, and say so.

    Args:
        model: in evaluation mode, on the device of the example; it is not changed.
        example: inputs ``[n, ...]``, at least one.

    Raises:
        ConfigurationError: the model can't be exported.
    """
    several = example if len(example) > 1 else example.repeat(2, *[1] * (example.ndim - 1))
    try:
        return _export(model, several, {0: torch.export.Dim.DYNAMIC}), "any"
    except ConfigurationError as error:
        program = export_one_input(model, example)
        logger.warning("the exported model takes one input at a time: %s", error)
        return program, 1


def export_one_input(model: nn.Module, example: Tensor) -> ExportedProgram:
    """Export for one input at a time.

    Args:
        model: as for ``export_program``.
        example: inputs ``[n, ...]``, at least one.

    Raises:
        ConfigurationError: the model can't be exported.
    """
    return _export(model, example[:1], {})


def _export(model: nn.Module, example: Tensor, dynamic: dict[int, Any]) -> ExportedProgram:
    try:
        with torch.no_grad():
            return torch.export.export(model, (example,), dynamic_shapes=(dynamic,), strict=False)
    except Exception as error:  # the exporter has no error class of its own
        raise ConfigurationError(f"torch.export can't export the model: {error}") from error
