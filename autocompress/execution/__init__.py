"""Where trials run: in this process, in a pool of processes, or where an executor takes them."""

from autocompress.execution.executor import Done, Executor, Job

__all__ = ["Done", "Executor", "Job"]
