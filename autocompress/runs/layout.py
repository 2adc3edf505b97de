"""Names in a run's folder, in one place.

study.toml          the resolved study; its [limits] may be edited
run.json            what the run began with: objectives, metrics, fingerprint, digests
trials.jsonl        the journal: one line per event of a trial, only ever appended to
baseline/           weights, curve, measurement and analysis of the baseline
teacher/            the same of a teacher
trials/00012/       one trial: recipe, plan, weights, curve, stages, samples
final.json          the front, measured again and opened on the test split
controls/           what the search is compared with
"""

from pathlib import Path

FORMAT = 2  # of a run's folder; release 0.1 wrote format 1
STUDY, HEADER, JOURNAL, FINAL = "study.toml", "run.json", "trials.jsonl", "final.json"
BASELINE, TEACHER, TRIALS, CONTROLS = "baseline", "teacher", "trials", "controls"
WEIGHTS, TRAINABLE, PLAN = "weights.safetensors", "trainable.safetensors", "plan.json"
RECIPE, CURVE, STAGES = "recipe.json", "curve.json", "stages.json"
MEASUREMENT, LAYERS, PROFILE = "measurement.json", "layers.json", "profile.json"
EVALUATION, UNITS, TRAINING = "evaluation.json", "units.json", "training.json"  # of the baseline
SCRATCH = "from_scratch.json"
ARTIFACT = "model.int8.onnx"  # the deployed file, where it is not the network itself


def trial_folder(run: Path, name: int | str) -> Path:
    """Return the folder of a trial, by its number or the name that its result has."""
    return run / TRIALS / (f"{name:05d}" if isinstance(name, int) else name)
