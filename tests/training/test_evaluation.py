import tempfile
import threading

import pytest
import torch
from torch import nn

from autocompress.targets.lock import DeviceLock
from autocompress.tasks import classification
from autocompress.training.evaluation import evaluate, reestimate_batch_norms

PATIENCE_S = 20


@pytest.mark.parametrize("work", [evaluate, reestimate_batch_norms])
def test_nothing_is_evaluated_while_somebody_measures(work, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    model = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(4, 2))
    loader = [(torch.rand(8, 1, 2, 2), torch.zeros(8, dtype=torch.long))]
    arguments = (model, loader, classification())[: 3 if work is evaluate else 2]
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    with DeviceLock("cpu").exclusive():
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
