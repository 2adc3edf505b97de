import pytest

from autocompress import wording


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
    assert wording.count(number) == text


def test_bytes_have_their_unit():
    assert wording.count(4_810_000, "B") == "4.81 MB"
    assert wording.count(12, "B") == "12 B"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0123, "0.0123 ms"), (1.234, "1.23 ms"), (12.34, "12.3 ms"), (999, "999 ms")],
)
def test_latencies_have_three_digits(value, text):
    assert wording.milliseconds(value) == text


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
    assert wording.duration(seconds) == text


def test_ratios_carry_their_interval():
    metrics = {"latency_ratio": 0.456, "latency_ratio_low": 0.44, "latency_ratio_high": 0.48}
    assert wording.ratio_interval(metrics) == "0.46x (0.44 to 0.48)"
    assert wording.ratio_interval({"latency_ratio": 0.0123}) == "0.012x"
    assert wording.ratio_interval({}) == "-"


def test_a_recipe_in_one_line():
    recipe = {
        "distillation": {"loss": "soft_target", "weight": 0.5},
        "sparsification": {
            "sparsity": [0.1, 0.2, 0.3],
            "granularity": "filter",
            "linear_sparsity": 0.0,
            "linear_granularity": "row",
            "scope": "global",
            "criterion": "taylor",
            "schedule": "agp",
        },
        "factorization": {"rank": 0.25, "convolution_rank": None},
        "fold": True,
    }
    assert wording.recipe_in_short(recipe) == (
        "filter 10/20/30 % · global taylor agp · rank 0.25 · soft_target 0.5 · fold"
    )
    assert wording.recipe_in_short({"sparsification": None, "fold": False}) == "nothing"
    assert wording.recipe_in_short({"fold": True, "precision": "int8"}) == "fold · int8"
    assert wording.recipe_in_short({"fold": True, "precision": "fp32"}) == "fold"
    assert wording.recipe_in_short({}) == ""


def test_a_long_reason_is_told_in_one_line():
    assert wording.in_one_line("one\ntwo") == "one ..."
    assert wording.in_one_line("one") == "one"
    assert wording.in_one_line(None) == ""
