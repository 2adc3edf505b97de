"""Making the model of a bundle again, from data and baseline, and comparing every number."""

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from autocompress.bundles.contents import METRICS, ORIGIN, STUDY, Document, Origin
from autocompress.bundles.loading import (
    PLAN,
    WEIGHTS,
    check_files,
    digest_of_weights,
    load,
    read_index,
)
from autocompress.config import load_study
from autocompress.context import Context, prepare
from autocompress.documents import read_json, read_toml, typed
from autocompress.errors import ConfigurationError, RunError, UsageError
from autocompress.events import Message, Progress, ignore
from autocompress.metrics.splits import TEST
from autocompress.pipeline import State, compress
from autocompress.problem import problem_from
from autocompress.recipe import Recipe
from autocompress.results import Estimates
from autocompress.sentences import one_line
from autocompress.targets import differences
from autocompress.trust import require_trust

TRAINABLE = "recover"  # stage after which a model is what another trial starts from


@dataclass(frozen=True, kw_only=True)
class Again:
    """A number of a bundle, and what it is now.

    Attributes:
        of: ``"baseline"`` or ``"model"``.
        metric: its name.
        bundle: what the bundle says.
        again: what it is now; ``None``: it was not measured again.
    """

    of: str
    metric: str
    bundle: float
    again: float | None

    @property
    def drift(self) -> float | None:
        """How far it moved."""
        return None if self.again is None else self.again - self.bundle


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """A bundle whose recipe was run again.

    Attributes:
        bundle: its folder.
        trial: number in its run.
        same_baseline: whether all weights of the baseline are equal to the last bit.
        same_model: the same of the compressed model.
        differences: of hardware and software, in words.
        numbers: of the bundle, and now.
    """

    bundle: Path
    trial: int
    same_baseline: bool
    same_model: bool
    differences: tuple[str, ...]
    numbers: tuple[Again, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        numbers = [{**asdict(number), "drift": number.drift} for number in self.numbers]
        plain = {"bundle": str(self.bundle), "differences": list(self.differences)}
        return {**asdict(self), **plain, "numbers": numbers}


def reproduce(
    bundle: str | Path, progress: Progress = ignore, *, allow: Collection[str] = ()
) -> Reproduction:
    """Run a bundle's recipe again, from the baseline on, and compare the numbers.

    The baseline is made as the study made it: from the weights that it names, or by training with
    the same seed. A trial that started from another one is made from that one's recipe. Nothing
    is written but to a temporary folder.

    Args:
        bundle: folder that ``autocompress export`` wrote from a run.
        progress: receives what happens.
        allow: packages or modules whose functions the study of the bundle may name.

    Raises:
        UsageError: the bundle is missing, was changed, or was not exported from a run.
        UntrustedError: it names functions that this user has neither run nor allowed.
        ConfigurationError: its data or model can't be found here.
        TrialError: a stage of the recipe failed.
    """
    bundle = Path(bundle)
    origin, recipes, stored = recorded(bundle)
    require_trust(origin.study, str(bundle), allow)
    problem = problem_from(load_study(bundle / STUDY))
    with tempfile.TemporaryDirectory() as folder:
        with _threads(origin.baseline_threads):
            context = prepare(problem, Path(folder), progress)
        with closing(context):
            state = _follow(origin, recipes, context, progress)
            tested = any(name.startswith(TEST) for name in stored["model"])
            with _threads(origin.threads[-1]):
                numbers = _numbers(context, state, recipes[-1], tested=tested)
    again = load(bundle, factory=problem.model.structure)
    return Reproduction(
        bundle=bundle,
        trial=origin.trial,
        same_baseline=digest_of_weights(context.baseline) == origin.baseline_sha256,
        same_model=digest_of_weights(state.model) == digest_of_weights(again),
        differences=differences(origin.machine, problem.target.fingerprint()),
        numbers=tuple(
            row for of, again in numbers.items() for row in _rows(of, stored[of], again)
        ),
    )


def recorded(bundle: Path) -> tuple[Origin, tuple[Recipe, ...], Mapping[str, Document]]:
    """Return where a bundle's model comes from, its recipes, and its numbers.

    Raises:
        UsageError: the bundle is missing, was changed, was not exported from a run, or is
            damaged.
    """
    index = read_index(bundle)
    missing = {STUDY, ORIGIN} - index.files.keys()
    if missing:
        raise UsageError(
            f"{bundle} was not exported from a run, so its recipe can't be run again: it has no "
            f"{' and no '.join(sorted(missing))}"
        )
    check_files(bundle, index, (STUDY, ORIGIN, METRICS, WEIGHTS, PLAN))
    path = bundle / METRICS
    stored = typed(dict[str, Any], read_json(path), f"{path} is damaged")
    numbers = {
        of: typed(dict[str, Any], stored.get(of), f"{path} is damaged: {of}")
        for of in ("baseline", "model")
    }
    origin = Origin.read(bundle / ORIGIN, read_toml(bundle / STUDY))
    try:
        recipes = tuple(Recipe.from_dict(recipe) for recipe in origin.chain)
    except ConfigurationError as error:
        told = "; ".join(error.problems)
        raise RunError(one_line(f"{bundle / ORIGIN} is damaged: {told}")) from error
    return origin, recipes, numbers


def _follow(
    origin: Origin, recipes: Sequence[Recipe], context: Context, progress: Progress
) -> State:
    """Run the recipes of a chain, each from what the one before left to train on."""
    start = state = context.start
    for recipe, threads in zip(recipes, origin.threads, strict=True):
        progress(Message(f"running a recipe of trial {origin.trial}"))
        trainable: list[State] = []

        def keep(reached: State, trainable: list[State] = trainable) -> None:
            if reached.stage == TRAINABLE:
                trainable.append(reached)

        with _threads(threads):
            state = compress(start, recipe, context.work(), on_stage=keep)
        last = trainable[-1] if trainable else state
        start = State(last.model, last.plan)
    return state


def _numbers(
    context: Context, state: State, recipe: Recipe, *, tested: bool
) -> Mapping[str, Estimates]:
    """Evaluate both models; return the numbers of baseline and model."""
    evaluator, test = context.evaluator, context.problem.data.test
    evaluation = evaluator(state.model, recipe.precision)
    found = {"baseline": dict(context.baseline_metrics), "model": dict(evaluation.metrics)}
    if not tested:
        return found
    for of, model, precision, artifact in (
        ("baseline", context.baseline, "fp32", evaluator.prepare(context.baseline)),
        ("model", state.model, recipe.precision, evaluation.artifact),
    ):
        with closing(evaluator.open(artifact)) as session:
            scores = evaluator.score(model, session, precision, test)
        found[of] |= {f"{TEST}{name}": estimate for name, estimate in scores.items()}
    return found


def _rows(of: str, stored: Mapping[str, Any], again: Estimates) -> Iterator[Again]:
    for metric, before in stored.items():
        value = before.get("value") if isinstance(before, Mapping) else before
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue  # of release 0.1, whose numbers stand beside texts
        now = again.get(metric)
        yield Again(of=of, metric=metric, bundle=value, again=None if now is None else now.value)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Compute with so many threads of the CPU, where it is known: sums depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
