"""What a model learns from and is judged on."""

from autocompress.data.protocol import Data, Loader

__all__ = ["Data", "Loader"]
