"""A target in another process: it receives ONNX files over a pipe and returns raw block times.

A phone or a remote machine differs in the command that starts the agent, such as
``ssh HOST python3 -``, and in the lock.

Each message is one line of JSON, which says how many bytes follow it.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import torch
from small import SPACE, TRAINING, digits, trained
from torch import Tensor, nn

import autocompress as ac
from autocompress.errors import ConfigurationError
from autocompress.targets import DeviceLock

AGENT = """
import json, platform, sys, time
import numpy as np
import onnxruntime

sessions, feeds = {}, {}

def receive():
    line = sys.stdin.buffer.readline()
    if not line:
        sys.exit()
    message = json.loads(line)
    return message, sys.stdin.buffer.read(message.pop("bytes"))

def send(message, content=b""):
    line = json.dumps({**message, "bytes": len(content)}) + "\\n"
    sys.stdout.buffer.write(line.encode() + content)
    sys.stdout.buffer.flush()

def array(message, content):
    return np.frombuffer(content, np.float32).reshape(message["shape"])

def open_session(message, content):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = message["threads"]
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    sessions[message["session"]] = session
    return {}, b""

def example(message, content):
    name = sessions[message["session"]].get_inputs()[0].name
    feeds[message["session"]] = {name: array(message, content)}
    return {}, b""

def run(message, content):
    session = sessions[message["session"]]
    name = session.get_inputs()[0].name
    (output,) = session.run(None, {name: array(message, content)})
    return {"shape": output.shape}, np.ascontiguousarray(output, np.float32).tobytes()

def time_calls(message, content):
    session, feed, durations = sessions[message["session"]], feeds[message["session"]], []
    wall, cpu = time.perf_counter(), time.thread_time()
    for _ in range(message["calls"]):
        start = time.perf_counter_ns()
        session.run(None, feed)
        durations.append((time.perf_counter_ns() - start) / 1e6)
    busy = (time.thread_time() - cpu) / (time.perf_counter() - wall)
    return {"durations_ms": durations, "contention": min(1.0, max(0.0, 1.0 - busy))}, b""

def close(message, content):
    del sessions[message["session"]], feeds[message["session"]]
    return {}, b""

def describe(message, content):
    return {"machine": platform.machine(), "onnxruntime": onnxruntime.__version__}, b""

ACTIONS = {"open": open_session, "example": example, "run": run, "time": time_calls,
           "close": close, "describe": describe}
while True:
    message, content = receive()
    try:
        send(*ACTIONS[message.pop("do")](message, content))
    except Exception as error:
        send({"failed": f"{type(error).__name__}: {error}"})
"""


class Connection:
    """Messages to an agent, one at a time."""

    def __init__(self, command: list[str]) -> None:
        self._agent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._lock = threading.RLock()

    def ask(self, do: str, content: bytes = b"", **message: Any) -> tuple[dict[str, Any], bytes]:
        """Send a message; return the answer and the bytes that come with it."""
        with self._lock:
            line = json.dumps({"do": do, "bytes": len(content), **message}) + "\n"
            self._write.write(line.encode() + content)
            self._write.flush()
            answer = json.loads(self._read.readline() or '{"failed": "it died", "bytes": 0}')
            received = self._read.read(answer.pop("bytes"))
        if "failed" in answer:
            raise ConfigurationError(f"the agent: {answer['failed']}")
        return answer, received

    def close(self) -> None:
        """End the agent."""
        self._write.close()
        self._agent.wait()
        self._read.close()

    @property
    def _write(self) -> BinaryIO:
        assert self._agent.stdin is not None
        return self._agent.stdin  # type: ignore[return-value]

    @property
    def _read(self) -> BinaryIO:
        assert self._agent.stdout is not None
        return self._agent.stdout  # type: ignore[return-value]


def local_agent() -> Connection:
    """Start an agent on this machine."""
    return Connection([sys.executable, "-c", AGENT])


@dataclass
class RemoteTarget:
    """ONNX Runtime at the other end of a connection."""

    connection: Connection
    threads: int = 1
    batch_size: int = 1
    name: str = "onnxruntime in another process"
    precisions: tuple[str, ...] = ("fp32", "int8")
    quick: bool = False
    _opened: int = field(default=0, init=False)

    def check(self) -> None:
        """Ask the agent for anything."""
        self.connection.ask("describe")

    def prepare(
        self, model: nn.Module, precision: str, *, example: Tensor, calibration: Iterator[Tensor]
    ) -> ac.Artifact:
        """Make an ONNX file here, as for ONNX Runtime on this machine."""
        here = ac.local_target("onnxruntime", device="cpu")
        return here.prepare(model, precision, example=example, calibration=calibration)

    def open(self, artifact: ac.Artifact, example: Tensor) -> ac.Session:
        """Send the file and the example."""
        if not isinstance(artifact.content, bytes) or artifact.format != "onnx":
            raise ConfigurationError(f"{self.name} runs ONNX files, not {artifact.format!r}")
        if len(example) != self.batch_size:
            raise ConfigurationError(f"expected {self.batch_size} inputs, not {len(example)}")
        self._opened += 1
        session = RemoteSession(self.connection, self._opened)
        session.ask("open", artifact.content, threads=self.threads)
        content, shape = _sent(example)
        session.ask("example", content, shape=shape)
        return session

    def exclusive(self) -> AbstractContextManager[None]:
        """Let nobody else of this machine train or measure meanwhile."""
        return DeviceLock("cpu").exclusive()

    def fingerprint(self) -> Mapping[str, Any]:
        """Return what the agent says of its machine."""
        answer, _ = self.connection.ask("describe")
        return {**answer, "threads": self.threads, "batch_size": self.batch_size}


@dataclass
class RemoteSession:
    """A model that is open at the other end."""

    connection: Connection
    number: int

    def ask(self, do: str, content: bytes = b"", **message: Any) -> tuple[dict[str, Any], bytes]:
        """Ask about this session."""
        return self.connection.ask(do, content, session=self.number, **message)

    def run(self, inputs: Tensor) -> Tensor:
        """Send inputs, receive outputs."""
        content, shape = _sent(inputs)
        answer, received = self.ask("run", content, shape=shape)
        array = np.frombuffer(received, np.float32).reshape(answer["shape"])
        return torch.from_numpy(array.copy()).to(inputs.device)

    def time(self, calls: int) -> ac.Calls:
        """Receive the durations of calls at the other end; the way there is not in them."""
        answer, _ = self.ask("time", calls=calls)
        return ac.Calls(answer["durations_ms"], answer["contention"])

    def close(self) -> None:
        """Let the agent forget the model."""
        self.ask("close")


def _sent(inputs: Tensor) -> tuple[bytes, list[int]]:
    array = inputs.detach().cpu().contiguous().numpy()
    return array.astype(np.float32).tobytes(), list(array.shape)


def target() -> RemoteTarget:
    """Return the target; in a study file: ``[target] runtime = "own_target:target"``."""
    return RemoteTarget(local_agent())


def main(directory: str = "runs", trials: int = 6) -> ac.Run:
    """Search for networks that are fast on the target."""
    remote = target()
    try:
        return ac.search(
            trained(),
            digits(),
            target=remote,
            effort=ac.Effort(budget_s=0.5),
            space=SPACE,
            training=TRAINING,
            trials=trials,
            name="own_target",
            directory=directory,
        )
    finally:
        remote.connection.close()


if __name__ == "__main__":
    print(main().fingerprint)
