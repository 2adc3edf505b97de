"""A fastai Learner: its model is compressed, on its own DataLoaders."""

from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from small import QUICK, SPACE, TRAINING, digits, network
from torch.utils.data import TensorDataset

import autocompress as ac


def loaders() -> DataLoaders:
    """Return the digits as fastai's DataLoaders."""
    images, labels = digits()
    parts = [TensorDataset(images[a:b], labels[a:b]) for a, b in ((0, 1200), (1200, 1797))]
    return DataLoaders.from_dsets(*parts, bs=50, num_workers=0, device="cpu")


def learner() -> Learner:
    """Return a learner that has seen the digits for five epochs."""
    learn = Learner(loaders(), network(), loss_func=CrossEntropyLossFlat(), metrics=accuracy)
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(5, 3e-3)
    return learn


def main(directory: str = "runs", trials: int = 6) -> ac.Run:
    """Search for smaller versions of the learner's model."""
    return ac.search(
        learner(),
        space=SPACE,
        training=TRAINING,
        target=QUICK,
        trials=trials,
        name="fastai_learner",
        directory=directory,
    )


if __name__ == "__main__":
    print(main().pick("balanced").in_short)
