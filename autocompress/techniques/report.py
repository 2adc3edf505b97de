"""What every technique returns beside the new model."""

from dataclasses import dataclass

from autocompress.graph import Step
from autocompress.short_repr import short_repr


@short_repr
@dataclass(frozen=True, kw_only=True)
class Report:
    """What a technique did to a model, and what it did not.

    Attributes:
        steps: the surgery, in order: append them to the plan of the model that was given.
        sentences: what was done, what was left, and why: one line each.
    """

    steps: tuple[Step, ...] = ()
    sentences: tuple[str, ...] = ()
