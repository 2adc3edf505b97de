import math

import numpy as np
import pytest
from scipy import stats

from autocompress.targets.statistics import (
    Block,
    Calls,
    geometric_interval,
    percentiles_ms,
    ratio_interval,
)


def test_the_interval_is_students_on_the_logarithms():
    values = [0.52, 0.49, 0.55, 0.50, 0.47]
    found = geometric_interval(values)
    logs = np.log(values)
    low, high = stats.t.interval(0.95, len(logs) - 1, logs.mean(), stats.sem(logs))
    assert found.value == pytest.approx(stats.gmean(values), rel=1e-12)
    assert (found.low, found.high) == pytest.approx((math.exp(low), math.exp(high)), rel=1e-9)
    assert found.width == pytest.approx((found.high - found.low) / 2 / found.value)


def test_one_value_has_no_finite_interval():
    assert geometric_interval([2.0]).width == math.inf


def test_the_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    draws = np.exp(generator.normal(math.log(0.4), 0.1, size=(2000, 6)))
    covered = [geometric_interval(row).low <= 0.4 <= geometric_interval(row).high for row in draws]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.015)


def test_swapping_the_models_inverts_ratio_and_interval():
    first = [
        Block.of_calls(Calls((9.0, 9.0, 1.0, 1.1, 1.2), 0.0)),
        Block.of_calls(Calls((9.0, 9.0, 1.0, 1.3, 1.5), 0.0)),
    ]
    second = [
        Block.of_calls(Calls((9.0, 9.0, 0.4, 0.5, 0.6), 0.0)),
        Block.of_calls(Calls((9.0, 9.0, 0.5, 0.6, 0.7), 0.0)),
    ]
    there, back = ratio_interval(first, second, "median"), ratio_interval(second, first, "median")
    assert there.value == pytest.approx(math.sqrt(0.5 / 1.1 * 0.6 / 1.3))
    assert there.value * back.value == pytest.approx(1)
    assert there.low * back.high == pytest.approx(1)


def test_blocks_are_summarised_by_median_or_tenth_percentile():
    block = Block.of_calls(Calls([9.0, 9.0, *map(float, range(11))], 0.0))
    assert block.value_ms("median") == 5
    assert block.value_ms("p10") == 1
    with pytest.raises(ValueError, match="CPU time"):
        block.value_ms("cpu")


def test_cpu_times_are_summarised_by_their_median():
    block = Block.of_calls(Calls([9.0, 9.0, 5.0, 6.0, 7.0], 0.5, [8.0, 8.0, 1.0, 2.0, 9.0]))
    assert block.value_ms("cpu") == 2


def test_percentiles_are_over_all_samples():
    blocks = [
        Block.of_calls(Calls((9.0, 9.0, 0.0, 1.0, 2.0, 3.0, 4.0), 0.0)),
        Block.of_calls(Calls((9.0, 9.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0), 0.0)),
    ]
    assert percentiles_ms(blocks) == (1, 5, 9)
