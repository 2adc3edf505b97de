import pytest

from autocompress.errors import ConfigurationError
from autocompress.metrics import Estimate, Metric
from autocompress.metrics.limits import Limits
from autocompress.metrics.metric import LATENCY, PARAMETERS, SIZE

ACCURACY = Metric(
    name="accuracy", direction="maximize", format="fraction", comparison="difference"
)
FRAMES = Metric(name="frames", unit="1/s", direction="maximize")
METRICS = (ACCURACY, LATENCY, PARAMETERS, SIZE, FRAMES)


def estimates(**values):
    return {name: Estimate(value=value) for name, value in values.items()}


BASELINE = estimates(accuracy=0.95, latency_ms=4.0, parameters=400, frames=50.0)
FOUND = estimates(accuracy=0.9, latency_ms=2.0, parameters=100, frames=80.0)


def limits(**given):
    return Limits.from_mapping(given, METRICS)


def test_without_limits_everything_is_feasible():
    assert not limits()
    assert limits().violations(FOUND, BASELINE) == {}


def test_each_limit_is_measured_in_its_own_unit():
    broken = limits(
        accuracy_drop=0.02,
        latency_ms=3.0,
        latency_ratio=0.4,
        parameters=80,
        parameter_ratio=0.25,
        frames=100.0,
        frames_ratio=1.5,
    ).violations(FOUND, BASELINE)
    assert broken["accuracy_drop"] == pytest.approx(0.03)
    assert broken["latency_ms"] == pytest.approx(-1.0)
    assert broken["latency_ratio"] == pytest.approx(0.1)
    assert broken["parameters"] == 20
    assert broken["parameter_ratio"] == 0
    assert broken["frames"] == 20
    assert broken["frames_ratio"] == pytest.approx(-0.1)


def test_a_metric_that_is_maximized_has_a_least_value():
    least = limits(accuracy=0.92)
    assert least.violations(FOUND, {}) == {"accuracy": pytest.approx(0.02)}
    assert least.bounds({}) == {"accuracy": 0.92}


def test_a_drop_of_a_metric_that_is_minimized_is_what_it_rises_by():
    found = estimates(latency_ms=4.5)
    assert limits(latency_ms_drop=0.2).violations(found, BASELINE) == {
        "latency_ms_drop": pytest.approx(0.3)
    }


def test_what_is_not_known_breaks_no_limit_and_is_a_constraint_that_is_kept():
    given, estimated = limits(accuracy_drop=0.02, parameters=80), estimates(parameters=90)
    assert given.violations(estimated, BASELINE) == {"parameters": 10.0}
    assert given.constraints(estimated, BASELINE) == {"accuracy_drop": 0.0, "parameters": 10.0}
    assert limits(latency_ratio=0.1).violations(FOUND, {}) == {}


def test_bounds_are_values_of_the_metrics_and_the_tightest_counts():
    given = limits(latency_ms=3.0, latency_ratio=0.5, accuracy_drop=0.02, accuracy=0.90)
    assert given.bounds(BASELINE) == pytest.approx({"latency_ms": 2.0, "accuracy": 0.93})
    assert given.bounds({}) == {"latency_ms": 3.0, "accuracy": 0.90}


def test_limits_are_known_by_their_metric():
    given = limits(latency_ratio=0.5)
    assert given.on("latency_ms")
    assert not given.on("parameters")
    assert given["latency_ratio"].metric == LATENCY


def test_an_estimate_surely_breaks_a_limit_where_its_error_does_not_save_it():
    given = limits(latency_ms=3.0, parameters=80, frames=100.0)
    assert given.surely_broken(estimates(latency_ms=3.2, parameters=80), BASELINE) == ""
    assert given.surely_broken(estimates(latency_ms=3.4, parameters=1081), BASELINE) == (
        "latency_ms 3.4 (at most 3), parameters 1,081 (at most 80)"
    )
    assert given.surely_broken(estimates(frames=95.0), BASELINE) == "frames 95 (at least 100)"
    assert given.surely_broken(estimates(frames=95.0), BASELINE, {"frames": 0.1}) == ""


def test_the_distance_adds_fractions_of_bounds_and_of_all_items():
    given = limits(accuracy_drop=0.02, latency_ms=2.0)
    assert given.distance({"accuracy_drop": 0.03, "latency_ms": 1.0}) == pytest.approx(0.53)
    assert given.distance({"accuracy_drop": -0.03, "latency_ms": 0.0}) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"parameter": 1}, r"limits\.parameter: unknown key .* \(did you mean 'parameters'\?\)"),
        ({"latency_ms": "fast"}, "finite number, got 'fast'"),
        ({"latency_ms": True}, "finite number, got True"),
        ({"latency_ms": float("nan")}, "finite number"),
        ({"latency_ms": 0}, "must be above 0, got 0"),
        ({"parameters": -1}, "must be above 0"),
        ({"latency_ratio": 0.0}, "must be above 0"),
        ({"accuracy_drop": 1.5}, "at least 0 and at most 1, got 1.5"),
        ({"latency_ms_drop": -0.5}, "must be at least 0"),
    ],
)
def test_what_is_no_limit_is_refused(given, message):
    with pytest.raises(ConfigurationError, match=message):
        Limits.from_mapping(given, METRICS)


def test_all_problems_are_reported_at_once_and_none_is_no_limit():
    with pytest.raises(ConfigurationError) as error:
        Limits.from_mapping({"parameter": 1, "latency_ms": 0, "accuracy_drop": None}, METRICS)
    assert len(error.value.problems) == 2


def test_an_error_of_an_estimate_is_a_fraction_of_the_value_also_in_a_drop():
    slower = limits(latency_ms_drop=0.2)
    assert slower.surely_broken(estimates(latency_ms=4.5), BASELINE) == ""  # 4.05 at best
    assert "latency_ms_drop" in slower.surely_broken(estimates(latency_ms=5.0), BASELINE)


def test_nothing_beside_nothing_is_a_ratio_of_one():
    one = limits(latency_ratio=1.0)
    assert one.violations(estimates(latency_ms=0.0), estimates(latency_ms=0.0)) == {
        "latency_ratio": 0.0
    }


@pytest.mark.parametrize("n", [*range(100, 2001, 19), 10_000])
def test_whoever_loses_exactly_the_limit_keeps_it(n):
    """Compared in items of the split, not in rounded floats."""
    for percent in (1, 2, 3, 5, 7, 10):
        given = limits(accuracy_drop=percent / 100)
        lost = n * percent // 100
        is_whole = n * percent % 100 == 0
        for right in range(lost + 1, n + 1, max(1, n // 50)):
            baseline = estimates(accuracy=right / n)
            at, beyond = (estimates(accuracy=(right - k) / n) for k in (lost, lost + 1))
            excess = given.violations(at, baseline)["accuracy_drop"]
            assert excess == 0 if is_whole else excess < 0
            assert given.violations(beyond, baseline)["accuracy_drop"] > 0.5 / n / 100
            bound = given.bounds(baseline)["accuracy"]
            assert beyond["accuracy"].value < bound <= at["accuracy"].value


def test_one_parameter_or_nanosecond_over_the_limit_breaks_it():
    baseline = estimates(parameters=3_000_000_000, latency_ms=3000.0)
    given = limits(parameter_ratio=0.1, latency_ratio=0.1)
    on = estimates(parameters=300_000_000, latency_ms=300.0)
    assert set(given.violations(on, baseline).values()) == {0.0}
    over = estimates(parameters=300_000_001, latency_ms=300.000001)
    assert all(by > 0 for by in given.violations(over, baseline).values())
    assert not given.surely_broken(on, baseline)
    assert given.surely_broken(estimates(parameters=300_000_001), baseline)
