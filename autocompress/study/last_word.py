"""The last word on a front: measured again, and opened on the test split once."""

from typing import Any

from torch import nn

from autocompress.config import ModelSection, StudyConfig
from autocompress.datasets import Splits
from autocompress.errors import RunError
from autocompress.events import LastWord
from autocompress.graph import Plan, rebuild
from autocompress.search.workbench import Workbench, load_tensors
from autocompress.study.preparation import Listener, build_structure
from autocompress.study.records import Run
from autocompress.study.trials import TrialRecord
from autocompress.training.evaluation import evaluate


def reload_trial(record: TrialRecord, section: ModelSection, splits: Splits) -> nn.Module:
    """Rebuild a trial's model from factory, plan and weights, on the CPU, in eval mode.

    Raises:
        RunError: the trial has no folder (only complete trials have one), or it is damaged.
    """
    if record.folder is None:
        raise RunError(f"trial {record.number} is {record.state} and has no model")
    model = build_structure(section, splits)
    rebuild(model, Plan.from_json((record.folder / "plan.json").read_text(encoding="utf-8")))
    load_tensors(model, record.folder / "weights.safetensors")
    return model.eval()


def last_word(run: Run, config: StudyConfig, bench: Workbench, tell: Listener) -> dict[str, Any]:
    """Measure every member of the front again, paired with the baseline, and open it on test.

    Returns:
        plain data: ``{"baseline": {"test_accuracy"}, "trials": {number: {"test_accuracy",
        "final_latency_ms", "final_latency_ratio", ...}}}``.
    """
    front = run.front()
    words: dict[str, Any] = {
        "baseline": {"test_accuracy": evaluate(bench.baseline, bench.batches.test).accuracy},
        "trials": {},
    }
    for done, record in enumerate(front, start=1):
        model = reload_trial(record, config.model, bench.batches.splits)
        model.to(bench.batches.device)
        latency = bench.ruler.measure(model)
        words["trials"][str(record.number)] = {
            "test_accuracy": evaluate(model, bench.batches.test).accuracy,
            "final_latency_ms": latency.latency_ms,
            "final_latency_ratio": latency.ratio,
            "final_latency_ratio_low": latency.ratio_low,
            "final_latency_ratio_high": latency.ratio_high,
        }
        tell(LastWord(done, len(front)))
    return words
