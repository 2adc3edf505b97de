"""The study file: what may stand in it, how it is read, and how its resolved form is written."""

from autocompress.config.files import limits_from, load_study, study_from, template, to_toml
from autocompress.config.schema import (
    DataSection,
    LatencySection,
    LimitsSection,
    ModelSection,
    SearchSection,
    StudyConfig,
    StudySection,
    TrainingSection,
    parse_duration,
)

__all__ = [
    "DataSection",
    "LatencySection",
    "LimitsSection",
    "ModelSection",
    "SearchSection",
    "StudyConfig",
    "StudySection",
    "TrainingSection",
    "limits_from",
    "load_study",
    "parse_duration",
    "study_from",
    "template",
    "to_toml",
]
