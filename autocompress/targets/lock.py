"""A lock per device: training shares it, a measurement has it alone."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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
    waits for exclusive use is not starved: all who come later, to share or to have it alone,
    queue behind it. The lock is not reentrant: taking it again inside deadlocks.

    Use of a GPU is use of the CPU too, which launches its kernels and loads its data: the lock
    of a GPU comes with that of the CPU, which is always taken first.

    Attributes:
        paths: the lock files, in the order in which they are taken.
    """

    def __init__(self, device: torch.device | str, folder: Path | None = None) -> None:
        """Name the lock; nothing is locked yet.

        Args:
            device: ``"cpu"``, ``"cuda"`` or a :class:`torch.device`.
            folder: of the lock files; by default the user's own in the temporary folder.
        """
        keys = dict.fromkeys(("cpu", device_key(device)))
        self.paths = [(folder or lock_folder()) / f"{key}.lock" for key in keys]

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock together with others that share it."""
        with ExitStack() as held:
            for path in self.paths:
                with _held(_turnstile(path), fcntl.LOCK_EX):
                    held.enter_context(_held(path, fcntl.LOCK_SH))
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone; newcomers wait at the turnstile meanwhile."""
        with ExitStack() as held:
            for path in self.paths:
                held.enter_context(_held(_turnstile(path), fcntl.LOCK_EX))
                held.enter_context(_held(path, fcntl.LOCK_EX))
            yield


def _turnstile(path: Path) -> Path:
    return path.with_suffix(".turnstile")


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
