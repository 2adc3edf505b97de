import json

import torch
from torch import nn

from autocompress.targets import compare_layers


def test_every_layer_with_a_weight_is_described():
    before = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Linear(8, 6))
    after = nn.Sequential(
        nn.Conv2d(3, 5, 3),
        nn.Identity(),
        nn.ReLU(),
        nn.Sequential(nn.Linear(5, 2, bias=False), nn.Linear(2, 6)),
    )
    with torch.no_grad():
        for weight in (after[0].weight, after[3][0].weight, after[3][1].weight):
            weight.fill_(1)
        after[0].weight[0] = 0
    rows = [change.to_dict() for change in compare_layers(before, after)]
    assert json.loads(json.dumps(rows)) == rows
    assert rows == [
        {
            "name": "0", "type": "Conv2d", "before": [8, 3, 3, 3],
            "after": [[5, 3, 3, 3]], "parameters_before": 224, "parameters_after": 140,
            "rank": None, "sparsity": 0.2,
        },
        {
            "name": "1", "type": "BatchNorm2d", "before": [8], "after": [],
            "parameters_before": 16, "parameters_after": 0, "rank": None, "sparsity": 0.0,
        },
        {
            "name": "3", "type": "Linear", "before": [6, 8], "after": [[2, 5], [6, 2]],
            "parameters_before": 54, "parameters_after": 28, "rank": 2, "sparsity": 0.0,
        },
    ]  # fmt: skip


def test_a_layer_that_is_gone_is_said_so():
    (layer,) = compare_layers(nn.Sequential(nn.Linear(2, 2)), nn.Sequential())
    assert layer.after == ()
    assert layer.parameters_after == 0
