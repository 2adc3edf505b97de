"""The search space: which settings of a recipe a study varies, and the recipe that they make."""

from autocompress.space.allocation import ALLOCATIONS
from autocompress.space.space import Choices, Constant, Range, Space

__all__ = ["ALLOCATIONS", "Choices", "Constant", "Range", "Space"]
