import math

import numpy as np
import pytest
import scipy.special
import torch
from torch import nn

from autocompress.errors import ConfigurationError, UsageError
from autocompress.registry import declare
from autocompress.techniques.distillation import Distillation, Distiller
from autocompress.techniques.distillation_losses import (
    DISTILLATION_LOSSES,
    compares_features,
    has_projection,
    has_temperature,
)
from autocompress.techniques.features import as_maps, choose_pairs
from autocompress.testing.techniques import check_loss

FEATURE_LOSSES = [n for n, loss in DISTILLATION_LOSSES.items() if compares_features(loss)]

IMAGES = torch.randn(6, 3, 16, 16, generator=torch.manual_seed(1))
LABELS = torch.arange(6) % 4


class Net(nn.Module):
    """Two stages of convolutions, then a linear layer."""

    def __init__(self, width, classes=4):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width))
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU(inplace=True)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout()
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x):
        x = self.pool(self.second(self.relu(self.first(x)))).flatten(1)
        return self.head(self.dropout(x))


class Tokens(nn.Module):
    """Patches with a class token: an architecture without feature maps of its own."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 10, 4, stride=4)
        self.mix = nn.Linear(10, 10)
        self.head = nn.Linear(10, 4)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.mix(torch.cat([x[:, :1], x], 1)).mean(1))


@pytest.fixture
def student():
    torch.manual_seed(2)
    return Net(5)


@pytest.fixture
def teacher():
    torch.manual_seed(3)
    return Net(8)


# ---- the losses, in float64, against NumPy and SciPy


def maps(channels, side=4, seed=0):
    return torch.randn(
        6, channels, side, side, generator=torch.manual_seed(seed), dtype=torch.float64
    )


def test_soft_target_is_the_divergence_of_softened_classes():
    ours, theirs = maps(7)[:, :, 0, 0], maps(7, seed=1)[:, :, 0, 0]
    s, t = (scipy.special.softmax(x.numpy() / 3.0, axis=1) for x in (ours, theirs))
    expected = 9.0 * scipy.special.rel_entr(t, s).sum(1).mean()
    assert DISTILLATION_LOSSES["soft_target"](ours, theirs, 3.0).item() == pytest.approx(
        expected, 1e-12
    )


def test_soft_target_has_the_gradient_of_the_paper():
    """At a high temperature it tends to (s - t) / classes, for centred logits (section 2.1)."""
    ours, theirs = (maps(7, seed=n)[:, :, 0, 0] for n in (0, 1))
    ours, theirs = ours - ours.mean(1, keepdim=True), theirs - theirs.mean(1, keepdim=True)
    ours.requires_grad_()
    DISTILLATION_LOSSES["soft_target"](ours, theirs, 1e4).backward()
    torch.testing.assert_close(ours.grad * 6, (ours.detach() - theirs) / 7, rtol=1e-3, atol=1e-5)


def test_logits_is_the_mean_squared_error():
    ours, theirs = maps(7)[:, :, 0, 0], maps(7, seed=1)[:, :, 0, 0]
    expected = ((ours - theirs).numpy() ** 2).mean()
    assert DISTILLATION_LOSSES["logits"](ours, theirs).item() == pytest.approx(expected, 1e-12)


def test_attention_transfer_compares_where_energy_is():
    ours, theirs = maps(3), maps(9, seed=1)

    def attention(x):
        a = (x.numpy() ** 2).sum(1).reshape(6, -1)
        return a / np.linalg.norm(a, axis=1, keepdims=True)

    expected = (np.linalg.norm(attention(ours) - attention(theirs), axis=1) ** 2).mean()
    found = DISTILLATION_LOSSES["attention_transfer"](ours, theirs).item()
    assert found == pytest.approx(expected, 1e-12)


def test_feature_is_the_mean_squared_error_of_projected_maps():
    ours, theirs = maps(3), maps(3, seed=1)
    expected = ((ours - theirs).numpy() ** 2).mean()
    assert DISTILLATION_LOSSES["feature"](ours, theirs).item() == pytest.approx(expected, 1e-12)


def test_similarity_preserving_compares_normalised_gram_matrices():
    ours, theirs = maps(3), maps(9, side=2, seed=1)

    def gram(x):
        flat = x.numpy().reshape(6, -1)
        g = flat @ flat.T
        return g / np.linalg.norm(g, axis=1, keepdims=True)

    expected = np.linalg.norm(gram(ours) - gram(theirs)) ** 2 / 36
    found = DISTILLATION_LOSSES["similarity_preserving"](ours, theirs).item()
    assert found == pytest.approx(expected, 1e-12)


@pytest.mark.parametrize("name", FEATURE_LOSSES)
def test_a_loss_on_features_takes_two_resolutions(name):
    assert math.isfinite(DISTILLATION_LOSSES[name](maps(3, side=8), maps(3, side=5)).item())


@pytest.mark.parametrize("name", DISTILLATION_LOSSES)
def test_a_loss_keeps_its_contract(name):
    check_loss(DISTILLATION_LOSSES[name])


def test_what_is_special_about_a_loss_is_declared_beside_it():
    assert FEATURE_LOSSES == ["attention_transfer", "feature", "similarity_preserving"]
    assert [n for n, loss in DISTILLATION_LOSSES.items() if has_projection(loss)] == ["feature"]
    assert [n for n, loss in DISTILLATION_LOSSES.items() if has_temperature(loss)] == [
        "soft_target"
    ]


def test_new_losses_need_no_entry_anywhere_else():
    def huber(student, teacher):
        """Match outputs, but for outliers."""
        return nn.functional.huber_loss(student, teacher)

    @declare(compares="features", projects=True)
    def projected_l1(student, teacher):
        """Match projected features by their absolute difference."""
        size = [min(a, b) for a, b in zip(student.shape[2:], teacher.shape[2:], strict=True)]
        pool = nn.AdaptiveAvgPool2d(size)
        return nn.functional.l1_loss(pool(student), pool(teacher))

    for loss in (huber, projected_l1):
        check_loss(loss)
        assert loss.__name__ not in DISTILLATION_LOSSES


def test_a_loss_that_no_student_can_learn_by_is_reported():
    def constant(student, teacher):
        """Tell nothing."""
        return 0 * student.sum() + float(student is not teacher)

    with pytest.raises(AssertionError, match="cannot learn by it"):
        check_loss(constant)


def test_what_is_imitated_can_be_chosen(student, teacher):
    class Two(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return {"noise": torch.zeros(3), "classes": self.net(x)}

    settings = Distillation("logits", weight=1.0)
    found = []
    for pair, outputs in (
        ((student, teacher), None),
        ((Two(student), Two(teacher)), lambda out: out["classes"]),
    ):
        pair[0].eval()
        distiller = Distiller(*pair, settings, IMAGES, outputs=outputs)
        with distiller, torch.no_grad():
            found.append(distiller.loss(torch.zeros(()), pair[0](IMAGES), IMAGES).item())
    assert found[0] == found[1] > 0


# ---- the distiller, with every loss


@pytest.mark.parametrize("name", DISTILLATION_LOSSES)
def test_gradients_reach_the_student_only(name, student, teacher):
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    with Distiller(student, teacher, Distillation(loss=name, weight=1.0), IMAGES) as distiller:
        output = student(IMAGES)
        distiller.loss(nn.functional.cross_entropy(output, LABELS), output, IMAGES).backward()
        assert not any(module.training for module in teacher.modules())
        projected = list(distiller.parameters())
    assert student.first[0].weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())
    assert bool(projected) == (name == "feature")
    assert all(parameter.grad.abs().sum() > 0 for parameter in projected)


@pytest.mark.parametrize("name", DISTILLATION_LOSSES)
def test_training_follows_the_teacher(name, student, teacher):
    losses = []
    with Distiller(student, teacher, Distillation(loss=name, weight=1.0), IMAGES) as distiller:
        learned = [*student.parameters(), *distiller.parameters()]
        optimizer = torch.optim.Adam(learned, lr=0.01)
        for _ in range(30):
            optimizer.zero_grad()
            output = student(IMAGES)
            loss = distiller.loss(output.sum(), output, IMAGES)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", DISTILLATION_LOSSES)
def test_hooks_are_gone_and_modes_are_back_after_with(name, student, teacher):
    teacher.train()
    teacher.first.eval()
    modes = [module.training for module in teacher.modules()]
    distiller = Distiller(student, teacher, Distillation(loss=name), IMAGES)
    assert [module.training for module in teacher.modules()] == modes
    with pytest.raises(RuntimeError, match="mine"), distiller:
        raise RuntimeError("mine")
    assert [module.training for module in teacher.modules()] == modes
    assert not any(m._forward_hooks for n in (student, teacher) for m in n.modules())
    with pytest.raises(UsageError, match="inside `with`"):
        distiller.loss(torch.zeros(()), student(IMAGES), IMAGES)


@pytest.mark.parametrize("name", DISTILLATION_LOSSES)
def test_building_a_distiller_changes_no_network(name, student, teacher):
    before = {key: value.clone() for key, value in student.state_dict().items()}
    first = Distiller(student, teacher, Distillation(loss=name), IMAGES)
    second = Distiller(student, teacher, Distillation(loss=name), IMAGES)
    assert all(torch.equal(before[key], value) for key, value in student.state_dict().items())
    assert student.training
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert all(torch.equal(a, b) and a is not b for a, b in pairs)


def test_the_losses_are_mixed_by_weight(student, teacher):
    task = torch.tensor(2.0)
    student.eval()
    found = []
    for weight in (0.0, 0.25, 1.0):
        settings = Distillation("logits", weight=weight)
        with Distiller(student, teacher, settings, IMAGES) as distiller, torch.no_grad():
            found.append(distiller.loss(task, student(IMAGES), IMAGES).item())
    assert found[0] == 2.0
    assert found[1] == pytest.approx(0.75 * 2.0 + 0.25 * found[2])


@pytest.mark.parametrize("name", FEATURE_LOSSES)
@pytest.mark.parametrize(
    "other", [Tokens, lambda: nn.Sequential(Net(3))], ids=["tokens", "nested"]
)
def test_the_teacher_may_be_another_architecture(name, other, student):
    with Distiller(student, other(), Distillation(loss=name, weight=1.0), IMAGES) as distiller:
        output = student(IMAGES)
        loss = distiller.loss(output.sum(), output, IMAGES)
    assert math.isfinite(loss.item())


# ---- layer pairs


def test_layers_are_paired_by_resolution_last_module_first(student, teacher):
    assert choose_pairs(student, teacher, (), IMAGES) == (("relu", "relu"), ("second", "second"))


def test_without_a_shared_resolution_the_last_maps_are_compared(student):
    assert choose_pairs(student, Tokens(), (), IMAGES) == (("second", "mix"),)


def test_a_module_that_runs_twice_is_never_chosen():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.relu = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()

        def forward(self, x):
            return self.relu(self.conv(self.relu(x))).mean((2, 3))

    assert choose_pairs(Twice(), Twice(), (), IMAGES) == (("conv", "conv"),)


def test_named_layers_are_compared(student, teacher):
    settings = Distillation("attention_transfer", layers=(("first", "second"),))
    distiller = Distiller(student, teacher, settings, IMAGES)
    assert distiller.pairs == (("first", "second"),)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((2, 5, 4, 4), (2, 5, 4, 4)),
        ((2, 4, 4, 5), (2, 5, 4, 4)),
        ((2, 16, 5), (2, 5, 4, 4)),
        ((2, 17, 5), (2, 5, 4, 4)),
        ((2, 5), (2, 5, 1, 1)),
        ((2, 15, 5), None),
        ((5,), None),
    ],
)
def test_outputs_of_any_network_become_maps(shape, expected):
    found = as_maps(torch.zeros(shape))
    assert (None if found is None else tuple(found.shape)) == expected


# ---- wrong input


def test_all_problems_of_the_settings_are_reported_at_once():
    with pytest.raises(ConfigurationError) as caught:
        Distillation(loss="soft_targets", weight=2, temperature=0, layers=("a",))
    told = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 4
    for hint in ("did you mean 'soft_target'", "[0, 1]", "> 0", "pairs"):
        assert hint in told


@pytest.mark.parametrize(
    ("other", "settings", "message"),
    [
        (Net(4, classes=3), Distillation(), "same classes"),
        (Net(4), Distillation("feature", layers=(("frst", "first"),)), "did you mean 'first'"),
        (Net(4), Distillation("feature", layers=(("first", "no"),)), "teacher Net has no module"),
        (
            nn.Sequential(nn.Flatten(), nn.Linear(768, 4)),
            Distillation("feature"),
            "Sequential has no feature maps",
        ),
    ],
)
def test_a_teacher_that_does_not_fit_is_reported(student, other, settings, message):
    with pytest.raises(ConfigurationError, match=message):
        Distiller(student, other, settings, IMAGES)


def test_a_network_cannot_teach_itself(student):
    with pytest.raises(ConfigurationError, match="teach itself"):
        Distiller(student, student, Distillation(), IMAGES)


def test_a_student_that_has_not_run_is_reported(student, teacher):
    settings = Distillation("feature")
    with (
        Distiller(student, teacher, settings, IMAGES) as distiller,
        pytest.raises(UsageError, match="has not run"),
    ):
        distiller.loss(torch.zeros(()), torch.zeros(6, 4), IMAGES)


@pytest.mark.parametrize("loss", DISTILLATION_LOSSES)
def test_losses_are_computed_in_float32_under_autocast(loss):
    torch.manual_seed(3)
    student, teacher = (nn.Sequential(nn.Conv2d(3, 64, 1), nn.ReLU()) for _ in range(2))
    images, task = 4 * torch.randn(4, 3, 32, 32), torch.zeros(())
    with Distiller(student, teacher, Distillation(loss=loss), images) as distiller:
        plain = distiller.loss(task, student(images), images)
        with torch.autocast("cpu", dtype=torch.float16):
            found = distiller.loss(task, student(images), images)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(plain.item(), rel=0.01)
