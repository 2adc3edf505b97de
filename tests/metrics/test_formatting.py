import pytest

from autocompress.metrics import Estimate, Metric
from autocompress.metrics import formatting as write
from autocompress.metrics.metric import LATENCY, PARAMETERS, SIZE

ACCURACY = Metric(
    name="accuracy", direction="maximize", format="fraction", comparison="difference"
)
LOSS = Metric(name="loss", direction="minimize", comparison="difference")


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (LATENCY, 1.234, "1.23 ms"),
        (LATENCY, Estimate(value=12.34), "12.3 ms"),
        (LATENCY, None, "-"),
        (PARAMETERS, 61_400, "61.4 k"),
        (SIZE, 4_810_000, "4.81 MB"),
        (ACCURACY, 0.98236, "98.24 %"),
        (LOSS, 0.0123, "0.0123"),
    ],
)
def test_values_have_the_format_and_unit_of_their_metric(metric, value, text):
    assert write.format_value(metric, value) == text


@pytest.mark.parametrize(
    ("metric", "value", "baseline", "text"),
    [
        (LATENCY, 0.5, 2.0, "0.25x"),
        (LATENCY, 0.0123, 1.0, "0.012x"),
        (LATENCY, None, 2.0, "-"),
        (LATENCY, 1.0, None, "-"),
        (LATENCY, 1.0, 0.0, "-"),
        (ACCURACY, 0.96, 0.9725, "-1.25 points"),
        (LOSS, Estimate(value=1.5), Estimate(value=1.0), "+0.50"),
    ],
)
def test_changes_are_ratios_or_differences(metric, value, baseline, text):
    assert write.format_change(metric, value, baseline) == text


def test_intervals_are_written_where_they_are_known():
    estimate = Estimate(value=0.456, low=0.44, high=0.48)
    assert write.format_interval(LATENCY, estimate) == "0.46 ms (0.44 to 0.48)"
    assert write.format_interval(LATENCY, estimate, 1.0) == "0.46x (0.44 to 0.48)"
    assert write.format_interval(LATENCY, Estimate(value=0.0123), 1.0) == "0.012x"
    assert write.format_interval(LATENCY, None) == "-"
    share = Estimate(value=0.9, low=0.85, high=0.94)
    assert write.format_interval(ACCURACY, share) == "90.00 % (85.00 to 94.00)"
    assert write.format_interval(ACCURACY, share, 0.91) == "-1.00 points (-6.00 to +3.00)"


def test_axes_have_a_title_a_unit_and_a_format():
    assert write.short_title(LATENCY) == "latency"
    assert write.axis_title(LATENCY) == "latency (ms)"
    assert write.axis_title(LATENCY, relative=True) == "latency (of the baseline)"
    assert write.axis_title(ACCURACY) == "accuracy"
    assert write.axis_title(ACCURACY, relative=True) == "accuracy, against the baseline (points)"
    assert write.axis_title(LOSS, relative=True) == "loss, against the baseline"
    formats = [write.axis_format(metric) for metric in (ACCURACY, LATENCY, PARAMETERS, SIZE)]
    assert formats == [".1%", "~g", "~s", "~s"]
    assert write.axis_format(ACCURACY, relative=True) == "+~g"
    assert write.axis_format(PARAMETERS, relative=True) == "~g"


def test_ticks_are_written_as_the_axis_writes_them():
    assert write.tick(PARAMETERS, 200_000) == "200 k"
    assert write.tick(PARAMETERS, 0.2, relative=True) == "0.2"
    assert write.tick(LATENCY, 0.5) == "0.5"
    assert write.tick(ACCURACY, 0.5) == "50.0%"
    assert write.tick(ACCURACY, 2, relative=True) == "+2"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "-"),
        (0, "0"),
        (980, "980"),
        (999.7, "1.00 k"),
        (61_400, "61.4 k"),
        (134_300_000, "134 M"),
        (999_960_000, "1.00 G"),
    ],
)
def test_counts_have_three_digits_and_a_prefix(number, text):
    assert write.count(number) == text


def test_bytes_have_their_unit():
    assert write.count(4_810_000, "B") == "4.81 MB"
    assert write.count(12, "B") == "12 B"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "0.0123"), (1.234, "1.23"), (12.34, "12.3"), (999, "999"), (0, "0.00")],
)
def test_numbers_have_three_digits(value, text):
    assert write.three_digits(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (3.21, "3.2 s"),
        (59.4, "59 s"),
        (59.7, "1 min 0 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds, text):
    assert write.duration(seconds) == text


def test_a_long_reason_is_written_in_one_line():
    assert write.in_one_line("one\ntwo") == "one ..."
    assert write.in_one_line("one") == "one"
    assert write.in_one_line(None) == ""
