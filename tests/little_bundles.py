"""A small compressed model with what its bundle says and is checked against."""

from pathlib import Path

import torch
from torch import nn

from autocompress.bundles import Card, Material, ModelSpec, Source, Timing, export_bundle
from autocompress.data import Preprocessing
from autocompress.data.resizing import Step
from autocompress.graph import LowRank, Plan, Remove, rebuild, replace_low_rank
from autocompress.metrics import Estimate
from autocompress.metrics.metric import PARAMETERS
from autocompress.results import EpochRecord
from autocompress.tasks import classification

SPEC = ModelSpec(
    factory="autocompress:vgg_small",
    kwargs={"widths": [6, 8], "hidden": 16},
    num_classes=4,
    channels=1,
)
CLASSES = ("zero", "one", "two", "three")
TASK = classification(4)
ACCURACY = TASK.score
CARD = Card(
    name="digits, trial 3",
    task="classification",
    classes=CLASSES,
    preprocessing=Preprocessing(
        image_size=8, steps=(Step("stretch", 8),), mean=(0.3,), std=(0.25,)
    ),
    recipe={
        "sparsification": {"sparsity": 0.4, "granularity": "filter", "exclude": []},
        "pruning": None,
        "fold": True,
    },
    metrics=(ACCURACY, PARAMETERS),
    baseline={"accuracy": Estimate(value=0.9, n=30), "parameters": Estimate(value=2000)},
    model={
        "accuracy": Estimate(value=0.89, low=0.8, high=0.95, n=30),
        "parameters": Estimate(value=1000),
    },
    sizes={"train": 100, "valid": 30, "test": 40},
    curve=[
        EpochRecord(stage="train", epoch=n, train_loss=1.0, valid_loss=1.0, score=0.7 + 0.05 * n)
        for n in (1, 2, 3)
    ],
)
CUT = {("classifier.0.weight", 0): (1, 2), ("classifier.0.bias", 0): (1, 2)}
PLAN = Plan(
    (
        Remove({**CUT, ("classifier.3.weight", 1): (1, 2)}),
        LowRank("classifier.3", "linear", 3),
    )
)


def compressed() -> nn.Module:
    """A vgg_small with pruned units, a factorized layer and running statistics of its own."""
    torch.manual_seed(0)
    model = SPEC.build()
    model(torch.randn(16, 1, 8, 8))
    rebuild(model, Plan(PLAN.steps[:1]))
    factors = torch.randn(3, 14), torch.randn(16, 3)
    replace_low_rank(model, PLAN.steps[1], factors)
    model.eval()
    with torch.no_grad():  # every class is some image's: outputs of mean 0 and deviation 1
        outputs = model(torch.randn(100, 1, 8, 8))
        head = model.classifier[6]
        head.bias.sub_(outputs.mean(0)).div_(outputs.std(0))
        head.weight.div_(outputs.std(0).unsqueeze(1))
    return model


def labelled(model: nn.Module, count: int = 3):
    """Batches of ten images, clear ones, with the model's labels but for each fifth image."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        images = torch.randn(40, 1, 8, 8, generator=generator)
        with torch.no_grad():
            outputs = model(images)
        first, second = outputs.topk(2).values.T
        clear = (first - second).topk(10).indices
        images, labels = images[clear], outputs[clear].argmax(1)
        labels[::5] = (labels[::5] + 1) % 4
        yield images, labels


def material(model: nn.Module, **changes) -> Material:
    torch.manual_seed(7)
    given = {
        "validation": labelled(model),
        "task": TASK,
        "calibration": [images for images, _ in labelled(model, 4)],
        "baseline": SPEC.build().eval(),
        "timing": Timing(budget_s=0.05),
    }
    return Material(**{**given, **changes})


def export(folder: Path, model: nn.Module | None = None, *, spec=SPEC, plan=PLAN, **options):
    """Export ``model`` (by default ``compressed()``) with everything above."""
    model = compressed() if model is None else model
    given = {"card": CARD, "material": material(model), **options}
    return export_bundle(Source(model=model, plan=plan, spec=spec), folder, **given)
