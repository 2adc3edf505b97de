import pytest
import torch

from autocompress.errors import ConfigurationError, DeviceLostError, TrialError, failing_as


def caught(error, cause=None):
    with pytest.raises(TrialError) as found, failing_as("measure"):
        raise error from cause
    return found.value


def test_a_broken_gpu_is_distinguished_from_one_that_is_full():
    broken = torch.AcceleratorError("CUDA error: device-side assert triggered")
    assert isinstance(caught(broken), DeviceLostError)
    assert isinstance(caught(ConfigurationError("can't be captured"), broken), DeviceLostError)
    for full in (torch.AcceleratorError, torch.OutOfMemoryError):
        found = caught(full("CUDA error: out of memory"))
        assert type(found) is TrialError
        assert found.reason == "out of memory: CUDA error: out of memory"
    assert type(caught(ValueError("no"))) is TrialError
