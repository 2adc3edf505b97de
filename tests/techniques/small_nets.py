"""Nets for the tests of the techniques: tiny, with every kind of layer that matters."""

import torch
from torch import nn


class SmallResidual(nn.Module):
    """A residual, a depthwise and a plain convolution with batch norms, two linear layers."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(4, 8, 3, padding=1)
        self.stem_norm = nn.BatchNorm2d(8)
        self.block = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.block_norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.last = nn.Conv2d(8, 12, (3, 2))
        self.last_norm = nn.BatchNorm2d(12)
        self.hidden = nn.Linear(12, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = torch.relu(self.stem_norm(self.stem(x)))
        x = torch.relu(x + self.block_norm(self.block(x)))
        x = torch.relu(self.last_norm(self.last(self.depthwise(x))))
        return self.head(torch.relu(self.hidden(x.mean((2, 3)))))


def randomize_norms(model):
    """Give batch norms statistics and factors as after training, in place."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            if module.running_mean is not None:
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 1.5)
            if module.weight is not None:
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.uniform_(module.bias, -0.5, 0.5)
    return model


def small_residual():
    torch.manual_seed(0)
    return randomize_norms(SmallResidual())
