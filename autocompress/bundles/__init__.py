"""Bundles: a compressed model with everything that is needed to run it or to train on."""

from autocompress.bundles.bundle import Bundle, export_bundle
from autocompress.bundles.contents import Card, ModelSpec, Origin, Source
from autocompress.bundles.exporting import export
from autocompress.bundles.formats import FORMATS
from autocompress.bundles.loading import load
from autocompress.bundles.material import Material, Measured, Timing
from autocompress.bundles.reproducing import Reproduction, reproduce
from autocompress.bundles.trials import export_trial

__all__ = [
    "FORMATS",
    "Bundle",
    "Card",
    "Material",
    "Measured",
    "ModelSpec",
    "Origin",
    "Reproduction",
    "Source",
    "Timing",
    "export",
    "export_bundle",
    "export_trial",
    "load",
    "reproduce",
]
