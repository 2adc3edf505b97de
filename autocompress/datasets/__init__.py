"""Labelled images by name, in three splits: ``train``, ``valid`` and ``test``."""

from autocompress.datasets.loading import load
from autocompress.datasets.splits import ImageFiles, Images, Part, Splits

__all__ = ["ImageFiles", "Images", "Part", "Splits", "load"]
