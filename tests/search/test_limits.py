import pytest

from autocompress.search.limits import Limits

METRICS = {
    "accuracy": 0.9,
    "latency_ms": 2.0,
    "latency_ratio": 0.5,
    "parameters": 100,
    "parameter_ratio": 0.25,
}


def test_without_limits_everything_is_feasible():
    assert Limits().violations(METRICS, 0.95) == {}


def test_each_limit_is_measured_in_its_own_unit():
    limits = Limits(
        accuracy_drop=0.02, latency_ms=3.0, latency_ratio=0.4, parameters=80, parameter_ratio=0.25
    )
    broken = limits.violations(METRICS, 0.95)
    assert broken["accuracy_drop"] == pytest.approx(0.03)
    assert broken["latency_ms"] == pytest.approx(-1.0)
    assert broken["latency_ratio"] == pytest.approx(0.1)
    assert broken["parameters"] == 20
    assert broken["parameter_ratio"] == 0


def test_what_is_not_known_breaks_no_limit_and_is_a_constraint_that_is_kept():
    limits, drafted = Limits(accuracy_drop=0.02, parameters=80), {"parameters": 90}
    assert limits.violations(drafted, 0.95) == {"parameters": 10.0}
    assert limits.constraints(drafted, 0.95) == {"accuracy_drop": 0.0, "parameters": 10.0}
