"""How a picture becomes the input of a model."""

from dataclasses import dataclass

from autocompress.data.resizing import Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """What is done to a picture before a model receives it.

    Attributes:
        image_size: height and width that the model receives, in pixels.
        steps: how a picture of any size gets that size, in this order.
        mean: of each channel, of pixels scaled to [0, 1].
        std: standard deviation of each channel, of pixels scaled to [0, 1].
    """

    image_size: int
    steps: tuple[Step, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def channels(self) -> int:
        """Channels of the pictures."""
        return len(self.mean)
