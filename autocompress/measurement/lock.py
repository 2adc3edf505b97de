"""A lock per device: training shares it, a measurement has it alone."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from autocompress.errors import ConfigurationError


def device_key(device: torch.device | str) -> str:
    """Name the physical device: ``cpu``, or ``cuda-`` and the GPU's unique id.

    Two processes that see the same GPU under different numbers get the same name.
    """
    device = torch.device(device)
    if device.type != "cuda":
        return device.type
    return f"cuda-{torch.cuda.get_device_properties(device).uuid}"


def lock_folder() -> Path:
    """Return this user's folder of lock files on this machine, made where it is missing.

    Raises:
        ConfigurationError: the folder belongs to somebody else.
    """
    folder = Path(tempfile.gettempdir()) / f"autocompress-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise ConfigurationError(
            f"{folder} belongs to another user; set TMPDIR to a folder of yours"
        )
    return folder


class DeviceLock:
    """A readers-writer lock between all threads and processes of a user on one machine.

    Built on ``flock``: the kernel drops it when a process dies, however it dies. A process that
    waits for exclusive use is not starved: whoever comes later, to share or to have it alone,
    queues behind it. The lock is not reentrant: taking it again inside deadlocks.

    Attributes:
        path: the lock file.
    """

    def __init__(self, device: torch.device | str, folder: Path | None = None) -> None:
        """Name the lock; nothing is locked yet.

        Args:
            device: ``"cpu"``, ``"cuda"`` or a :class:`torch.device`.
            folder: of the lock files; by default the user's own in the temporary folder.
        """
        self.path = (folder or lock_folder()) / f"{device_key(device)}.lock"
        self._turnstile = self.path.with_suffix(".turnstile")

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock together with others that share it."""
        with _held(self._turnstile, fcntl.LOCK_EX):
            descriptor = _locked(self.path, fcntl.LOCK_SH)
        try:
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone; newcomers wait at the turnstile meanwhile."""
        with _held(self._turnstile, fcntl.LOCK_EX), _held(self.path, fcntl.LOCK_EX):
            yield


def _locked(path: Path, mode: int) -> int:
    """Wait for the lock; return the descriptor whose closing releases it.

    Every call opens the file anew, since ``flock`` tells opened files apart, not threads.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def _held(path: Path, mode: int) -> Iterator[None]:
    descriptor = _locked(path, mode)
    try:
        yield
    finally:
        os.close(descriptor)
