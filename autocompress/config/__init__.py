"""The study file: what may stand in it, how it is read, and how its resolved form is written."""

from autocompress.config.files import load_study, study_from, template, to_toml
from autocompress.config.places import located
from autocompress.config.schema import (
    PYTHON,
    DataSection,
    ModelSection,
    SearchSection,
    StudyConfig,
    StudySection,
    TaskSection,
    parse_duration,
)

__all__ = [
    "PYTHON",
    "DataSection",
    "ModelSection",
    "SearchSection",
    "StudyConfig",
    "StudySection",
    "TaskSection",
    "load_study",
    "located",
    "parse_duration",
    "study_from",
    "template",
    "to_toml",
]
