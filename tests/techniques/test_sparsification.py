"""The contract of sparsification; every registered name passes it."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn.utils import prune as reference

from autocompress.errors import ConfigurationError, UsageError
from autocompress.graph import find_units
from autocompress.techniques.criteria import CRITERIA, measures_change
from autocompress.techniques.granularity import CONVOLUTION_GRANULARITIES, LINEAR_GRANULARITIES
from autocompress.techniques.masks import hold_zeros
from autocompress.techniques.schedules import SCHEDULES, returns_to_dense
from autocompress.techniques.sparsification import Sparsification, Sparsifier, sparsify

from small_nets import small_residual

IMAGES = torch.randn(8, 4, 8, 8, generator=torch.manual_seed(1))
LABELS = torch.arange(8) % 5
SCOPES = ("local", "global")
CONVOLUTIONS = ("stem", "block", "depthwise", "last")


@pytest.fixture(scope="module")
def units():
    return find_units(small_residual(), IMAGES)


def train(model, sparsifier, steps=6, on_update=None):
    """Train with all that a loop owes the sparsifier."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    model.train()
    with sparsifier:
        for step in range(steps):
            sparsifier.update(step / steps)
            if on_update:
                on_update(sparsifier)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(IMAGES), LABELS).backward()
            sparsifier.after_backward()
            optimizer.step()
            sparsifier.apply()
        sparsifier.update(1.0)
        if on_update:
            on_update(sparsifier)


def settings_for(criterion, **more):
    """Settings that the criterion can follow."""
    granularity = "filter" if criterion == "batch_norm_scale" else "weight"
    return Sparsification(**{"granularity": granularity, "criterion": criterion, **more})


# ---- every name


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("sparsity", [0.3, 0.5])
@pytest.mark.parametrize("name", [n for n in CONVOLUTION_GRANULARITIES if n != "layer"])
def test_a_convolution_granularity_reaches_what_was_asked(name, sparsity, scope, units):
    model = small_residual()
    settings = Sparsification(sparsity=sparsity, granularity=name, scope=scope)
    sparsifier = Sparsifier(model, settings, units)
    sparsifier.update(1.0)
    check_reached(sparsifier, sparsity, scope, "convolution")


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", [n for n in LINEAR_GRANULARITIES if n != "layer"])
def test_a_linear_granularity_reaches_what_was_asked(name, scope, units):
    model = small_residual()
    settings = Sparsification(
        sparsity=0.0, linear_sparsity=0.4, linear_granularity=name, scope=scope
    )
    sparsifier = Sparsifier(model, settings, units)
    sparsifier.update(1.0)
    check_reached(sparsifier, 0.4, scope, "linear")


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", CRITERIA)
def test_a_criterion_reaches_what_was_asked(name, scope, units):
    model = small_residual()
    for settings in (
        settings_for(name, sparsity=0.4, scope=scope),
        settings_for(name, sparsity=0.4, scope=scope, granularity="filter"),
    ):
        sparsifier = Sparsifier(model, settings, units)
        train(model, sparsifier, steps=3)
        check_reached(sparsifier, 0.4, scope, "convolution")


def check_reached(sparsifier, asked, scope, kind):
    counts = sparsifier.group_counts
    if scope == "global":
        assert abs(sparsifier.overall_sparsity(kind) - asked) <= 1 / sum(counts.values()) + 1e-9
    for name, reached in sparsifier.sparsity.items():
        assert reached < 1
        if scope == "local":
            assert abs(reached - asked) <= 1 / counts[name] + 1e-9


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("granularity", ["filter", "weight"])
def test_what_is_zeroed_stays_zeroed_while_the_schedule_rises(name, granularity, units):
    model = small_residual()
    if name == "batch_norm_scale" and granularity == "weight":
        pytest.skip("scores units only")
    history = []
    settings = settings_for(name, sparsity=0.6, granularity=granularity, schedule="linear")
    sparsifier = Sparsifier(model, settings, units)
    train(model, sparsifier, on_update=lambda s: history.append(dict(s.masks)))
    for before, after in itertools.pairwise(history):
        assert all(bool((before[key] | ~after[key]).all()) for key in before)


@pytest.mark.parametrize("name", SCHEDULES)
def test_masks_hold_through_training_and_end_where_the_schedule_does(name, units):
    model = small_residual()
    settings = Sparsification(sparsity=0.5, linear_sparsity=0.5, schedule=name, end=0.8)
    sparsifier = Sparsifier(model, settings, units)

    def masked_is_zero(sparsifier):
        state = dict(model.named_parameters())
        for key, kept in sparsifier.masks.items():
            assert not state[key][~kept].any()

    train(model, sparsifier, on_update=masked_is_zero)
    target = 0.0 if returns_to_dense(SCHEDULES[name]) else 0.5
    assert sparsifier.overall_sparsity("convolution") == pytest.approx(target)
    assert sparsifier.overall_sparsity("linear") == pytest.approx(target)


@pytest.mark.parametrize("name", CRITERIA)
def test_two_runs_share_nothing_and_repeat(name, units):
    settings = settings_for(name, sparsity=0.5)
    runs = []
    for _ in range(2):
        model = small_residual()
        sparsifier = Sparsifier(model, settings, units, seed=3)
        train(model, sparsifier, steps=3)
        runs.append((sparsifier.masks, model.state_dict()))
    (masks, state), (other_masks, other_state) = runs
    assert all(torch.equal(masks[key], other_masks[key]) for key in masks)
    assert all(torch.equal(state[key], other_state[key]) for key in state)
    assert not any(h for m in model.modules() for h in (m._forward_pre_hooks, m._forward_hooks))


@pytest.mark.parametrize("name", CRITERIA)
def test_sparsify_needs_no_training(name, units):
    model = small_residual()
    before = copy.deepcopy(model.state_dict())
    settings = settings_for(name, sparsity=0.5)
    sparse, report = sparsify(model, settings, example=IMAGES, units=units)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert (sparse.block.weight == 0).double().mean() == pytest.approx(0.5, abs=0.26)
    assert all(parameter.grad is None for parameter in sparse.parameters())
    assert report.steps == ()
    assert len(report.sentences) == len(report.sparsity) + len(report.skipped)


# ---- independent references


@pytest.mark.parametrize("amount", [0.1, 0.37, 0.8])
def test_local_weight_masks_are_those_of_torch(amount, units):
    model = small_residual()
    sparse, _ = sparsify(model, Sparsification(sparsity=amount, granularity="weight"), units=units)
    for name in CONVOLUTIONS:
        layer = copy.deepcopy(model.get_submodule(name))
        reference.l1_unstructured(layer, "weight", amount)
        assert torch.equal(sparse.get_submodule(name).weight, layer.weight)


def test_global_weight_masks_are_those_of_torch_where_all_layers_have_the_same_scale():
    model = small_residual()
    layers = [model.get_submodule(name) for name in CONVOLUTIONS]
    with torch.no_grad():
        for layer in layers:
            layer.weight /= layer.weight.square().mean().sqrt()
    settings = Sparsification(sparsity=0.35, granularity="weight", scope="global")
    sparse, _ = sparsify(model, settings)
    reference.global_unstructured(
        [(layer, "weight") for layer in layers], reference.L1Unstructured, amount=0.35
    )
    for name, layer in zip(CONVOLUTIONS, layers, strict=True):
        assert torch.equal(sparse.get_submodule(name).weight == 0, layer.weight_mask == 0)


@pytest.mark.parametrize(("criterion", "norm"), [("large_final", 1), ("squared_final", 2)])
def test_filter_masks_are_those_of_torch_where_a_unit_is_one_filter(criterion, norm, units):
    model = small_residual()
    settings = Sparsification(sparsity=0.5, criterion=criterion)
    sparse, _ = sparsify(model, settings, units=units)
    layer = copy.deepcopy(model.last)
    reference.ln_structured(layer, "weight", 0.5, norm, dim=0)
    assert torch.equal(sparse.last.weight, layer.weight)
    dead = (layer.weight_mask == 0).all(3).all(2).all(1)
    assert dead.sum() == 6
    for vector in (sparse.last.bias, sparse.last_norm.weight, sparse.last_norm.bias):
        assert torch.equal(vector == 0, dead)


def test_a_coupled_unit_is_scored_by_all_its_layers_alike(units):
    model = small_residual()
    sparse, _ = sparsify(model, Sparsification(sparsity=0.5), units=units)
    rows = [model.get_submodule(n).weight.abs().flatten(1).mean(1) for n in CONVOLUTIONS[:3]]
    expected = torch.stack(rows).mean(0).argsort()[:4].sort().values
    for name in (*CONVOLUTIONS[:3], "stem_norm", "block_norm"):
        weight = sparse.get_submodule(name).weight.reshape(8, -1)
        assert torch.equal((weight == 0).all(1).nonzero().flatten(), expected)


def test_taylor_ranks_by_weight_times_gradient_summed_over_passes():
    model = small_residual()
    sparsifier = Sparsifier(model, settings_for("taylor", sparsity=0.5))
    expected = torch.zeros_like(model.block.weight)
    for shift in (0, 1):
        model.zero_grad()
        nn.functional.cross_entropy(model(IMAGES + shift), LABELS).backward()
        expected += (model.block.weight * model.block.weight.grad).abs()
        sparsifier.after_backward()
    sparsifier.update(1.0)
    dropped = ~sparsifier.masks["block.weight"]
    assert expected[dropped].max() < expected[~dropped].min()


@pytest.mark.parametrize(
    ("layer", "shape", "source"),
    [
        (nn.Linear(6, 4), (5, 6), lambda first, second: second),
        (nn.Linear(6, 4), (3, 5, 6), lambda first, second: second),
        (nn.Conv2d(6, 4, 1), (5, 6, 3, 3), lambda first, second: second),
        (nn.Conv2d(6, 4, 1, groups=2), (5, 6, 3, 3), lambda out, j: 3 * (out // 2) + j),
        (nn.ConvTranspose1d(6, 4, 1, groups=2), (5, 6, 3), lambda first, second: first),
    ],
    ids=["linear", "tokens", "convolution", "grouped", "transposed"],
)
def test_wanda_ranks_by_weight_times_the_norm_of_its_input(layer, shape, source):
    torch.manual_seed(0)
    axis = len(shape) - 1 if isinstance(layer, nn.Linear) else 1
    inputs = (torch.randn(shape).movedim(axis, -1) * torch.rand(6) * 10).movedim(-1, axis)
    settings = settings_for(
        "wanda", sparsity=0.5, linear_sparsity=0.5, linear_granularity="weight"
    )
    sparse, _ = sparsify(nn.Sequential(layer), settings, example=inputs)
    norms = inputs.movedim(axis, -1).flatten(0, -2).norm(dim=0)
    expected = layer.weight.detach().abs().clone()
    for first, second in itertools.product(*map(range, expected.shape[:2])):
        expected[first, second] *= norms[source(first, second)]
    dropped = sparse[0].weight == 0
    assert dropped.sum() == expected.numel() // 2
    assert expected[dropped].max() < expected[~dropped].min()


def test_wanda_does_not_see_validation():
    model = small_residual()
    with Sparsifier(model, settings_for("wanda", sparsity=0.5)) as sparsifier:
        with torch.no_grad():
            model(IMAGES)
        with pytest.raises(UsageError, match="still waiting for inputs"):
            sparsifier.update(1.0)
        model(IMAGES)
        sparsifier.update(1.0)
    assert sparsifier.overall_sparsity("convolution") == pytest.approx(0.5, abs=0.01)


def test_random_masks_follow_the_seed():
    settings = settings_for("random", sparsity=0.5)
    masks = [sparsify(small_residual(), settings, seed=s)[0].block.weight == 0 for s in (1, 1, 2)]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_updating_movement_compares_with_the_last_update():
    model = nn.Sequential(nn.Linear(4, 1))
    settings = Sparsification(
        linear_sparsity=0.5,
        linear_granularity="weight",
        criterion="updating_movement",
        schedule="linear",
    )
    sparsifier = Sparsifier(model, settings)
    weight = model[0].weight.data
    weight.copy_(torch.tensor([[1.0, 1.0, 1.0, 1.0]]))
    sparsifier.apply()
    sparsifier.update(0.0)
    for progress, move, dead in (
        (0.5, [9.0, 1.0, 8.0, 7.0], [1]),
        (1.0, [1.0, 9.0, 8.0, 2.0], [0, 1]),
    ):
        weight += torch.tensor([move])
        sparsifier.apply()
        sparsifier.update(progress)
        assert (weight[0] == 0).nonzero().flatten().tolist() == dead


# ---- units


@pytest.mark.parametrize("scope", SCOPES)
def test_a_zeroed_unit_is_exactly_zero_wherever_it_is_read(scope, units):
    settings = Sparsification(sparsity=0.5, linear_sparsity=0.5, scope=scope)
    sparse, _ = sparsify(small_residual(), settings, units=units)
    sparse.train()  # batch norms normalise by the batch: zeros must survive that too
    seen = {}
    for name in ("stem_norm", "block_norm", "depthwise", "last_norm", "hidden"):
        sparse.get_submodule(name).register_forward_hook(
            lambda _m, _i, out, name=name: seen.update({name: out.transpose(0, 1).flatten(1)})
        )
    sparse(IMAGES)
    dead = (sparse.stem.weight == 0).flatten(1).all(1)
    assert dead.any()
    for name in ("stem_norm", "block_norm", "depthwise"):
        assert not seen[name][dead].any()
    for name, weight in (("last_norm", sparse.last.weight), ("hidden", sparse.hidden.weight)):
        gone = (weight == 0).flatten(1).all(1)
        assert gone.any()
        assert not seen[name][gone].any()
    assert sparse.stem_norm.running_var.any()


def test_units_that_cannot_be_removed_are_left_and_named():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(4, 6, 3), nn.Conv2d(6, 6, 3)
            self.head = nn.Linear(6, 5)

        def forward(self, x):
            x = torch.relu(self.second(torch.sigmoid(self.first(x))))
            return self.head(x.mean((2, 3)))

    model = Gated()
    units = find_units(model, IMAGES)
    sparsifier = Sparsifier(model, Sparsification(sparsity=0.5), units)
    sparsifier.update(1.0)
    assert "first" in sparsifier.skipped
    assert not (model.first.weight == 0).any()
    assert (model.second.weight == 0).flatten(1).all(1).sum() == 3


# ---- options


def test_layers_are_kept_out_by_pattern(units):
    model = small_residual()
    for exclude, granularity in ((("st?m",), "weight"), (("stem",), "filter")):
        settings = Sparsification(sparsity=0.5, granularity=granularity, exclude=exclude)
        sparsifier = Sparsifier(model, settings, units)
        sparsifier.update(1.0)
        assert "stem" in sparsifier.skipped
        assert not (model.stem.weight == 0).any()
        assert (model.last.weight == 0).any()


def test_a_module_s_name_keeps_out_all_layers_inside():
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)), nn.Linear(4, 4))
    settings = Sparsification(
        sparsity=0.0, linear_sparsity=0.5, linear_granularity="weight", exclude=("0",)
    )
    sparse, _ = sparsify(model, settings)
    assert [(m.weight == 0).sum().item() for m in (sparse[0][0], sparse[0][1], sparse[1])] == [
        0,
        0,
        8,
    ]


def test_each_third_of_the_network_has_its_own_sparsity():
    model = nn.Sequential(*[nn.Conv2d(4, 4, 3) for _ in range(6)])
    for scope in SCOPES:
        settings = Sparsification(sparsity=(0.0, 0.25, 0.75), granularity="kernel", scope=scope)
        sparse, _ = sparsify(model, settings)
        reached = [(layer.weight == 0).double().mean().item() for layer in sparse]
        assert reached[:2] == [0, 0]
        assert sum(reached[2:4]) == pytest.approx(0.5)
        assert sum(reached[4:]) == pytest.approx(1.5)


@pytest.mark.parametrize("scope", SCOPES)
def test_each_unit_group_has_its_own_sparsity(scope, units):
    names = [group.name for group in units.removable if group.kind == "convolution"]
    assert names == ["stem", "last"]
    settings = Sparsification(
        sparsity={"stem": 0.25, "last": 0.5}, linear_sparsity={"hidden": 0.75}, scope=scope
    )
    sparse, report = sparsify(small_residual(), settings, units=units)
    assert report.sparsity == {"stem": 0.25, "last": 0.5, "hidden": 0.75}
    assert (sparse.stem.weight == 0).flatten(1).all(1).sum() == 2
    assert (sparse.hidden.weight == 0).all(1).sum() == 12


def test_what_an_allocation_does_not_name_stays_whole(units):
    settings = Sparsification(sparsity={"last": 0.5, "stem": 0.0})
    sparse, report = sparsify(small_residual(), settings, units=units)
    assert report.sparsity == {"last": 0.5}
    assert (sparse.stem.weight != 0).all()


def test_an_allocation_gives_what_one_sparsity_gives(units):
    one, _ = sparsify(small_residual(), Sparsification(sparsity=0.5), units=units)
    settings = Sparsification(sparsity={"stem": 0.5, "last": 0.5})
    other, _ = sparsify(small_residual(), settings, units=units)
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_an_allocation_over_layers_is_for_granularities_of_weights():
    settings = Sparsification(sparsity={"block": 0.5}, granularity="weight")
    _, report = sparsify(small_residual(), settings)
    assert report.sparsity == {"block": 0.5}


def test_an_allocation_that_names_what_is_not_there_is_reported(units):
    settings = Sparsification(sparsity={"stm": 0.5, "block": 0.1})
    with pytest.raises(ConfigurationError) as caught:
        Sparsifier(small_residual(), settings, units)
    assert len(caught.value.problems) == 2
    assert "no convolution group is called 'stm' (did you mean 'stem'?)" in str(caught.value)
    assert "there are: stem, last" in str(caught.value)


def test_sparsities_of_an_allocation_are_fractions():
    with pytest.raises(ConfigurationError, match="sparsity"):
        Sparsification(sparsity={"stem": 1.5})


def test_zeros_are_held_without_a_training_framework():
    model = small_residual()
    with torch.no_grad():
        model.block.weight[:, :5] = 0
        model.stem.bias[0] = 0
    zeros = hold_zeros(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(IMAGES), LABELS).backward()
        optimizer.step()
        zeros.apply()
    assert not model.block.weight[:, :5].any()
    assert model.block.weight[:, 5:].all()
    assert model.stem.bias[0] != 0


def test_whole_layers_go_and_one_is_left():
    model = nn.Sequential(*[nn.Conv2d(4, 4, 3) for _ in range(4)])
    for sparsity, expected in ((0.5, 2), (1.0, 3)):
        sparse, _ = sparsify(model, Sparsification(sparsity=sparsity, granularity="layer"))
        assert sum(not layer.weight.any() for layer in sparse) == expected


def test_two_of_four_zeroes_one_half_at_most():
    model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 4))
    settings = Sparsification(sparsity=0.0, linear_sparsity=0.9, linear_granularity="two_of_four")
    sparsifier = Sparsifier(model, settings)
    sparsifier.update(1.0)
    assert ((model[0].weight == 0).view(6, 2, 4).sum(2) == 2).all()
    assert "multiple of 4" in sparsifier.skipped["1"]


def test_a_joint_attention_projection_is_sparsified():
    model = nn.Sequential(nn.MultiheadAttention(8, 2))
    settings = Sparsification(sparsity=0.0, linear_sparsity=0.5, linear_granularity="weight")
    sparse, _ = sparsify(model, settings)
    assert (sparse[0].in_proj_weight == 0).sum() == 96


def test_weights_are_rewound_to_their_state_at_a_point_of_training(units):
    model = small_residual()
    seen = {}

    def remember(sparsifier):
        seen.setdefault(len(seen), copy.deepcopy(model.state_dict()))

    settings = Sparsification(sparsity=0.5, end=0.5, rewind=0.0, granularity="weight")
    train(model, Sparsifier(model, settings, units), steps=4, on_update=remember)
    first, at_end = seen[0], seen[2]
    assert (at_end["block.weight"] == 0).double().mean() == pytest.approx(0.5, abs=0.01)
    for name, value in at_end.items():
        kept = value != 0
        assert torch.equal(value[kept], first[name][kept])
    assert not torch.equal(seen[3]["head.weight"], first["head.weight"])  # and training goes on


def test_weights_are_rewound_to_a_given_state(units):
    model = small_residual()
    original = copy.deepcopy(model.state_dict())
    sparsifier = Sparsifier(model, Sparsification(sparsity=0.5), units)
    train(model, sparsifier, steps=2)
    sparsifier.rewind(original)
    kept = sparsifier.masks["last.weight"]
    assert torch.equal(model.last.weight, original["last.weight"] * kept)


# ---- wrong input


def test_all_problems_of_the_settings_are_reported_at_once():
    with pytest.raises(ConfigurationError) as caught:
        Sparsification(
            sparsity=1.5,
            linear_sparsity=(0.1, 0.2),
            granularity="filtr",
            scope="globl",
            criterion="large_finale",
            schedule="agpp",
            start=0.8,
            end=0.4,
            exclude=["a"],
        )
    told = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 8
    for hint in (
        "'filter'",
        "'large_final'",
        "'agp'",
        "[0, 1]",
        "three",
        "local, global",
        "at most end",
    ):
        assert hint in told


def test_rewinding_needs_training_after_the_end():
    with pytest.raises(ConfigurationError, match="end < 1"):
        Sparsification(rewind=0.0)


def test_a_pattern_that_matches_nothing_is_reported():
    with pytest.raises(ConfigurationError, match="did you mean 'stem'"):
        Sparsifier(small_residual(), Sparsification(granularity="weight", exclude=("stm",)))


@pytest.mark.parametrize(
    "settings",
    [
        Sparsification(sparsity=0.5),
        Sparsification(sparsity=0.5, criterion="batch_norm_scale", granularity="weight"),
        Sparsification(sparsity=0.5, granularity="weight", exclude=("*",)),
    ],
    ids=["no units", "units only", "all kept out"],
)
def test_nothing_to_sparsify_is_reported_with_reasons(settings):
    with pytest.raises(ConfigurationError, match="nothing to sparsify in SmallResidual") as caught:
        Sparsifier(small_residual(), settings)
    assert "4 convolution layers and 0 groups of convolution units" in str(caught.value)


def test_units_without_batch_norm_have_no_batch_norm_scale():
    model = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3))
    with pytest.raises(ConfigurationError, match="nothing that batch_norm_scale can score"):
        Sparsifier(model, Sparsification(criterion="batch_norm_scale"), find_units(model, IMAGES))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("granularity", ["weight", "filter"])
def test_weights_that_are_not_finite_are_reported(value, granularity, units):
    model = small_residual()
    model.block.weight.data[0, 0, 0, 0] = value
    sparsifier = Sparsifier(model, Sparsification(granularity=granularity), units)
    with pytest.raises(UsageError, match=r"block\.weight.*not finite"):
        sparsifier.update(1.0)


@pytest.mark.parametrize(
    "name", sorted({"taylor", "wanda", *(n for n in CRITERIA if measures_change(CRITERIA[n]))})
)
def test_a_criterion_waits_for_what_it_needs(name):
    model = small_residual()
    sparsifier = Sparsifier(model, settings_for(name, schedule="one_shot"))
    sparsifier.update(0.0)
    assert not sparsifier.masks
    with pytest.raises(UsageError, match=f"{name} is still waiting for"):
        sparsifier.update(1.0)


def test_progress_is_a_fraction():
    sparsifier = Sparsifier(small_residual(), Sparsification(granularity="weight"))
    with pytest.raises(UsageError, match="progress"):
        sparsifier.update(1.1)


def test_a_frozen_layer_has_no_taylor_score():
    model = small_residual()
    model.stem.weight.requires_grad_(False)  # noqa: FBT003
    sparsifier = Sparsifier(model, settings_for("taylor"))
    assert "frozen" in sparsifier.skipped["stem"]
