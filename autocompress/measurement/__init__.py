"""How large and how fast a model is, measured so that the numbers can be compared."""

from autocompress.measurement.fingerprint import differences, fingerprint
from autocompress.measurement.latency import (
    Latency,
    LatencySettings,
    Ruler,
    measure_reference,
)
from autocompress.measurement.layers import compare_layers
from autocompress.measurement.lock import DeviceLock
from autocompress.measurement.runtimes import RUNTIMES
from autocompress.measurement.size import (
    Macs,
    count_macs,
    count_nonzero,
    count_parameters,
    state_bytes,
)

__all__ = [
    "RUNTIMES",
    "DeviceLock",
    "Latency",
    "LatencySettings",
    "Macs",
    "Ruler",
    "compare_layers",
    "count_macs",
    "count_nonzero",
    "count_parameters",
    "differences",
    "fingerprint",
    "measure_reference",
    "state_bytes",
]
