"""Pydantic's errors, told as an author of study files needs them."""

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from autocompress.registry import did_you_mean

_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "string_type": "a text in quotes",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "model_type": "a table of keys",
    "model_attributes_type": "a table of keys",
    "dict_type": "a table of keys",
    "tuple_type": "a list",
    "string_too_short": "a text that is not empty",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "above"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "below"),
}
Place = Callable[[tuple[str, ...]], str]


def tell(error: ValidationError, model: type[BaseModel], place: Place) -> list[str]:
    """Return one readable line per problem: where, which key, what is wrong, what is allowed.

    Args:
        error: what pydantic raised for ``model``.
        model: the settings that were built; it knows the allowed keys.
        place: names the place of a key, such as ``"study.toml:7: "``; empty where unknown.
    """
    lines = []
    for detail in error.errors(include_url=False):
        path = tuple(str(part) for part in detail["loc"])
        lines.append(f"{place(path)}{'.'.join(path)}: {_message(dict(detail), path, model)}")
    return lines


def _message(detail: Mapping[str, Any], path: tuple[str, ...], model: type[BaseModel]) -> str:
    kind, given = detail["type"], detail.get("input")
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(path, model)
    if kind == "missing":
        return _missing(path, model)
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"must be {words} {context[key]}, got {given!r}"
    if kind == "literal_error":
        allowed = re.findall(r"'([^']*)'", context["expected"])
        hint = did_you_mean(str(given), allowed)
        return f"expected one of {', '.join(allowed)}, got {given!r}{hint}"
    if kind == "string_pattern_mismatch":
        return f"may hold letters, digits, '.', '_' and '-' only, got {given!r}"
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind]}, got {given!r}"
    return str(detail["msg"]).removeprefix("Value error, ")


def _missing(path: tuple[str, ...], model: type[BaseModel]) -> str:
    table = _table_at(model, path)
    if table is None:
        return "missing"
    if table.model_config.get("extra") == "allow":
        return (
            "missing; expected a table of knobs, such as sparsity = { low = 0.0, high = 0.9 }; "
            "`autocompress init` writes them all"
        )
    return f"missing; expected a table with {', '.join(keys_of(model, path))}"


def _unknown_key(path: tuple[str, ...], model: type[BaseModel]) -> str:
    name, allowed = path[-1], keys_of(model, path[:-1])
    hint = did_you_mean(name, allowed)
    if not hint:
        homes = [key for key in keys_of(model, ()) if name in keys_of(model, (key,))]
        hint = f" (did you mean '{homes[0]}.{name}'?)" if homes else ""
    return f"unknown key {name!r}{hint}; allowed: {', '.join(allowed)}"


def keys_of(model: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    """Return the keys that a file may hold at ``path``; none where it is no table."""
    table = _table_at(model, path)
    fields = {} if table is None else table.model_fields
    return [field.alias or name for name, field in fields.items()]


def _table_at(model: type[BaseModel], path: tuple[str, ...]) -> type[BaseModel] | None:
    for part in path:
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if part not in fields:
            return None
        kinds = (fields[part].annotation, *get_args(fields[part].annotation))
        tables = [k for k in kinds if isinstance(k, type) and issubclass(k, BaseModel)]
        if not tables:
            return None
        model = tables[0]
    return model
