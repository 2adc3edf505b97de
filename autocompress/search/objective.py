"""One trial: sample a recipe, compress, measure, save."""

import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NoReturn

import optuna
import torch

from autocompress.errors import ConfigurationError, TrialError
from autocompress.pipeline import KeepTrunks
from autocompress.recipe import Recipe
from autocompress.search.drafting import Draft, is_exact, make_draft
from autocompress.search.harvesting import Crop, Harvester
from autocompress.search.limits import FINISHED, UNFINISHED
from autocompress.search.samplers import wants_flat
from autocompress.search.space import Space
from autocompress.search.watching import History, StoppedEarlyError, TrialWatch
from autocompress.search.workbench import Workbench, values_of
from autocompress.stages import together
from autocompress.techniques.sparsification import Sparsifier

FIDELITY = "fidelity"  # attribute of a study: fraction of the epochs that its trials train


class Objective:
    """Called with a trial; returns accuracy, latency in ms, and parameters.

    Everything that a reader of the run needs is in the trial's attributes (small values) and in
    its folder (weights, plan, curve, samples).
    """

    def __init__(self, space: Space, bench: Workbench) -> None:
        self.space = space
        self.bench = bench
        self._history = History(bench.folder, bench.is_feasible)
        self.harvester = Harvester(space, bench)

    def __call__(self, trial: optuna.Trial) -> tuple[float, float, float]:
        """Run one trial.

        Raises:
            TrialError: it failed; stage and reason are in its attributes too.
            optuna.TrialPruned: it was not worth training; the reason is in its attributes.
        """
        fidelity = trial.study.user_attrs.get(FIDELITY, 1.0)
        space = self.space.at_fidelity(fidelity, conditional=not wants_flat(trial.study))
        params = space.sample(trial)
        trial.set_user_attr("params", params)
        trial.set_user_attr("threads", torch.get_num_threads())
        try:
            recipe = space.recipe(params)
        except ConfigurationError as error:
            self._stop(trial, {}, str(error))
        trial.set_user_attr("recipe", recipe.to_dict())
        self._refuse_duplicate(trial, recipe)
        self._refuse_inapplicable(trial, recipe)
        try:
            drafted = self._draft(trial, recipe)
            metrics = self._run(trial, recipe, params, drafted)
        except StoppedEarlyError as stopped:
            trial.set_user_attr("stopped", stopped.facts)
            at_best = {**stopped.metrics, "accuracy": stopped.facts["bound"]}
            self._stop(
                trial, stopped.metrics, stopped.reason, stage=stopped.stage, at_best=at_best
            )
        except TrialError as error:
            self._record_failure(trial, error)
            raise
        self._constrain(trial, metrics, FINISHED)
        return values_of(metrics)

    def stand_in(self, trial: optuna.Trial) -> tuple[float, float, float]:
        """Return values for a trial that was stopped, where a sampler ignores those without.

        Its accuracy is the best that it could still reach, for that in the middle of training
        would look like a recipe that ruins the model; its latency and size are those of a draft.
        What is not known is the baseline's. The constraint ``unfinished`` keeps it off the front.
        """
        facts = trial.user_attrs
        known = dict(facts.get("metrics", {}))
        if "bound" in facts.get("stopped", {}):
            known["accuracy"] = facts["stopped"]["bound"]
        if "recipe" in facts and not {"latency_ms", "parameters"} <= known.keys():
            known |= self._estimate(Recipe.from_dict(facts["recipe"]))
        return values_of({**self.bench.baseline_metrics, **known})

    def _estimate(self, recipe: Recipe) -> dict[str, Any]:
        """Return what a draft tells of latency and size, though it may be an estimate."""
        bench = self.bench
        try:
            return make_draft(
                bench.baseline, recipe, bench.batches.example, bench.anatomy, bench.ruler
            ).metrics
        except TrialError:  # such a recipe cannot be applied to this model
            return {}

    def _run(
        self, trial: optuna.Trial, recipe: Recipe, params: Mapping[str, Any], drafted: Draft | None
    ) -> dict[str, Any]:
        bench, start = self.bench, time.perf_counter()
        watch = TrialWatch(trial, recipe, drafted, bench, self._history)
        keeper = KeepTrunks(self.harvester.epochs(recipe), watch)
        compressed = bench.compress(recipe, keeper)
        judgement = bench.judge(compressed.model, recipe.precision)
        trial.set_user_attr("metrics", judgement.metrics)
        saving = time.perf_counter()
        digest = bench.save(f"{trial.number:05d}", recipe, compressed, judgement)
        now = time.perf_counter()
        spent = together(compressed.seconds, judgement.seconds, {"save": now - saving})
        drafting = trial.user_attrs.get("seconds", {})
        trial.set_user_attr("seconds", together(drafting, spent))
        trial.set_user_attr("sha256", digest)
        each_s = sum(s for k, s in spent.items() if k not in ("sparsify", "recover"))
        crop = Crop(trial.number, recipe, params, keeper.trunks, compressed, each_s)
        self.harvester.keep(crop, trial_s=now - start)
        return dict(judgement.metrics)

    def _draft(self, trial: optuna.Trial, recipe: Recipe) -> Draft | None:
        """Draw the structure, where that may save the training; refuse it if it breaks a limit.

        Only one that training cannot change: others may come out several times smaller.
        """
        bench, start = self.bench, time.perf_counter()
        limits = bench.limits
        if not bench.economy.draft or not is_exact(recipe):
            return None
        may_stop = bench.economy.early_stopping and self._history.makes_stopping_pay(trial.study)
        if not (may_stop or limits.on_latency or limits.on_size):
            return None
        ruler = bench.ruler if may_stop or limits.on_latency else None
        made = make_draft(bench.baseline, recipe, bench.batches.example, bench.anatomy, ruler)
        trial.set_user_attr("draft", asdict(made))
        trial.set_user_attr("seconds", {"draft": time.perf_counter() - start})
        broken = limits.surely_broken(made.metrics)
        if broken:
            self._stop(trial, made.metrics, f"a draft of it is over the limit: {broken}")
        return made

    def _refuse_duplicate(self, trial: optuna.Trial, recipe: Recipe) -> None:
        done = (optuna.trial.TrialState.COMPLETE,)
        for other in trial.study.get_trials(deepcopy=False, states=done):
            if other.user_attrs.get("recipe") == recipe.to_dict():
                known = other.user_attrs.get("metrics", {})
                self._stop(trial, known, f"the same recipe as trial {other.number}")

    def _refuse_inapplicable(self, trial: optuna.Trial, recipe: Recipe) -> None:
        """Stop what cannot work on this model, such as batch-norm scales of single weights."""
        if recipe.sparsification is not None:
            try:
                Sparsifier(
                    self.bench.baseline, recipe.sparsification, self.bench.anatomy.units.groups
                )
            except ConfigurationError as error:
                self._stop(trial, {}, str(error))

    def _stop(
        self,
        trial: optuna.Trial,
        known: Mapping[str, Any],
        reason: str,
        *,
        stage: str = "draft",
        at_best: Mapping[str, Any] | None = None,
    ) -> NoReturn:
        """End a trial that is not worth its time; its limits are judged by its best outcome."""
        trial.set_user_attr("metrics", dict(known))
        trial.set_user_attr("stage", stage)
        trial.set_user_attr("reason", reason)
        self._constrain(trial, known if at_best is None else at_best, UNFINISHED)
        raise optuna.TrialPruned(reason)

    def _constrain(
        self, trial: optuna.Trial, metrics: Mapping[str, Any], end: Mapping[str, float]
    ) -> None:
        for name, by in {**self.bench.constraints(metrics), **end}.items():
            trial.set_constraint(name, by)

    def _record_failure(self, trial: optuna.Trial, error: TrialError) -> None:
        trial.set_user_attr("stage", error.stage)
        trial.set_user_attr("reason", error.reason)
        trial.set_user_attr("traceback", "".join(traceback.format_exception(error))[-8000:])
