"""The model card: what a bundle's README says."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from autocompress.bundles.card_texts import (
    ARRAY,
    CHECKED,
    LOAD,
    LOAD_ALLOWED,
    NO_FACTORY,
    PICTURE,
    PRECISIONS,
    RUNTIMES,
    STAGES,
)
from autocompress.bundles.charts import CURVE, LAYERS
from autocompress.bundles.checks import MOST_LOST, TOLERANCE, Times
from autocompress.bundles.contents import (
    CLASSIFICATION,
    LABELS,
    PREPROCESS,
    RECIPE,
    Card,
    ModelSpec,
)
from autocompress.bundles.loading import WEIGHTS, Index
from autocompress.metrics import Metric
from autocompress.metrics.formatting import (
    UNKNOWN,
    format_change,
    format_interval,
    format_value,
    percent,
)
from autocompress.metrics.metric import LATENCY, PARAMETERS
from autocompress.recipe_text import recipe_in_short
from autocompress.results import LayerChange
from autocompress.trust import references

NAMED = 12  # classes listed by name


def model_card(
    card: Card, index: Index, layers: Sequence[LayerChange], files: Sequence[str]
) -> str:
    """Return the README of a bundle.

    Args:
        card: what it says.
        index: of the bundle: checks, files that failed, versions, how latency was measured.
        layers: before and after; empty: not known.
        files: names of the files of the bundle.
    """
    sections = [
        f"# {card.name}\n",
        *_introduction(card, index),
        *_numbers(card),
        *_what_was_done(card),
        *([f"![Score after each epoch]({CURVE})\n"] if CURVE in files else []),
        *_layers(layers, files),
        *_usage(card, index, files),
        *_checked(card, index),
        *_files(files),
    ]
    return "\n".join(sections)


def _introduction(card: Card, index: Index) -> Iterator[str]:
    what = "A network" if card.task is None else f"A network for {card.task}"
    if card.classes:
        names = ", ".join(card.labels[:NAMED]) + (", …" if len(card.labels) > NAMED else "")
        what += f" with {len(card.classes)} classes ({names})"
    source = "" if index.model is None else f" from `{index.model.factory}`"
    yield f"{what}, compressed by autocompress{source}.\n"


def _numbers(card: Card) -> Iterator[str]:
    rows = [
        (_title(metric, card), *_beside(metric, card))
        for metric in card.metrics
        if metric.name in card.model
    ]
    if not rows:
        return
    yield "## Numbers\n"
    yield from _table(("", "baseline", "this model", "change"), rows)
    if card.origin is not None:
        facts = ", ".join(f"{name} {value}" for name, value in card.origin.machine.items())
        found = card.baseline.get(LATENCY.name)
        calls = "" if found is None else f", the baseline over n = {found.n} calls"
        yield f"Measured by the study{calls}, on: {facts}.\n"


def _title(metric: Metric, card: Card) -> str:
    """Return the title of a row, with the number of items that a score rests on."""
    n = card.model[metric.name].n
    items = n is not None and metric.name != LATENCY.name
    return f"{metric.title}, {n:,} items" if items else metric.title


def _beside(metric: Metric, card: Card) -> tuple[str, str, str]:
    model, baseline = card.model[metric.name], card.baseline.get(metric.name)
    return (
        format_value(metric, baseline),
        format_interval(metric, model),
        format_change(metric, model, baseline),
    )


def _what_was_done(card: Card) -> Iterator[str]:
    done = [name for name in [*STAGES, *_own_stages(card)] if card.recipe.get(name)]
    if not done:
        return
    yield "## What was done\n"
    yield f"{recipe_in_short(card.recipe)}. Step by step:\n"
    for name in done:
        meaning = f": {STAGES[name]}" if name in STAGES else ""
        yield f"- **{name}**{meaning}{_settings(card.recipe[name])}"
    precision = str(card.recipe.get("precision"))
    if precision in PRECISIONS:
        yield f"- **{precision}**: {PRECISIONS[precision]}."
    yield ""


def _own_stages(card: Card) -> Iterator[str]:
    """Yield the stages that a user added: tables of the recipe that are none of ours."""
    for name, settings in card.recipe.items():
        if name not in STAGES and isinstance(settings, Mapping):
            yield name


def _settings(stage: Any) -> str:
    if not isinstance(stage, Mapping):
        return "."
    known = {key: value for key, value in stage.items() if value not in (None, [], ())}
    return ": " + ", ".join(f"{key} {_short(value)}" for key, value in known.items()) + "."


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _layers(layers: Sequence[LayerChange], files: Sequence[str]) -> Iterator[str]:
    if not layers:
        return
    yield "## Layers\n"
    if LAYERS in files:
        yield f"![Parameters of each layer before and after]({LAYERS})\n"
    rows = [
        (
            f"`{layer.name}`",
            layer.type,
            _shape(layer.before),
            " + ".join(_shape(shape) for shape in layer.after) or "removed",
            UNKNOWN if layer.rank is None else str(layer.rank),
            format_value(PARAMETERS, layer.parameters_after),
            format_change(PARAMETERS, layer.parameters_after, layer.parameters_before),
        )
        for layer in layers
    ]
    heads = ("layer", "type", "before", "after", "rank", "parameters", "of baseline")
    yield from _table(heads, rows)


def _shape(sizes: Sequence[int]) -> str:
    return "x".join(str(size) for size in sizes)


def _usage(card: Card, index: Index, files: Sequence[str]) -> Iterator[str]:
    yield "## Use it\n"
    if "infer.py" in files:
        yield _script(card, files)
    for file, text in RUNTIMES.items():
        if file in files:
            yield text.format(file=file, inputs=_inputs(card))
    if WEIGHTS in files:
        yield _loading(index.model)
    yield from _pictures(card)


def _script(card: Card, files: Sequence[str]) -> str:
    if PREPROCESS not in files:
        return ARRAY.format(inputs=_inputs(card))
    more = "" if LABELS in files else " --output outputs.npy   (the model's raw outputs)"
    return PICTURE.format(more=more)


def _inputs(card: Card) -> str:
    if card.preprocessing is None:
        return "float32 [n, ...], as in `golden.safetensors`"
    size, channels = card.preprocessing.image_size, len(card.preprocessing.mean)
    return f"float32 [n, {channels}, {size}, {size}], prepared as below"


def _pictures(card: Card) -> Iterator[str]:
    preprocessing = card.preprocessing
    if preprocessing is None:
        return
    channels, size = len(preprocessing.mean), preprocessing.image_size
    steps = ", ".join(f"{step.operation} to {step.side}" for step in preprocessing.steps)
    outputs = f" Outputs are logits in the order of `{LABELS}`." if card.classes else ""
    yield "## Pictures\n"
    yield (
        f"{size} x {size} pixels, {channels} channel(s). Any picture: {steps}; then "
        f"`(pixels / 255 - mean) / std` with mean {_rounded(preprocessing.mean)} and std "
        f"{_rounded(preprocessing.std)} (exactly: `{PREPROCESS}`)."
        f"{outputs if card.task == CLASSIFICATION else ''}\n"
    )


def _checked(card: Card, index: Index) -> Iterator[str]:
    yield CHECKED.format(**index.latency.to_dict(), tolerance=TOLERANCE, points=100 * MOST_LOST)
    scores = [m for m in card.metrics if any(m.name in c.scores for c in index.checks.values())]
    rows = [
        (
            f"`{name}`",
            f"{check.difference:.1e}",
            *(format_value(metric, check.scores.get(metric.name)) for metric in scores),
            f"{check.items:,}",
            percent(check.agreement),
            _timing(check.latency),
            _timing(check.baseline_latency),
        )
        for name, check in index.checks.items()
    ]
    titles = [metric.title for metric in scores]
    heads = ("file", "difference", *titles, "items", "agreement", "latency", "baseline")
    yield from _table(heads, rows)
    if any(check.agreement is not None for check in index.checks.values()):
        yield "Agreement: how often a file is right or wrong as the model is.\n"
    for name, reason in index.rejected.items():
        yield f"Rejected, and moved to `rejected/`: {name}. {reason}\n"
    for reason in index.unwritten.values():
        yield f"Missing: {reason}\n"
    yield "Made with " + ", ".join(f"{k} {v}" for k, v in index.versions.items()) + ".\n"


def _timing(times: Times | None) -> str:
    if times is None:
        return UNKNOWN
    low, mid, high = (
        format_value(LATENCY, value) for value in (times.p10_ms, times.p50_ms, times.p90_ms)
    )
    flag = ", not quiet" if times.flag else ""
    return f"{mid} ({low} to {high}, n = {times.n}{flag})"


def _files(files: Sequence[str]) -> Iterator[str]:
    yield "## Files\n"
    recipe = f"`{RECIPE}` is what was done to it; " if RECIPE in files else ""
    yield (
        f"`{WEIGHTS}` + `plan.json` rebuild the model without pickle; {recipe}"
        "`golden.safetensors` holds inputs and the outputs they must give; `metrics.json` has all "
        "numbers; `bundle.json` has the sha256 of every file.\n"
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


def _rounded(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _loading(spec: ModelSpec | None) -> str:
    """Say how the bundle becomes a module again."""
    if spec is None:
        return NO_FACTORY
    if not references(spec.factory):
        return LOAD
    return LOAD_ALLOWED.format(factory=spec.factory, package=spec.factory.partition(":")[0])
