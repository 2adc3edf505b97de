"""What criteria, schedules, granularities and distillation losses must do."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from autocompress.graph import find_units
from autocompress.registry import Registry
from autocompress.techniques.criteria import (
    CRITERIA,
    Criterion,
    measures_change,
    needs,
    scores_units_only,
)
from autocompress.techniques.distillation import Distillation, Distiller
from autocompress.techniques.distillation_losses import (
    DISTILLATION_LOSSES,
    DistillationLoss,
    compares_features,
    has_temperature,
)
from autocompress.techniques.granularity import (
    GRANULARITIES,
    Granularity,
    inputs_multiple_of,
    ranks_layers,
)
from autocompress.techniques.layers import Kind, find_layers
from autocompress.techniques.schedules import Schedule, fraction_at, returns_to_dense
from autocompress.techniques.sparsification import Sparsification, Sparsifier

IMAGES = torch.linspace(-1, 1, 8 * 4 * 8 * 8).sin().view(8, 4, 8, 8)
LABELS = torch.arange(8) % 5
WEIGHT = torch.tensor([3.0, -2.0, 0.5, 0.0])
STATISTICS = {
    "weight": WEIGHT,
    "initial": torch.tensor([1.0, -4.0, -0.5, 2.0]),
    "previous": torch.tensor([0.5, -2.0, -0.25, 1.0]),
    "saliency": torch.tensor([0.4, 0.1, 0.3, 0.2]),
    "input_norm": torch.tensor([1.0, 3.0, 2.0, 5.0]),
    "norm_scale": torch.tensor([0.9, 0.1, 0.5, 0.3]),
    "noise": torch.tensor([0.3, 0.2, 0.8, 0.1]),
}
CONVOLUTIONS = (
    nn.Conv1d(8, 6, 3),
    nn.Conv2d(8, 6, (3, 2)),
    nn.Conv3d(8, 6, (2, 3, 2)),
    nn.Conv2d(8, 6, 3, groups=2),
    nn.ConvTranspose2d(8, 6, (3, 2)),
)


class SmallNet(nn.Module):
    """A residual, a depthwise and a plain convolution with batch norms, and linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.block, self.block_norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.last, self.last_norm = nn.Conv2d(8, 12, 3), nn.BatchNorm2d(12)
        self.hidden, self.head = nn.Linear(12, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Classify ``[batch, 4, 8, 8]`` into 5 classes."""
        x = torch.relu(self.stem_norm(self.stem(x)))
        x = torch.relu(x + self.block_norm(self.block(x)))
        x = torch.relu(self.last_norm(self.last(self.depthwise(x))))
        logits: Tensor = self.head(torch.relu(self.hidden(x.mean((2, 3)))))
        return logits


def small_net() -> SmallNet:
    """Return a small network, always with the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return SmallNet()


def check_criterion(criterion: Criterion) -> None:
    """Check that a criterion scores purely, and that a sparsification can follow it.

    Args:
        criterion: registered in ``CRITERIA`` or not.

    Raises:
        AssertionError: it breaks the contract; the message says how.
    """
    name = criterion.__name__
    _check_documented(criterion)
    assert needs(criterion), f"{name}: it takes no statistics, so it cannot rank anything"
    before = {key: value.clone() for key, value in STATISTICS.items()}
    scores = _scored(criterion, STATISTICS)
    changed = [key for key, value in before.items() if not torch.equal(value, STATISTICS[key])]
    assert not changed, f"{name}: it edits its statistics {changed} in place"
    assert scores.shape == WEIGHT.shape, f"{name}: its scores have shape {list(scores.shape)}"
    scaled = {key: t if key == "noise" else 7 * t for key, t in STATISTICS.items()}
    orders = [_scored(criterion, s).argsort(stable=True) for s in (STATISTICS, scaled)]
    assert torch.equal(*orders), f"{name}: its order depends on the scale of its statistics"
    still = {**STATISTICS, "initial": WEIGHT, "previous": WEIGHT}
    found = _scored(criterion, still)
    blind = bool((found == found[0]).all())
    assert blind == measures_change(criterion), (
        f"{name}: weights that have not moved all get the same score: {blind}; it declares "
        f"measures_change={measures_change(criterion)}"
    )
    with _registered(CRITERIA, criterion):
        for granularity in ("filter", "weight")[: 1 if scores_units_only(criterion) else 2]:
            _check_training(Sparsification(criterion=name, sparsity=0.4, granularity=granularity))


def check_schedule(schedule: Schedule) -> None:
    """Check that a schedule stays in [0, 1] and ends where it says.

    Raises:
        AssertionError: it breaks the contract; the message says how.
    """
    name = schedule.__name__
    _check_documented(schedule)
    values = [schedule(step / 500) for step in range(501)]
    assert all(0 <= value <= 1 for value in values), f"{name}: it leaves [0, 1]"
    end = 0.0 if returns_to_dense(schedule) else 1.0
    assert abs(values[-1] - end) < 1e-9, f"{name}: it ends at {values[-1]}, not at {end}"
    if returns_to_dense(schedule):
        assert max(values) == 1, f"{name}: it never reaches the target"
    else:
        assert values == sorted(values), f"{name}: it falls, but does not declare returns_to_dense"
    placed = [fraction_at(schedule, p, 0.2, 0.6) for p in (0.19, 0.4, 0.6, 1.0)]
    wanted = [0.0, schedule(0.5), schedule(1.0), schedule(1.0)]
    close = all(abs(a - b) < 1e-9 for a, b in zip(placed, wanted, strict=True))
    assert close, f"{name}: within a window it gives {placed}, not {wanted}"


def check_granularity(granularity: Granularity, kind: Kind) -> None:
    """Check that a granularity gives one score per group, for every layer of a kind.

    Args:
        granularity: registered or not.
        kind: of the layers that it is for.

    Raises:
        AssertionError: it breaks the contract; the message says how.
    """
    name = granularity.__name__
    _check_documented(granularity)
    modules = CONVOLUTIONS if kind == "convolution" else (nn.Linear(8, 6),)
    for module in modules:
        (layer,), _ = find_layers(nn.Sequential(module))
        scores = layer.common(layer.weight.detach().abs())
        if scores.shape[1] % inputs_multiple_of(granularity):
            continue
        before = scores.clone()
        groups = granularity(scores)
        assert torch.equal(before, scores), f"{name}: it edits the scores in place"
        pairs = zip(groups.shape, scores.shape, strict=False)
        fits = groups.dim() == scores.dim() and all(g in (1, s) for g, s in pairs)
        assert fits, (
            f"{name}: groups {list(groups.shape)} do not broadcast over {list(scores.shape)}"
        )
        zeroed = granularity(scores.masked_fill(groups == groups.min(), -torch.inf))
        assert bool((zeroed == -torch.inf).any()), (
            f"{name}: a group whose scores are -inf must score -inf: it was zeroed before"
        )
    with _registered(GRANULARITIES[kind], granularity):
        _check_reached(kind, name, across=ranks_layers(granularity))


def check_loss(loss: DistillationLoss) -> None:
    """Check that a distillation loss is least for equals, and that a student learns by it.

    Args:
        loss: registered in ``DISTILLATION_LOSSES`` or not.

    Raises:
        AssertionError: it breaks the contract; the message says how.
    """
    name = loss.__name__
    _check_documented(loss)
    ours, theirs = (IMAGES.double() * scale for scale in (1.0, 0.5))
    theirs = theirs.flip(0).square()
    more = {"temperature": 4.0} if has_temperature(loss) else {}
    equal, different = loss(ours, ours, **more), loss(ours, theirs, **more)
    assert abs(float(equal)) < 1e-9, f"{name}: of equal inputs it is {float(equal)}, not 0"
    assert different > 0, f"{name}: of different inputs it is {float(different)}, not above 0"
    if compares_features(loss):
        resized = float(loss(ours, theirs[:, :, :5, :5], **more))
        assert torch.tensor(resized).isfinite(), f"{name}: of two resolutions it is {resized}"
    with _registered(DISTILLATION_LOSSES, loss):
        _check_learning(name)


def _check_documented(function: Callable[..., Any]) -> None:
    assert function.__doc__, f"{function.__name__}: it has no docstring to be listed with"


def _scored(criterion: Criterion, statistics: Mapping[str, Tensor]) -> Tensor:
    return criterion(**{key: statistics[key] for key in needs(criterion)})


@contextmanager
def _registered(registry: Registry[Any], function: Callable[..., Any]) -> Iterator[None]:
    """Make a function known for a while, if it is not already."""
    if function in registry.values():
        yield
        return
    name = function.__name__
    before = dict(registry).get(name)  # an earlier version, of a notebook
    registry.register(function)
    try:
        yield
    finally:
        registry.unregister(name)
        if before is not None:
            registry.register(before, name)


def _check_training(settings: Sparsification) -> None:
    """Train with a criterion twice: zeros stay, the sparsity is reached, and both runs agree."""
    runs = [_trained(settings) for _ in range(2)]
    name = f"{settings.criterion} ({settings.granularity})"
    for history, sparsifier in runs:
        for before, after in itertools.pairwise(history):
            stay = all(bool((before[key] | ~after[key]).all()) for key in before)
            assert stay, f"{name}: what was zeroed came back while the schedule rises"
        _assert_reached(sparsifier, 0.4, name)
    first, second = (dict(sparsifier.masks) for _, sparsifier in runs)
    same = all(torch.equal(first[key], second[key]) for key in first)
    assert same, f"{name}: two runs with the same seed end with different masks"


def _trained(settings: Sparsification) -> tuple[list[Mapping[str, Tensor]], Sparsifier]:
    model, history = small_net(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    sparsifier = Sparsifier(model, settings, find_units(model, IMAGES[:2]), seed=3)
    with sparsifier:
        for step in range(3):
            sparsifier.update(step / 3)
            history.append(dict(sparsifier.masks))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(IMAGES), LABELS).backward()  # type: ignore[no-untyped-call]
            sparsifier.after_backward()
            optimizer.step()
            sparsifier.apply()
        sparsifier.update(1.0)
    return [*history, dict(sparsifier.masks)], sparsifier


def _check_reached(kind: Kind, name: str, *, across: bool) -> None:
    model = small_net()
    if kind == "convolution":
        settings = Sparsification(sparsity=0.5, granularity=name)
    else:
        settings = Sparsification(sparsity=0.0, linear_sparsity=0.5, linear_granularity=name)
    sparsifier = Sparsifier(model, settings, find_units(model, IMAGES[:2]))
    sparsifier.update(1.0)
    if across:
        found = sparsifier.overall_sparsity(kind)
        assert abs(found - 0.5) <= 0.25, f"{name}: {found:.0%} of the layers are zero, not 50 %"
    else:
        _assert_reached(sparsifier, 0.5, name)


def _assert_reached(sparsifier: Sparsifier, asked: float, name: str) -> None:
    for layer, found in sparsifier.sparsity.items():
        off = abs(found - asked)
        assert off <= 1 / sparsifier.group_counts[layer] + 1e-9, (
            f"{name}: {found:.0%} of {layer} are zero, where {asked:.0%} were asked for"
        )


def _check_learning(name: str) -> None:
    student, teacher = small_net(), small_net()
    with torch.no_grad():
        for parameter in teacher.parameters():
            parameter.mul_(1.5)
    losses = []
    settings = Distillation(loss=name, weight=1.0)
    with Distiller(student, teacher, settings, IMAGES) as distiller:
        optimizer = torch.optim.Adam([*student.parameters(), *distiller.parameters()], lr=0.01)
        for _ in range(30):
            optimizer.zero_grad()
            output = student(IMAGES)
            loss = distiller.loss(output.sum(), output, IMAGES)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(loss.detach()))
    frozen = all(parameter.grad is None for parameter in teacher.parameters())
    assert frozen, f"{name}: gradients reach the teacher"
    assert losses[-1] < 0.9 * losses[0], (
        f"{name}: in 30 steps it went from {losses[0]:.3g} to {losses[-1]:.3g}; a student cannot "
        "learn by it"
    )
