import pytest

from autocompress.metrics.intervals import wilson


def test_the_interval_is_wilsons():
    # Newcombe, Two-sided confidence intervals for the single proportion, 1998, table I.
    low, high = wilson(81 / 263, 263)
    assert (low, high) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))
    low, high = wilson(15 / 148, 148)
    assert (low, high) == (pytest.approx(0.0624, abs=1e-4), pytest.approx(0.1605, abs=1e-4))
    assert wilson(0, 20) == (0, pytest.approx(0.1611, abs=1e-4))
    assert wilson(1, 29) == (pytest.approx(0.8830, abs=1e-4), 1)


@pytest.mark.parametrize(("share", "n"), [(0.5, 0), (1.1, 3), (-0.1, 3), (float("nan"), 3)])
def test_what_is_no_proportion_is_refused(share, n):
    with pytest.raises(ValueError, match="share in"):
        wilson(share, n)
