"""Settings of data that a study file names."""

from dataclasses import dataclass

from autocompress.data.augmentation import AUGMENTATIONS
from autocompress.data.batches import BatchSettings
from autocompress.data.file_augmentation import FILE_AUGMENTATIONS
from autocompress.settings import check, setting


def _augmentations() -> tuple[str, ...]:
    return tuple(dict.fromkeys([*AUGMENTATIONS, *FILE_AUGMENTATIONS]))


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

    Raises:
        ConfigurationError: names everything that is out of its range.
    """

    image_size: int | None = setting(None, help="side in pixels that images get", low=1, high=8192)
    mean: tuple[float, ...] | None = setting(
        None, help="of each channel, of pixels scaled to [0, 1]", low=0, high=1
    )
    std: tuple[float, ...] | None = setting(
        None, help="standard deviation of each channel", low=0, above=True, high=1
    )
    batch_size: int = setting(64, help="items per training batch", low=1)
    augmentation: str = setting(
        "none", help="what happens to training images", names=_augmentations
    )
    train_limit: int | None = setting(None, help="use at most so many training images", low=1)
    valid_limit: int | None = setting(None, help="the same for what the search sees", low=1)
    test_limit: int | None = setting(None, help="the same for what is opened at the end", low=1)

    def __post_init__(self) -> None:
        """Check every field; lists become tuples."""
        for name in ("mean", "std"):
            given = getattr(self, name)
            if isinstance(given, list):
                object.__setattr__(self, name, tuple(given))
        check(self, _alike)

    @property
    def limits(self) -> dict[str, int | None]:
        """Most items by split."""
        return {"train": self.train_limit, "valid": self.valid_limit, "test": self.test_limit}

    @property
    def batches(self) -> BatchSettings:
        """How items become batches."""
        return BatchSettings(batch_size=self.batch_size, augmentation=self.augmentation)


def _alike(mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> str:
    lengths = [None if values is None else len(values) for values in (mean, std)]
    if lengths[0] == lengths[1]:
        return ""
    return (
        "expected mean and std with one number for each channel, or neither; got "
        f"{lengths[0] or 'no'} and {lengths[1] or 'no'} numbers"
    )
