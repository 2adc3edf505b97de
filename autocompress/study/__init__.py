"""Studies: run, resume and read them. Reading a run loads neither torch nor fastai."""

from autocompress.study.picks import Demands
from autocompress.study.records import Run
from autocompress.study.trials import TrialRecord

__all__ = ["Demands", "Run", "TrialRecord"]
