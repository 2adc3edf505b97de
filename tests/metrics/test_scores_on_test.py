from autocompress.metrics.metric import LATENCY
from autocompress.metrics.splits import in_order, name_on_test, split_title

from made_up_runs import ACCURACY, TEST_ACCURACY

METRICS = {m.name: m for m in (ACCURACY, LATENCY, TEST_ACCURACY)}


def test_a_score_is_followed_by_itself_on_the_test_split():
    assert in_order(METRICS) == [ACCURACY, TEST_ACCURACY, LATENCY]
    assert in_order({LATENCY.name: LATENCY}) == [LATENCY]
    assert name_on_test(ACCURACY) == TEST_ACCURACY.name


def test_titles_name_the_split_where_there_are_two():
    titles = [split_title(metric, METRICS) for metric in METRICS.values()]
    assert titles == ["accuracy, valid", "latency", "accuracy, test"]
    assert split_title(ACCURACY, {ACCURACY.name: ACCURACY}) == "accuracy"
