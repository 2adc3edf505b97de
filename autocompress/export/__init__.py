"""Bundles: a compressed model with everything that is needed to run it or to train on."""

from autocompress.export.bundle import Validation, export_bundle
from autocompress.export.contents import Card, ModelSpec
from autocompress.export.loading import load
from autocompress.export.trials import export_trial

__all__ = ["Card", "ModelSpec", "Validation", "export_bundle", "export_trial", "load"]
