"""Models by name: torchvision's, our own small nets, and any function of the user's."""

from autocompress.models.building import build
from autocompress.models.networks import NETWORKS, resnet_small, vgg_small
from autocompress.models.weights import load_weights

__all__ = ["NETWORKS", "build", "load_weights", "resnet_small", "vgg_small"]
