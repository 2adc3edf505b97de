from functools import partial

import pytest

from autocompress.errors import ConfigurationError
from autocompress.registry import Registry, by_name, declare, declared


def one():
    """Return 1."""
    return 1


def two():
    """Return 2."""
    return 2


def test_entries_go_by_their_own_names_in_order():
    registry = by_name("number", two, one)
    assert list(registry) == ["two", "one"]
    assert registry["one"] is one


def test_a_registry_takes_more_also_as_a_decorator():
    registry = Registry("number", {})
    assert registry.register(one) is one
    registry.register(two, "zwei")

    @registry.register
    def three():
        return 3

    @registry.register(name="vier")
    def four():
        return 4

    assert list(registry) == ["one", "zwei", "three", "vier"]
    assert [function() for function in registry.values()] == [1, 2, 3, 4]


def test_what_is_there_from_the_start_stays():
    registry = by_name("number", one)
    for other in (one, two):
        with pytest.raises(ConfigurationError, match="there already is a number 'one'"):
            registry.register(other, "one")


def test_what_was_added_is_replaced_in_its_place():
    registry = by_name("number", one)

    def define(value):
        @registry.register
        def five():
            return value

    define(4)
    registry.register(two)
    define(5)
    registry.register(two)  # a cell of its own, whose function was defined in another
    assert list(registry) == ["one", "five", "two"]
    assert registry["five"]() == 5
    registry.register(one, "five")
    assert registry["five"] is one


@pytest.mark.parametrize("nameless", [lambda: 3, partial(pow, 3)], ids=["lambda", "partial"])
def test_what_has_no_name_needs_one(nameless):
    registry = Registry("number", {})
    with pytest.raises(ConfigurationError, match=r"a number needs a name.*has none"):
        registry.register(nameless)
    assert registry.register(nameless, "three") is registry["three"]


def test_a_wrong_name_is_reported():
    registry = by_name("number", one, two)
    with pytest.raises(ConfigurationError, match=r"unknown number 'on' \(did you mean 'one'\?\)"):
        registry["on"]
    registry.unregister("one")
    assert "one" not in registry
    with pytest.raises(ConfigurationError, match="allowed: two"):
        registry.unregister("one")


def test_properties_stand_beside_a_function():
    @declare(even=True)
    def six():
        return 6

    assert declared(six, "even", default=False)
    assert not declared(one, "even", default=False)
    assert six() == 6
