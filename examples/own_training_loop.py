"""Sparsify and distil in a plain PyTorch loop, then prune, fold, export: no search, no fastai."""

import copy
from pathlib import Path

import torch
from small import digits, trained
from torch import nn
from torch.nn import functional as F

import autocompress as ac


def main(directory: str = "runs", epochs: int = 3) -> Path:
    """Return a bundle of a network with half of its channels."""
    teacher, (images, labels) = trained(), digits()
    model, example = copy.deepcopy(teacher), images[:2]
    units = ac.find_units(model, example)
    settings = ac.Sparsification(sparsity=0.5, linear_sparsity=0.5, end=0.7)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = torch.arange(1200).split(50)
    model.train()
    with (
        ac.Sparsifier(model, settings, units) as sparsifier,
        ac.Distiller(model, teacher, ac.Distillation(weight=0.5), example) as distiller,
    ):
        for epoch in range(epochs):
            for index, batch in enumerate(batches):
                sparsifier.update((epoch + index / len(batches)) / epochs)  # the schedule goes on
                outputs = model(images[batch])
                loss = F.cross_entropy(outputs, labels[batch])
                loss = distiller.loss(loss, outputs, images[batch])
                optimizer.zero_grad()
                loss.backward()
                sparsifier.after_backward()  # criteria may look at gradients
                optimizer.step()
                sparsifier.apply()  # zeros stay zero
        sparsifier.update(1.0)
    small, removed = ac.prune(model.eval(), ac.Pruning(), example=example)
    recover(small, images, labels, batches)
    small, folded = ac.fold_batch_norms(small, example=example)
    print("\n".join([*removed.sentences, *folded.sentences]))
    folder = Path(directory) / "own_training_loop"
    plan = ac.Plan(removed.steps).then(*folded.steps)  # from network() to this one
    ac.export(small, folder, plan=plan, factory="small:network", example=example)
    return folder


def recover(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, batches: tuple) -> None:
    """Train a network for an epoch; what is zero in it stays zero."""
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    zeros = ac.hold_zeros(model)
    model.train()
    for batch in batches:
        loss = F.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        zeros.apply()
    model.eval()


def accuracy(model: nn.Module) -> float:
    """Return the share of the last 297 digits that a network gets right."""
    images, labels = digits()
    with torch.no_grad():
        return float((model(images[1500:]).argmax(1) == labels[1500:]).float().mean())


if __name__ == "__main__":
    print(main())
