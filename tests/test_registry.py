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


def test_a_name_is_taken_once():
    registry = by_name("number", one)
    with pytest.raises(ConfigurationError, match="there already is a number 'one'"):
        registry.register(two, "one")
    with pytest.raises(ConfigurationError, match="there already is a number 'one'"):
        by_name("number", one, one)


def test_a_function_that_is_defined_anew_replaces_itself():
    registry = Registry("number", {})

    def define(value):
        @registry.register
        def five():
            return value

    define(4)
    define(5)
    assert registry["five"]() == 5


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
