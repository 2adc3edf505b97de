"""What a model learns from and is scored on."""

from autocompress.data.adapting import as_data
from autocompress.data.batches import BatchSettings
from autocompress.data.labelled import make_data
from autocompress.data.loaders import DatasetData, LoaderData
from autocompress.data.loading import load_data, load_splits
from autocompress.data.preprocessing import Preprocessing
from autocompress.data.protocol import Data, Loader
from autocompress.data.settings import DataSettings
from autocompress.data.splits import ImageFiles, Images, Splits, Tensors
from autocompress.data.tensors import TensorData

__all__ = [
    "BatchSettings",
    "Data",
    "DataSettings",
    "DatasetData",
    "ImageFiles",
    "Images",
    "Loader",
    "LoaderData",
    "Preprocessing",
    "Splits",
    "TensorData",
    "Tensors",
    "as_data",
    "load_data",
    "load_splits",
    "make_data",
]
