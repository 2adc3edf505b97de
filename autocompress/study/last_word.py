"""The last word on a front: measured again, and opened on the test split."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from autocompress.artifacts import digest_of_folder, read_json, write_json
from autocompress.config import ModelSection, StudyConfig
from autocompress.datasets import Splits
from autocompress.deployment import Deployed, deploy, deployed_file
from autocompress.errors import RunError
from autocompress.events import LastWord, Message
from autocompress.graph import Plan, rebuild
from autocompress.search.workbench import INT8_FILE, Workbench, latency_metrics, load_tensors
from autocompress.study.preparation import Listener, build_structure
from autocompress.study.records import LAST_WORD_FILE, Run
from autocompress.study.trials import FINAL, TrialRecord
from autocompress.training.batches import Batches
from autocompress.training.evaluation import evaluate, score


def reload_trial(record: TrialRecord, section: ModelSection, splits: Splits) -> nn.Module:
    """Rebuild a trial's model from factory, plan and weights, on the CPU, in eval mode.

    Raises:
        RunError: as ``intact_folder``.
    """
    folder = intact_folder(record)
    model = build_structure(section, splits)
    rebuild(model, Plan.from_json((folder / "plan.json").read_text(encoding="utf-8")))
    load_tensors(model, folder / "weights.safetensors")
    return model.eval()


def reload_deployed(
    record: TrialRecord, section: ModelSection, batches: Batches, device: torch.device
) -> Deployed:
    """Return what was judged of a trial: its network at its precision, or its int8 file.

    Args:
        record: complete.
        section: what the study compresses.
        batches: its data.
        device: where the deployed model runs.

    Raises:
        RunError: as ``reload_trial``.
        ConfigurationError: the file can't be opened here.
    """
    if record.precision == "int8":
        return deployed_file(deployed_content(record), device)
    model = reload_trial(record, section, batches.splits).to(batches.device)
    return deploy(model, record.precision, batches, device=device)


def deployed_content(record: TrialRecord) -> bytes:
    """Return the content of the int8 file that was judged of a trial.

    Raises:
        RunError: as ``intact_folder``, or the file is missing.
    """
    path = intact_folder(record) / INT8_FILE
    if not path.is_file():
        raise RunError(f"{path} is missing; it is what was measured of this trial")
    return path.read_bytes()


def intact_folder(record: TrialRecord) -> Path:
    """Return the folder of a trial's model, as it was when the trial ended.

    Raises:
        RunError: it has none (only complete trials have one), or it was changed since.
    """
    if record.folder is None:
        raise RunError(f"trial {record.number} is {record.state} and has no model")
    if record.sha256 not in (None, digest_of_folder(record.folder)):
        raise RunError(
            f"{record.folder} is damaged: a file was changed, added or removed since trial "
            f"{record.number} ended (its sha256 differs)"
        )
    return record.folder


def speak_last_words(run: Run, config: StudyConfig, bench: Workbench, tell: Listener) -> None:
    """Measure every member of the front again, paired with the baseline, and open it on test.

    A member that turns out to break a limit on latency leaves the front. Others that only it had
    beaten may then enter, and are measured too, until all of the front is.

    Writes ``{"baseline": {"test_accuracy"}, "trials": {number: {"test_accuracy",
    "final_latency_ms", "final_latency_ratio", ..., "stages"}}}`` into the run's folder;
    ``stages`` are rows of ``stage``, ``accuracy``, ``latency_ms`` and ``parameters`` after it.
    """
    path = run.path / LAST_WORD_FILE
    words: dict[str, Any] = read_json(path) if path.exists() else {"baseline": {}, "trials": {}}
    while silent := [t for t in run.front() if str(t.number) not in words["trials"]]:
        tell(Message("the last word: measuring the front again, and opening it on test"))
        if not words["baseline"]:
            accuracy = evaluate(bench.baseline, bench.batches.test).accuracy
            words["baseline"] = {"test_accuracy": accuracy}
        for done, record in enumerate(silent, start=1):
            words["trials"][str(record.number)] = _word_on(record, config, bench)
            tell(LastWord(done, len(silent)))
        write_json(path, words)
    if not path.exists():  # there is no front to speak of
        write_json(path, words)


def _word_on(record: TrialRecord, config: StudyConfig, bench: Workbench) -> dict[str, Any]:
    device = bench.ruler.settings.torch_device()
    deployed = reload_deployed(record, config.model, bench.batches, device)
    latency = latency_metrics(bench.ruler.measure(deployed.artifact))
    return {
        "test_accuracy": score(deployed.run, bench.batches.test).accuracy,
        **{f"{FINAL}{name}": value for name, value in latency.items()},
        "stages": _stages(record, config, bench),
    }


def _stages(record: TrialRecord, config: StudyConfig, bench: Workbench) -> list[dict[str, Any]]:
    """Return what each stage led to, as the trial noted it, with the latency after it.

    Speed is that of the structure that the plan has after the stage, measured in a quarter of
    the usual time; the last stage has what the trial measured.
    """
    if record.folder is None or not (record.folder / "stages.json").exists():
        return []  # trials of older runs did not note their stages
    rows: list[dict[str, Any]] = read_json(record.folder / "stages.json")
    plan = Plan.from_json((record.folder / "plan.json").read_text(encoding="utf-8"))
    measured = {0: bench.baseline_metrics["latency_ms"]}  # by how many steps were taken
    for row in rows[:-1]:
        steps = row["steps"]
        if steps not in measured:
            measured[steps] = _latency_after(Plan(plan.steps[:steps]), config, bench)
        row["latency_ms"] = measured[steps]
    return rows


def _latency_after(plan: Plan, config: StudyConfig, bench: Workbench) -> float:
    model = build_structure(config.model, bench.batches.splits)
    rebuild(model, plan)
    model.to(bench.batches.device)
    return bench.ruler.measure(model, budget_s=config.latency.budget_s / 4).latency_ms
