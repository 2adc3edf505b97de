"""What a model is for: its loss, its scores, and what its outputs must look like."""

from autocompress.tasks.task import Score, Task

__all__ = ["Score", "Task"]
