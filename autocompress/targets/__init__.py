"""Where a model will run: device, runtime, precision; prepared, opened, timed there."""

from autocompress.targets.target import Artifact, Session, Target

__all__ = ["Artifact", "Session", "Target"]
