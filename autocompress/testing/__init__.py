"""Contract suites: run them on your own metric, task, data, target, stage or executor.

Each ``check_...`` raises an ``AssertionError`` that says what the contract asks for.
"""

from autocompress.testing.data import check_data
from autocompress.testing.execution import check_executor, small_study
from autocompress.testing.metrics import check_metric
from autocompress.testing.stages import check_stage
from autocompress.testing.targets import check_target
from autocompress.testing.tasks import check_task
from autocompress.testing.techniques import (
    check_criterion,
    check_granularity,
    check_loss,
    check_schedule,
)

__all__ = [
    "check_criterion",
    "check_data",
    "check_executor",
    "check_granularity",
    "check_loss",
    "check_metric",
    "check_schedule",
    "check_stage",
    "check_target",
    "check_task",
    "small_study",
]


def __dir__() -> list[str]:
    return __all__
