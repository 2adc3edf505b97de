"""Where a model will run: device, runtime, precision; prepared, opened, timed there."""

from autocompress.targets.cores import usable_cores, within_usable_cores
from autocompress.targets.fingerprint import differences
from autocompress.targets.int8 import CALIBRATION_ITEMS
from autocompress.targets.latency import Latency, LatencyBenchmark, measure_alone
from autocompress.targets.layers import compare_layers
from autocompress.targets.local import LocalSession, LocalTarget
from autocompress.targets.lock import DeviceLock
from autocompress.targets.precision import Precision
from autocompress.targets.profile import Profiling, profile_layers
from autocompress.targets.runtimes import TARGETS, local_target
from autocompress.targets.sampling import Effort
from autocompress.targets.size import (
    Macs,
    count_macs,
    count_nonzero,
    count_parameters,
    state_bytes,
)
from autocompress.targets.statistics import Calls
from autocompress.targets.target import Artifact, Session, Target

__all__ = [
    "CALIBRATION_ITEMS",
    "TARGETS",
    "Artifact",
    "Calls",
    "DeviceLock",
    "Effort",
    "Latency",
    "LatencyBenchmark",
    "LocalSession",
    "LocalTarget",
    "Macs",
    "Precision",
    "Profiling",
    "Session",
    "Target",
    "compare_layers",
    "count_macs",
    "count_nonzero",
    "count_parameters",
    "differences",
    "local_target",
    "measure_alone",
    "profile_layers",
    "state_bytes",
    "usable_cores",
    "within_usable_cores",
]
