"""A run on disk, written and read here alone. Reading loads neither torch nor optuna."""

from autocompress.runs.picks import Budget, Infeasibility
from autocompress.runs.reading import Run
from autocompress.runs.records import TrialRecord
from autocompress.runs.status import Status

__all__ = ["Budget", "Infeasibility", "Run", "Status", "TrialRecord"]
