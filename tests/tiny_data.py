"""Digits as Data and classification as Task, until data/ and tasks/ bring their own."""

from fastai.losses import CrossEntropyLossFlat

from autocompress.metrics import Metric
from autocompress.tasks import Task


class Digits:
    def __init__(self, batches):
        self._batches = batches
        self.device, self.example = batches.device, batches.example
        self.valid, self.test = batches.valid, batches.test

    def train(self, seed):
        return self._batches.reseeded(seed).train

    def calibration(self, count):
        return self._batches.calibration(count)


class Accuracy:
    metric = Metric(name="accuracy", direction="maximize", format="fraction")


TASK = Task(name="classification", loss=CrossEntropyLossFlat(), scores=[Accuracy()])
