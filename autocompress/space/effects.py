"""Which search parameters have an effect, and which stages are on, given the others' values.

Both ask for the values that they depend on, one by one, through a function. So they work while a
trial is sampled, whatever the order of the parameters.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from autocompress.recipe import Recipe
from autocompress.settings import describe
from autocompress.space.parameters import searchable, stage_of

ValueAt = Callable[[str], Any]
"""Returns the value of a search parameter by its path; its default where it is not searched."""


class Effects:
    """What follows from the values of search parameters.

    Args:
        value: returns a value by path.
        named: the paths that the study names.
    """

    def __init__(self, value: ValueAt, named: Collection[str]) -> None:
        self._value = value
        self._named = named
        self._paths = Recipe.paths()
        self._searchable = searchable()

    def has_effect(self, path: str) -> bool:
        """Return whether a parameter has an effect."""
        stage, name = stage_of(path)
        known = self._searchable.get(path)
        if known is None or not name or "." in name:
            return True
        rule = known.rule
        if rule.yields_to is not None and self.is_on(f"{stage}.{rule.yields_to}"):
            return False
        if rule.active is not None and not rule.active(_Stage(self, stage)):
            return False
        return rule.switch or self.stage_runs(stage)

    def stage_runs(self, stage: str) -> bool:
        """Return whether a stage is on, and one that it needs too."""
        needs = self._paths[stage].rule.needs
        return self.stage_is_on(stage) and (needs is None or self.stage_is_on(needs))

    def stage_is_on(self, stage: str) -> bool:
        """Return whether a stage is part of the recipe.

        It is, unless its switch is false or all its switches are off; one without a switch is,
        if the study names any of its settings.
        """
        entry = self._paths[stage]
        if type(None) not in entry.options or entry.nested is None:
            return True
        switches = [n for n, inner in describe(entry.nested).items() if inner.rule.switch]
        if switches:
            return any(self.is_on(f"{stage}.{name}") for name in switches)
        if stage in self._named or self._value(stage):
            return bool(self._value(stage))
        return any(stage_of(path)[0] == stage for path in self._named)

    def is_on(self, path: str) -> bool:
        """Return whether a setting, or that of one of its parts, is not off."""
        paths = [path, *(f"{path}.{part}" for part in self._searchable[path].rule.parts)]
        return any(not self._is_off(one) for one in paths)

    def settled(self, path: str) -> Any:
        """Return a setting's value as its settings class has it."""
        entry = self._paths[path]
        if path not in self._searchable:
            return entry.default
        value = self._value(path)
        parts = [self._value(f"{path}.{part}") for part in entry.rule.parts]
        if any(part is not None for part in parts):
            return tuple(value if part is None else part for part in parts)
        if type(None) in entry.options:
            yields = entry.rule.yields_to
            decided = yields is not None and self.is_on(f"{stage_of(path)[0]}.{yields}")
            return None if decided or self._is_off(path) else value
        return value

    def settings(self, stage: str) -> dict[str, Any]:
        """Return the settings of a stage by name, as far as a search may name them."""
        prefix = f"{stage}."
        names = [p.removeprefix(prefix) for p in self._paths if p.startswith(prefix)]
        return {n: self.settled(prefix + n) for n in names if prefix + n in self._searchable}

    def _is_off(self, path: str) -> bool:
        value, off = self._value(path), self._searchable[path].rule.off
        return value is None or (off is not None and bool(value == off))


class _Stage(Mapping[str, Any]):
    """The settings of one stage; each is settled when it is asked for."""

    def __init__(self, effects: Effects, stage: str) -> None:
        self._effects, self._stage = effects, stage

    def __getitem__(self, name: str) -> Any:
        return self._effects.settled(f"{self._stage}.{name}")

    def __iter__(self) -> Iterator[str]:
        return iter(self._effects.settings(self._stage))

    def __len__(self) -> int:
        return len(list(iter(self)))
