"""What a target must keep: prepare, open, run, time, lock, describe."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from autocompress.errors import ConfigurationError
from autocompress.targets import Artifact, Calls, Session, Target

TOLERANCES: Mapping[str, float] = MappingProxyType({"fp32": 1e-3, "fp16": 0.05, "int8": 0.5})
"""How far outputs may be from the model's, as a fraction of their standard deviation."""
CALLS = 5


def check_target(
    target: Target,
    model: nn.Module,
    example: Tensor,
    *,
    precisions: Sequence[str] | None = None,
    tolerances: Mapping[str, float] = TOLERANCES,
) -> None:
    """Check that a target keeps its contract.

    Args:
        target: to check; it can be used here.
        model: in evaluation mode, on the device of the example.
        example: at least two inputs ``[n, ...]``, and as many as a call of the target has; int8
            is calibrated on them.
        precisions: by default all that the target runs.
        tolerances: by precision: how far outputs may be from the model's, as a fraction of their
            standard deviation.

    Raises:
        AssertionError: it does not keep it; the message says what was expected and what came.

    Example:
        >>> from autocompress.targets import local_target
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).eval()
        >>> check_target(local_target(device="cpu"), model, torch.rand(4, 1, 4, 4))
    """
    _require(len(example) >= max(2, target.batch_size), "the suite needs a larger example")
    target.check()
    check_description(target)
    check_fingerprint(target)
    check_exclusive(target)
    check_unknown_precision(target, model, example)
    for precision in target.precisions if precisions is None else precisions:
        artifact = check_prepare(target, model, example, precision)
        check_sessions(target, model, artifact, example, tolerances[precision])


def check_description(target: Target) -> None:
    """Check the attributes."""
    _require(isinstance(target, Target), f"{target!r} lacks parts of the protocol Target")
    _require(bool(target.name), "name: expected a text, not an empty one")
    _require(target.batch_size >= 1, f"batch_size: expected at least 1, not {target.batch_size}")
    _require(len(target.precisions) >= 1, "precisions: expected at least one")


def check_fingerprint(target: Target) -> None:
    """Check that the fingerprint is plain data, and the same every time."""
    found = target.fingerprint()
    try:
        again = json.loads(json.dumps(found))
    except (TypeError, ValueError) as error:
        raise AssertionError(f"fingerprint: expected data for JSON: {error}") from error
    _require(again == dict(found), f"fingerprint: JSON changes it: {dict(found)} to {again}")
    now = dict(target.fingerprint())
    _require(now == dict(found), f"fingerprint: it changed from {dict(found)} to {now}")


def check_exclusive(target: Target) -> None:
    """Check that the device can be held, twice in a row, also after an error."""
    held = target.exclusive()
    expected = "exclusive: expected a context manager"
    _require(isinstance(held, AbstractContextManager), f"{expected}, not {type(held).__name__}")
    with held:
        pass
    try:
        with target.exclusive():
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    else:
        raise AssertionError("exclusive: it hides errors of what runs inside")
    with target.exclusive():
        pass


def check_unknown_precision(target: Target, model: nn.Module, example: Tensor) -> None:
    """Check that a precision that does not exist is a ``ConfigurationError`` that names it."""
    try:
        target.prepare(model, "fp99", example=example, calibration=iter(()))
    except ConfigurationError as error:
        _require("fp99" in str(error), f"prepare: the error does not name 'fp99': {error}")
    except Exception as error:
        raise AssertionError(
            f"prepare: for precision 'fp99' expected a ConfigurationError, not {error!r}"
        ) from error
    else:
        raise AssertionError("prepare: precision 'fp99' was taken, which does not exist")


def check_prepare(target: Target, model: nn.Module, example: Tensor, precision: str) -> Artifact:
    """Check that preparing leaves the model as it is; return what was prepared."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    calibration = _Calibration(example)
    artifact = target.prepare(model, precision, example=example, calibration=iter(calibration))
    after = model.state_dict()
    changed = [n for n, t in before.items() if n not in after or not torch.equal(t, after[n])]
    _require(not changed and len(after) == len(before), f"prepare: it changed {changed}")
    _require(modes == [m.training for m in model.modules()], "prepare: it changed a mode")
    _require(
        artifact.precision == precision,
        f"prepare: expected an artifact in {precision}, not {artifact.precision}",
    )
    size = artifact.size_bytes
    _require(size > 0, f"prepare: expected a size in bytes above 0, not {size}")
    if isinstance(artifact.content, bytes):
        length = len(artifact.content)
        _require(size == length, f"prepare: size_bytes is {size} of a file of {length} bytes")
    if precision != "int8":
        _require(not calibration.touched, f"prepare: calibration was used for {precision}")
    return artifact


class _Calibration:
    """Inputs that notice whether they were asked for."""

    def __init__(self, inputs: Tensor) -> None:
        self.inputs = inputs
        self.touched = False

    def __iter__(self) -> Iterator[Tensor]:
        for part in torch.split(self.inputs, 8):
            self.touched = True
            yield part


def check_sessions(
    target: Target, model: nn.Module, artifact: Artifact, example: Tensor, tolerance: float
) -> None:
    """Check two sessions of an artifact side by side, and that one survives the other's end."""
    call = example[: target.batch_size]
    first, second = (target.open(artifact, call) for _ in range(2))
    for inputs in (example, example[:1]):
        check_outputs(first, model, inputs, tolerance)
    check_times(first)
    first.close()
    check_times(second)
    check_outputs(second, model, example, tolerance)
    second.close()
    try:
        target.open(artifact, torch.cat([call, call])).close()
    except ConfigurationError:
        return
    raise AssertionError(
        f"open: an example of {2 * target.batch_size} inputs was taken; batch_size is "
        f"{target.batch_size}"
    )


def check_outputs(session: Session, model: nn.Module, inputs: Tensor, tolerance: float) -> None:
    """Check that a session gives the model's outputs, wherever the inputs are."""
    with torch.no_grad():
        expected, structure = tree_flatten(model(inputs))
    outputs = session.run(inputs)
    found, same = tree_flatten(outputs)
    _require(same == structure, f"run: expected outputs {structure}, not {same}")
    for ours, theirs in zip(found, expected, strict=True):
        _check_tensor(ours, theirs, tolerance)


def _check_tensor(found: Any, expected: Tensor, tolerance: float) -> None:
    _require(isinstance(found, Tensor), f"run: expected a tensor, not {type(found).__name__}")
    shapes = list(expected.shape), list(found.shape)
    _require(shapes[0] == shapes[1], f"run: expected shape {shapes[0]}, not {shapes[1]}")
    places = expected.device, found.device
    _require(places[0] == places[1], f"run: expected outputs on {places[0]}, not {places[1]}")
    spread = float(expected.double().std()) if expected.numel() > 1 else 0.0
    furthest = float((found.double() - expected.double()).abs().max()) / (spread or 1.0)
    _require(
        furthest <= tolerance,
        f"run: outputs differ by {furthest:.1e} of the model's standard deviation; allowed are "
        f"{tolerance:.1e}",
    )


def check_times(session: Session) -> None:
    """Check that timed calls are told one by one."""
    calls = session.time(CALLS)
    _require(isinstance(calls, Calls), f"time: expected Calls, not {type(calls).__name__}")
    durations = list(calls.durations_ms)
    _require(len(durations) == CALLS, f"time: expected {CALLS} durations, not {len(durations)}")
    wrong = [value for value in durations if not (math.isfinite(value) and value > 0)]
    _require(not wrong, f"time: expected durations above 0 ms, not {wrong}")
    _require(
        0 <= calls.contention <= 1,
        f"time: contention: expected 0 to 1, not {calls.contention}",
    )
    if calls.cpu_ms is not None:
        count = len(calls.cpu_ms)
        _require(count == CALLS, f"time: expected {CALLS} CPU times or none, not {count}")


def _require(condition: bool, message: str) -> None:  # noqa: FBT001
    if not condition:
        raise AssertionError(message)
