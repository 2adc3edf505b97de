import pytest

import autocompress as ac
from autocompress.errors import ConfigurationError


def test_a_function_becomes_a_metric():
    @ac.metric(direction="maximize", unit="1/s", title="images", pick="rapid")
    def images(candidate):
        return 3.0

    assert (images.name, images.title, images.pick, images.sign) == (
        "images",
        "images",
        "rapid",
        -1,
    )
    assert images.measure(None) == 3.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ac.metric(len), r"say which direction is better, as in @metric\(direction="),
        (lambda: ac.metric(), "say which direction is better"),
        (lambda: ac.metric(unit="mJ"), "say which direction is better"),
        (
            lambda: ac.metric(direction="minimize", units="mJ"),
            "'units' .did you mean 'unit'",
        ),
        (
            lambda: ac.metric(direction="less")(len),
            "direction: expected one of minimize",
        ),
    ],
)
def test_what_is_wrong_with_a_metric_is_told(make, message):
    with pytest.raises(ConfigurationError, match=message):
        make()
