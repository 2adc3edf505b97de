"""A compression technique of your own, between two others: weights rounded to few digits."""

import copy
from dataclasses import dataclass

import torch
from small import QUICK, SPACE, TRAINING, digits, trained
from torch import Tensor, nn

import autocompress as ac


@dataclass(frozen=True, kw_only=True)
class Rounding:
    """How weights are rounded."""

    digits: int = ac.setting(3, help="decimal digits that weights keep", low=1, high=6)


def round_weights(
    model: nn.Module, settings: Rounding, *, example: Tensor
) -> tuple[nn.Module, ac.Report]:
    """Round all weights; the structure stays, so that there is no step for the plan."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.round(decimals=settings.digits))
    sentence = f"all weights are rounded to {settings.digits} digits"
    return model, ac.Report(sentences=(sentence,))


STAGE = ac.technique_stage(round_weights, Rounding)
ac.add_stage(STAGE, after="recover")  # here, so that a study file can name this module as plugin


def main(directory: str = "runs", trials: int = 6) -> ac.Run:
    """Search over the number of digits too."""
    return ac.search(
        trained(),
        digits(),
        space={**SPACE, "extra.round_weights.digits": {"low": 1, "high": 4}},
        training=TRAINING,
        target=QUICK,
        trials=trials,
        name="own_stage",
        directory=directory,
    )


if __name__ == "__main__":
    print(main().pick("balanced").in_short)
