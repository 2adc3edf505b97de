"""Bundles: a compressed model with everything that is needed to run it or to train on."""

from autocompress.export.bundle import export_bundle
from autocompress.export.contents import Card, ModelSpec, Origin
from autocompress.export.loading import load
from autocompress.export.material import Material, Measured, Timing
from autocompress.export.preprocessing import Preprocessing
from autocompress.export.reproducing import reproduce
from autocompress.export.trials import export_trial

__all__ = [
    "Card",
    "Material",
    "Measured",
    "ModelSpec",
    "Origin",
    "Preprocessing",
    "Timing",
    "export_bundle",
    "export_trial",
    "load",
    "reproduce",
]
