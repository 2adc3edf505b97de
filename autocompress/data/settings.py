"""Settings of data that a study file names."""

from dataclasses import dataclass

from autocompress.data.batches import BatchSettings
from autocompress.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """How a data set that is named becomes three splits and their batches.

    Attributes:
        image_size: height and width that images get, in pixels, at least 1. ``None`` keeps the
            size of images that have one; a folder needs it.
        mean: of each channel, of pixels scaled to [0, 1]: images are normalised by it. A model
            with weights needs what it was trained with; without ``mean`` and ``std`` they are
            those of the training images.
        std: standard deviation of each channel, in the same way.
        batch_size: items per batch, at least 1.
        augmentation: what happens to training images; see ``BatchSettings``.
        train_limit: most items in ``train``, at least 1; ``None`` keeps all.
        valid_limit: the same for ``valid``.
        test_limit: the same for ``test``.
        seed: of the cuts and limits.

    Raises:
        ConfigurationError: names everything that is out of its range.
    """

    image_size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    batch_size: int = 64
    augmentation: str = "none"
    train_limit: int | None = None
    valid_limit: int | None = None
    test_limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        names = ("image_size", "batch_size", "train_limit", "valid_limit", "test_limit")
        given = {name: getattr(self, name) for name in names}
        problems = [
            f"{name}: expected at least 1, not {value}"
            for name, value in given.items()
            if value is not None and value < 1
        ]
        lengths = [None if values is None else len(values) for values in (self.mean, self.std)]
        if lengths[0] != lengths[1]:
            problems.append(
                "expected mean and std with one number for each channel, or neither; got "
                f"{lengths[0] or 'no'} and {lengths[1] or 'no'} numbers"
            )
        if problems:
            raise ConfigurationError(problems)

    @property
    def limits(self) -> dict[str, int | None]:
        """Most items by split."""
        return {"train": self.train_limit, "valid": self.valid_limit, "test": self.test_limit}

    @property
    def batches(self) -> BatchSettings:
        """How items become batches."""
        return BatchSettings(batch_size=self.batch_size, augmentation=self.augmentation)
