"""What functions that study files of release 0.1 name import; it lives in ``autocompress.data``."""

from autocompress.data.splits import ImageFiles, Images, Splits

__all__ = ["ImageFiles", "Images", "Splits"]
