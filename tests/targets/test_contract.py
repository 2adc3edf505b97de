"""All targets of this machine keep the contract, and the suite finds those that break it."""

from contextlib import nullcontext
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from autocompress.errors import ConfigurationError
from autocompress.targets import TARGETS, Calls, local_target
from autocompress.testing.targets import check_target

pytestmark = pytest.mark.filterwarnings("ignore")  # of exporters and compilers


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Linear(256, 10),
    ).eval()  # fmt: skip


def images(count=32):
    return torch.randn(count, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("settings", [{}, {"batch_size": 3, "channels_last": True}])
@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
def test_targets_of_this_machine_keep_the_contract(runtime, settings, onnx):
    check_target(local_target(runtime, device="cpu", **settings), net(), images())


def test_compiled_models_keep_the_contract():
    check_target(local_target("torch-compile", device="cpu"), net(), images())


@pytest.mark.gpu
@pytest.mark.parametrize("runtime", ["torch", "torch-compile", "cuda-graph"])
def test_targets_on_a_gpu_keep_the_contract(runtime):
    target = local_target(runtime, device="cuda")
    check_target(target, net(), images())
    check_target(target, net().cuda(), images().cuda())


@dataclass
class Wrapped:
    """A target that passes everything on; tests break one part each."""

    inner: object = None
    name: str = "wrapped"
    batch_size: int = 1
    precisions: tuple[str, ...] = ("fp32",)
    quick: bool = True

    def __post_init__(self):
        self.inner = TARGETS["torch"](device="cpu")

    def check(self):
        self.inner.check()

    def prepare(self, model, precision, *, example, calibration):
        return self.inner.prepare(model, precision, example=example, calibration=calibration)

    def open(self, artifact, example):
        return self.session(self.inner.open(artifact, example))

    def session(self, session):
        return session

    def exclusive(self):
        return nullcontext()

    def fingerprint(self):
        return {"name": self.name}


@dataclass
class WrappedSession:
    inner: object

    def run(self, inputs):
        return self.inner.run(inputs)

    def time(self, calls):
        return self.inner.time(calls)

    def close(self):
        self.inner.close()


def test_a_target_that_passes_everything_on_is_fine():
    check_target(Wrapped(), net(), images())


def session_with(**methods):
    kind = type("Broken", (WrappedSession,), methods)
    return {"session": lambda self, session: kind(session)}


def changing(self, model, precision, **given):
    with torch.no_grad():
        model[0].weight.mul_(0.5)
    return Wrapped.prepare(self, model, precision, **given)


def training(self, model, precision, **given):
    prepared = Wrapped.prepare(self, model, precision, **given)
    model.train()
    return prepared


def taking_anything(self, model, precision, **given):
    return replace(Wrapped.prepare(self, model, "fp32", **given), precision=precision)


def raising_key_errors(self, model, precision, **given):
    return Wrapped.prepare(self, model, {"fp32": "fp32"}[precision], **given)


def forgetting_the_precision(self, model, precision, **given):
    return replace(Wrapped.prepare(self, model, precision, **given), precision="int8")


def calibrating(self, model, precision, *, example, calibration):
    next(calibration, None)
    return Wrapped.prepare(self, model, precision, example=example, calibration=calibration)


class Swallowing(nullcontext):
    def __exit__(self, *error):
        return True


def two_at_once(self, artifact, example):
    return self.inner.open(artifact, example[:1])


BROKEN = {
    "it changed ['0.weight']": {"prepare": changing},
    "it changed a mode": {"prepare": training},
    "precision 'fp99' was taken": {"prepare": taking_anything},
    "expected a ConfigurationError, not KeyError": {"prepare": raising_key_errors},
    "expected an artifact in fp32, not int8": {"prepare": forgetting_the_precision},
    "calibration was used for fp32": {"prepare": calibrating},
    "outputs differ by": session_with(run=lambda self, inputs: self.inner.run(inputs) + 1),
    "expected shape [32, 10]": session_with(run=lambda self, inputs: self.inner.run(inputs).T),
    "expected outputs": session_with(run=lambda self, inputs: (self.inner.run(inputs),)),
    "expected 5 durations, not 1": session_with(time=lambda self, n: Calls([1.0], 0.0)),
    "durations above 0 ms": session_with(time=lambda self, n: Calls([0.0] * n, 0.0)),
    "expected Calls, not list": session_with(time=lambda self, n: [1.0] * n),
    "contention: expected 0 to 1": session_with(time=lambda self, n: Calls([1.0] * n, 2.0)),
    "5 CPU times or none, not 1": session_with(time=lambda self, n: Calls([1.0] * n, 0, [1.0])),
    "expected a context manager, not str": {"exclusive": lambda self: "held"},
    "it hides errors": {"exclusive": lambda self: Swallowing()},
    "expected data for JSON": {"fingerprint": lambda self: {"device": torch.device("cpu")}},
    "JSON changes it": {"fingerprint": lambda self: {"cores": (1, 2)}},
    "it changed from": {"fingerprint": lambda self: {"now": torch.rand(1).item()}},
    "an example of 2 inputs was taken": {"open": two_at_once},
}  # fmt: skip


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_target_is_found(message):
    broken = type("Broken", (Wrapped,), BROKEN[message])()
    with pytest.raises(AssertionError) as caught:
        check_target(broken, net(), images())
    assert message in str(caught.value)


def test_a_target_without_some_parts_is_found():
    class Half:
        batch_size = 1

        def check(self):
            """Fine."""

    with pytest.raises(AssertionError, match="lacks parts of the protocol"):
        check_target(Half(), net(), images())


def test_a_target_that_cannot_be_used_says_so_itself():
    target = local_target("cuda-graph", device="cpu")
    with pytest.raises(ConfigurationError, match="needs device = 'cuda'"):
        check_target(target, net(), images())
