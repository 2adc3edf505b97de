"""The contract of data catches data that break it."""

import random

import pytest
import torch

from autocompress.data import BatchSettings, TensorData, Tensors
from autocompress.testing.data import check_data


class Kept:
    """Batches as they are kept; a fault changes what an iteration yields."""

    def __init__(self, batches, fault=None):
        self.batches, self.fault = list(batches), fault

    def __len__(self):
        return len(self.batches) + (3 if self.fault == "length" else 0)

    def __iter__(self):
        batches = list(self.batches)
        if self.fault == "shuffled":
            random.shuffle(batches)
        for inputs, targets in batches:
            if self.fault == "noise":
                yield inputs + torch.rand(1), targets
            elif self.fault == "list":
                yield [inputs, targets]
            elif self.fault == "three":
                yield inputs, targets, targets
            else:
                yield inputs, targets


class Broken(TensorData):
    def __init__(self, fault=None):
        generator = torch.Generator().manual_seed(0)
        parts = {
            name: Tensors(torch.rand(90, 5, generator=generator), torch.arange(90))
            for name in ("train", "valid", "test")
        }
        super().__init__(parts, BatchSettings(batch_size=10))
        self.fault = fault
        if fault in ("valid shuffled", "valid length"):
            self.valid = Kept(self.valid, fault.removeprefix("valid "))
        if fault == "example":
            self.example = self.example.flip(0)
        if fault == "one example":
            self.example = self.example[:1]

    def train(self, seed):
        loader = super().train(0 if self.fault == "one order" else seed)
        return Kept(loader, self.fault) if self.fault in FAULTY_TRAINING else loader

    @property
    def sizes(self):
        sizes = super().sizes
        return {**sizes, "test": 7} if self.fault == "sizes" else sizes

    def calibration(self, count):
        for inputs in super().calibration(2 if self.fault == "few calibrated" else count):
            yield inputs + torch.rand(1) if self.fault == "random calibration" else inputs

    def fingerprint(self):
        if self.fault == "random fingerprint":
            return f"{random.getrandbits(256):064x}"
        return "abc" if self.fault == "no sha256" else super().fingerprint()

    def describe(self):
        facts = super().describe()
        return {**facts, "shape": self.example.shape, "x": {1}} if self.fault == "set" else facts


FAULTY_TRAINING = {
    "shuffled": "do not derive from the seed alone",
    "noise": "do not derive from the seed alone",
    "list": "a batch is a list",
    "three": "3 entries, not 2",
    "length": "len of train is 12, it yields 9",
}
FAULTS = {
    **FAULTY_TRAINING,
    "one order": "does not depend on the seed",
    "valid shuffled": "valid: batches differ between two passes",
    "valid length": "len of valid is 12, it yields 9",
    "example": "not the first inputs of valid",
    "one example": "at least 2 inputs, not 1",
    "sizes": "test has 90 items, not 7",
    "few calibrated": r"calibration\(5\) gave 2 items",
    "random calibration": "calibration gives other inputs",
    "random fingerprint": "fingerprint differs",
    "no sha256": "no sha256: 'abc'",
    "set": "what JSON cannot",
}


def test_data_that_keep_it_pass():
    check_data(Broken())


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_data_are_caught(fault):
    random.seed(0)
    with pytest.raises(AssertionError, match=FAULTS[fault]):
        check_data(Broken(fault))
