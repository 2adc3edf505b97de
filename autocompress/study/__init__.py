"""Studies: run, resume and read them. Reading a run loads neither torch nor fastai."""

from autocompress.study.records import Run, TrialRecord

__all__ = ["Run", "TrialRecord"]
