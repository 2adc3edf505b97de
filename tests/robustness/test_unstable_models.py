"""Models whose outputs differ from call to call: told in words, wherever they come."""

import pytest
import torch
import typer
from torch import nn
from torch.nn.functional import dropout

from autocompress.cli.searching import NO_TRIAL, conclude
from autocompress.errors import ConfigurationError, VerificationError
from autocompress.graph import find_units
from autocompress.runs import Run, layout
from autocompress.techniques.pruning import prune
from autocompress.techniques.sparsification import Sparsification, Sparsifier

from made_up_runs import made_up_run

EXAMPLE = torch.rand(2, 1, 8, 8)


class Drops(nn.Sequential):
    """A network that drops outputs in evaluation too."""

    def forward(self, x):
        return dropout(super().forward(x), 0.5, training=True)


@pytest.fixture
def drops():
    layers = nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.Flatten(), nn.Linear(64, 10)
    return Drops(*layers).eval()


@pytest.mark.parametrize("zeros", [0, 2])
def test_a_model_that_changes_from_call_to_call_is_not_pruned(drops, zeros):
    with torch.no_grad():
        for tensor in drops[0].parameters():
            tensor[:zeros] = 0
    with pytest.raises(VerificationError, match=r"no removal from Drops.*outputs of a copy"):
        prune(drops, example=EXAMPLE, units=find_units(nn.Sequential(*drops), EXAMPLE))


def test_what_keeps_units_from_being_sparsified_is_said(drops):
    with pytest.raises(ConfigurationError, match="nothing to sparsify") as caught:
        Sparsifier(drops, Sparsification(sparsity=0.5), find_units(drops, EXAMPLE))
    assert "0: cannot be removed: cannot be verified: the model turns" in str(caught.value)


def test_where_no_recipe_could_be_applied_the_limits_are_not_blamed(capsys, tmp_path):
    folder = made_up_run(tmp_path / "run", complete=0, failed=0, pruned=2, finished=False).path
    study = folder / layout.STUDY
    study.write_text(study.read_text().split("[limits]")[0])
    with pytest.raises(typer.Exit) as left:
        conclude(Run.open(folder), folder)
    assert left.value.exit_code == NO_TRIAL
    assert "no trial was completed; reasons: autocompress status" in capsys.readouterr().err
