import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from typing import Any, Literal

import pytest

from autocompress.errors import ConfigurationError
from autocompress.reading import in_lines, plain, read
from autocompress.recipe import Recipe
from autocompress.registry import by_name
from autocompress.settings import check, describe, setting


def l1(weight):
    return weight


NAMES = by_name("criterion", l1)


def ordered(low, high):
    return "" if low <= high else f"low: expected at most high ({high}), got {low}"


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int = setting(3, help="of it", low=1, high=9)


@dataclass(frozen=True, kw_only=True)
class Example:
    name: str = setting(help="of it")
    low: float = setting(0.0, help="lower end", low=0, high=1)
    high: float = setting(1.0, help="upper end", low=0, above=True, high=1)
    rate: float | None = setting(None, help="a rate", low=0, above=True)
    criterion: str = setting("l1", help="what counts", names=NAMES, references=True)
    kind: Literal["a", "b"] = setting("a", help="a or b")
    on: bool = setting(True, help="whether")
    spread: float | tuple[float, float, float] | Mapping[str, float] = setting(
        0.5, help="one, three or by name", low=0, high=1, parts=("early", "middle", "late")
    )
    patterns: tuple[str, ...] = setting((), help="patterns")
    seconds: float = setting(1.0, help="how long", key="time", parse=lambda text: float(text))
    inner: Inner = setting(Inner, help="more")
    anything: Any = None

    def __post_init__(self):
        check(self, ordered)


GOOD = {"name": "x"}


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("name", 3, "expected a text in quotes, got 3"),
        ("low", -0.1, "expected a number in [0, 1], got -0.1"),
        ("low", True, "expected a number in [0, 1], got True"),
        ("low", math.nan, "expected a number in [0, 1], got nan"),
        ("low", None, "expected a number in [0, 1], got None"),
        ("high", 0.0, "expected a number in (0, 1], got 0.0"),
        ("rate", 0, "expected a number > 0, got 0"),
        (
            "criterion",
            "l11",
            "expected one of l1, 'package.module:function', got 'l11' (did you mean 'l1'",
        ),
        ("kind", "c", "expected one of a, b, got 'c'"),
        ("kind", True, "expected one of a, b, got True"),
        ("on", 1, "expected true or false, got 1"),
        (
            "spread",
            (0.1, 0.2),
            "expected a number in [0, 1] or three of them (early, middle, late)",
        ),
        ("spread", {"0": 2.0}, "or a table of numbers in [0, 1], got {'0': 2.0}"),
        ("patterns", "fc", "expected a list of texts, got 'fc'"),
        ("patterns", ("fc", 1), "expected a list of texts, got ('fc', 1)"),
        ("inner", None, "expected a table of keys, got None"),
    ],
)
def test_a_value_that_does_not_fit_is_reported(field, value, problem):
    with pytest.raises(ConfigurationError) as caught:
        Example(**{**GOOD, field: value})
    [line] = caught.value.problems
    assert line.startswith(f"{field}: ")
    assert problem in line


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("low", 0), ("rate", None), ("rate", 3), ("criterion", "mine:l3"), ("kind", "b"),
        ("spread", (0.1, 0.2, 0.3)), ("spread", {"0": 0.5}), ("patterns", ("fc",)),
        ("anything", object()),
    ],
)  # fmt: skip
def test_a_value_that_fits_is_taken(field, value):
    assert getattr(Example(**{**GOOD, field: value}), field) == value


def test_all_problems_are_reported_and_contradictions_of_fine_values():
    with pytest.raises(ConfigurationError) as caught:
        Example(name="x", low=0.8, high=0.2, rate=-1.0)
    assert [line.split(":")[0] for line in caught.value.problems] == ["rate", "low"]
    with pytest.raises(ConfigurationError) as caught:
        Example(name="x", low=2.0, high=0.2)
    assert len(caught.value.problems) == 1


def test_a_name_that_was_just_registered_is_allowed_at_once():
    def l3(weight):
        return weight

    NAMES.register(l3)
    try:
        assert Example(name="x", criterion="l3").criterion == "l3"
    finally:
        NAMES.unregister("l3")


def test_a_field_says_what_it_is():
    known = describe(Example)
    assert known["low"].rule.help == "lower end"
    assert known["name"].default is MISSING
    assert known["inner"].nested is Inner
    assert known["seconds"].key == "time"


def test_settings_go_to_plain_data_and_back():
    settings = Example(name="x", spread=(0.1, 0.2, 0.3), patterns=("a",), inner=Inner(size=4))
    data = plain(settings)
    assert data["spread"] == [0.1, 0.2, 0.3]
    data["time"] = str(data.pop("seconds"))
    assert read(Example, data) == (settings, [])


def test_everything_wrong_with_plain_data_is_reported_with_its_place():
    data = {"nam": "x", "inner": {"size": 0, "siez": 1}, "time": "soon", "low": 0.3, "high": 0.1}
    settings, problems = read(Example, data)
    assert settings is None
    lines = in_lines(problems, "example")
    assert [line.split(":")[0] for line in lines] == [
        "example.nam", "example.name", "example.time", "example.inner.siez", "example.inner.size",
    ]  # fmt: skip
    assert "(did you mean 'name'?); allowed: name, low, high" in lines[0]
    _, problems = read(Example, {"name": "x", "low": 0.3, "high": 0.1})
    assert in_lines(problems, "") == ["low: expected at most high (0.1), got 0.3"]
    assert read(Example, 3)[1] == [((), "expected a table of keys, got 3")]


def test_every_setting_of_a_recipe_says_what_it_does():
    assert [path for path, entry in Recipe.paths().items() if not entry.rule.help] == []
