"""What users' functions for studies of release 0.1 import; it lives in ``autocompress.data``."""

from autocompress.data.splits import ImageFiles, Images, Splits

__all__ = ["ImageFiles", "Images", "Splits"]
