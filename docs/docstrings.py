"""An extension of Griffe: reads our docstrings as the documentation shows them."""

import re

import griffe

_ROLE = re.compile(r":(?:func|class|mod|meth|attr|data):`~?(?:[\w.]+\.)?(\w+)`")


class PlainDocstrings(griffe.Extension):
    """Makes examples code, and names of Python objects plain code."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: object) -> None:
        """Show the default of a setting alone: help and bounds have pages of their own."""
        value = attr.value
        if isinstance(value, griffe.ExprCall) and str(value.function) == "setting":
            given = [one for one in value.arguments if not isinstance(one, griffe.ExprKeyword)]
            attr.value = given[0] if given else None

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Change the docstring of an object, once it is loaded."""
        if obj.docstring is not None:
            text = _ROLE.sub(r"`\1`", obj.docstring.value)
            obj.docstring.value = re.sub(r"^( *)Example:$", r"\1Examples:", text, flags=re.M)
