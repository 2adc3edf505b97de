"""What a metric must be."""

import json
import math
from numbers import Real

from torch import Tensor, nn

from autocompress.metrics import Candidate, Estimate, Metric
from autocompress.metrics.formatting import axis_title, format_change, format_value
from autocompress.metrics.metric import KNOWN
from autocompress.targets import Target, local_target


def check_metric(
    metric: Metric,
    model: nn.Module | None = None,
    example: Tensor | None = None,
    *,
    target: Target | None = None,
) -> None:
    """Check that a metric describes itself, and measures a model without changing it.

    Args:
        metric: your own.
        model: any network; without one, only the description is checked.
        example: inputs of one call of the model, ``[batch_size, ...]``; its device is the model's.
        target: where the model is deployed; by default in PyTorch on the device of ``example``.

    Raises:
        AssertionError: it breaks the contract; the message says how.

    Example:
        >>> import torch
        >>> from autocompress.metrics import metric
        >>> @metric(direction="minimize", unit="layers", format="count")
        ... def layers(candidate):
        ...     return float(len(list(candidate.model.modules())))
        >>> check_metric(layers)
        >>> check_metric(layers, nn.Linear(3, 2), torch.zeros(1, 3))
    """
    _check_description(metric)
    if model is None:
        return
    assert example is not None, "example: expected the inputs of one call of the model"
    model.eval()
    if target is None:
        target = local_target(device=example.device.type, batch_size=len(example))
    artifact = target.prepare(model, "fp32", example=example, calibration=iter(()))
    session = target.open(artifact, example)
    try:
        _check_measuring(metric, Candidate(model, session, example, artifact.size_bytes))
    finally:
        session.close()


def _check_measuring(metric: Metric, candidate: Candidate) -> None:
    assert metric.measure is not None, f"{metric.name} has no function that measures it"
    before = {name: value.clone() for name, value in candidate.model.state_dict().items()}
    training = [module.training for module in candidate.model.modules()]
    found = metric.measure(candidate)
    after = candidate.model.state_dict()
    changed = [
        name
        for name in before.keys() | after.keys()
        if name not in before or name not in after or not before[name].equal(after[name])
    ]
    assert not changed, f"{metric.name} changed the model: {', '.join(sorted(changed))}"
    assert training == [module.training for module in candidate.model.modules()], (
        f"{metric.name} left the model in another mode; it is given in evaluation mode"
    )
    _check_estimate(metric, found)


def _check_description(metric: Metric) -> None:
    plain = json.loads(json.dumps(metric.to_dict()))
    assert Metric.from_dict(plain) == metric, (
        f"{metric.name} is another metric after a round trip through JSON: {plain}"
    )
    assert metric.name not in KNOWN, f"{metric.name!r} is the name of a metric that every run has"
    taken = {
        name
        for known in KNOWN.values()
        for name in (known.name, known.ratio_name, known.drop_name)
    }
    own = (metric.name, metric.ratio_name, metric.drop_name)
    assert len(set(own)) == 3, f"{metric.name}: its limits have the same name twice: {own}"
    assert not taken & set(own), (
        f"{metric.name}: {', '.join(sorted(taken & set(own)))} is the name of another limit"
    )
    assert metric.pick != "balanced", f"{metric.name}: 'balanced' is a pick that every run has"
    assert metric.sign in (1, -1), f"{metric.name} has sign {metric.sign}; expected 1 or -1"
    assert axis_title(metric).strip(), f"{metric.name} has an empty title"


def _check_estimate(metric: Metric, found: float | Estimate) -> None:
    is_number = isinstance(found, Real) and not isinstance(found, bool)
    assert is_number or isinstance(found, Estimate), (
        f"{metric.name} measured {found!r}; expected a number or an Estimate"
    )
    estimate = found if isinstance(found, Estimate) else Estimate(value=float(found))
    ends = [end for end in (estimate.value, estimate.low, estimate.high) if end is not None]
    assert all(math.isfinite(end) for end in ends), (
        f"{metric.name} measured {estimate}; expected finite numbers"
    )
    if estimate.low is not None and estimate.high is not None:
        assert estimate.low <= estimate.value <= estimate.high, (
            f"{metric.name} measured {estimate.value}, outside of its interval "
            f"{estimate.low} to {estimate.high}"
        )
    if metric.format == "fraction":
        assert 0 <= estimate.value <= 1, (
            f"{metric.name} measured {estimate.value}; a fraction is between 0 and 1"
        )
    if metric.format in ("count", "bytes") or metric.logarithmic:
        assert estimate.value >= 0, f"{metric.name} measured {estimate.value}; expected 0 or more"
    json.dumps(estimate.to_dict(), allow_nan=False)
    assert format_value(metric, estimate).strip(), f"{metric.name} is written as nothing"
    assert format_change(metric, estimate, estimate).strip(), (
        f"{metric.name} is written as nothing"
    )
