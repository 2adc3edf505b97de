"""The hardware and software that a latency belongs to."""

import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import psutil
import torch

from autocompress.results import Fingerprint
from autocompress.targets.cores import usable_cores


def local_facts(device: torch.device) -> dict[str, Any]:
    """Describe this machine, its software and a device of it, as plain data."""
    facts: dict[str, Any] = {
        "machine": platform.machine(),
        "system": platform.system(),
        "cpu": _cpu_name(),
        "physical_cores": psutil.cpu_count(logical=False),
        "usable_cores": usable_cores(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": device.type,
    }
    if device.type == "cuda":
        facts |= {
            "gpu": torch.cuda.get_device_name(device),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    return facts


def differences(before: Fingerprint, now: Fingerprint) -> tuple[str, ...]:
    """Say in which facts two fingerprints differ; empty where their latencies are comparable.

    Example:
        >>> differences({"threads": 1}, {"threads": 2})
        ('threads: 1 before, 2 now',)
    """
    return tuple(
        f"{key}: {before.get(key)!r} before, {now.get(key)!r} now"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    )


def _cpu_name() -> str:
    """Return the CPU's model name; the architecture where the system does not say it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def version_of(package: str) -> str | None:
    """Return the version of an installed package, ``None`` where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
