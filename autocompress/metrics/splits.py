"""Scores on two splits: on ``valid`` they steer a search, on ``test`` they are its last result."""

from collections.abc import Mapping
from dataclasses import replace

from autocompress.metrics.metric import Metric

TEST = "test_"  # begins the name of a score on the test split


def name_on_test(metric: Metric) -> str:
    """Return the name of a score on the test split."""
    return TEST + metric.name


def on_test(score: Metric) -> Metric:
    """Return the description of a score on the test split, which steers nothing."""
    name = name_on_test(score)
    return replace(
        score,
        name=name,
        title=f"{score.title} on test",
        pick=name,
        ratio_name=f"{name}_ratio",
        drop_name=f"{name}_drop",
    )


def deciding(metrics: Mapping[str, Metric]) -> dict[str, Metric]:
    """Return the metrics that models may be chosen by: all but scores on the test split.

    Args:
        metrics: all of a run, by name.
    """
    tests = {name_on_test(metric) for metric in metrics.values()}
    return {name: metric for name, metric in metrics.items() if name not in tests}


def split_title(metric: Metric, metrics: Mapping[str, Metric]) -> str:
    """Return the title of a metric, of a score with its split: ``accuracy, valid``.

    Args:
        metric: any.
        metrics: all of the run, by name.
    """
    if name_on_test(metric) in metrics:
        return f"{metric.title}, valid"
    score = metrics.get(metric.name.removeprefix(TEST))
    is_tested = metric.name.startswith(TEST) and score is not None
    return f"{score.title}, test" if score is not None and is_tested else metric.title


def in_order(metrics: Mapping[str, Metric]) -> list[Metric]:
    """Return the metrics of a run in their order, each followed by the same on the test split."""
    tests = {name for metric in metrics.values() if (name := name_on_test(metric)) in metrics}
    ordered: list[Metric] = []
    for name, metric in metrics.items():
        if name not in tests:
            ordered += [metric, *([metrics[TEST + name]] if TEST + name in tests else [])]
    return ordered
