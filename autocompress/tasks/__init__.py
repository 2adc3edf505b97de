"""What a model is for: its loss, its scores, and what its outputs must look like."""

from autocompress.registry import by_name
from autocompress.tasks.classification import classification
from autocompress.tasks.regression import regression
from autocompress.tasks.scores import Mean, Share, from_torchmetrics
from autocompress.tasks.segmentation import segmentation
from autocompress.tasks.task import Score, Task

TASKS = by_name("task", classification, segmentation, regression)

__all__ = [
    "TASKS",
    "Mean",
    "Score",
    "Share",
    "Task",
    "classification",
    "from_torchmetrics",
    "regression",
    "segmentation",
]
