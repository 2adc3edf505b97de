"""Ten minutes of kills, full disks, floods and damage, at random; CI has one minute of it."""

import pytest
from chaos import campaign


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_nothing_that_is_finished_is_lost(seed):
    chaos = campaign(600, seed)
    assert chaos.wrong == [], chaos.report()
