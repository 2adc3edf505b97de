import pytest
from torch import nn

from autocompress.errors import ConfigurationError
from autocompress.study.preparation import check_batch


class Overwriting(nn.Sequential):
    """Changes in place what the backward pass needs."""

    def forward(self, images):
        return super().forward(images).sigmoid().mul_(2)


def test_a_model_that_cannot_be_trained_is_told(batches):
    layers = nn.Flatten(), nn.Linear(64, 10)
    assert check_batch(nn.Sequential(*layers), batches) == (4, 10)
    with pytest.raises(ConfigurationError, match="cannot be trained: RuntimeError"):
        check_batch(Overwriting(*layers), batches)
