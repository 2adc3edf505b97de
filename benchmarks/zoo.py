"""Is removal exact on every architecture, and does what comes out run where it lands?

    python -m benchmarks.zoo torchvision            all classification models of torchvision
    python -m benchmarks.zoo timm                   a broad sample of timm, if it is installed
    python -m benchmarks.zoo torchvision resnet18   some models, again

One process for each model, smallest first, resumable; the table says when each was run. Each is
built with generic random parameters; 30 % of the units of every removable group are zeroed and
removed, batch norms are folded, the result is rebuilt from its plan and weights on a fresh build,
and exported. Outputs are compared in float64. Another process compresses it in the same way,
writes it as pt2 and as ONNX, and runs these files in their own runtimes, batch 1, in float32.
Results: ``benchmarks/results/``.
"""

import copy
import datetime
import importlib.metadata
import json
import platform
import resource
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.zoo_table import FORMATS_TRIED, SHARE, TOLERANCE, table

RESULTS = Path(__file__).parent / "results"
IN_DOUBLE = 100e6  # parameters up to which plain float64 copies are compared too
LIMIT_S = 1800
WORK = ("units", "prune", "fold", "rebuild", "export")  # not our checks of it


def main() -> None:
    """Run a suite, skipping models that have a result; named models run again."""
    suite, *wanted = sys.argv[1:]
    if suite in TASKS:
        print(json.dumps(TASKS[suite](*wanted)))
        return
    from benchmarks import zoo_models

    names = zoo_models.torchvision_names() if suite == "torchvision" else zoo_models.timm_names()
    file = RESULTS / f"zoo-{suite}.json"
    results = json.loads(file.read_text())["models"] if file.exists() else {}
    for name in sorted(wanted or names, key=lambda n: results.get(n, {}).get("parameters", 0)):
        if name not in results or name in wanted:
            results[name] = _in_a_process("--remove", suite, name)
        elif "files" in results[name]:
            continue
        results[name]["files"] = _in_a_process("--files", suite, name)
        results[name]["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
        print(
            name, json.dumps(results[name])[:300], json.dumps(results[name]["files"]), flush=True
        )
        _write(file, suite, {n: results[n] for n in names if n in results})


def _in_a_process(task: str, suite: str, name: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.zoo", task, suite, name]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not finished after {LIMIT_S} s"}
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["killed"])[-1]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


class Stages:
    """Runs stages one after the other and keeps their CPU times, whoever else computes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, run: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run one stage; an error says which it was."""
        start = time.process_time()
        try:
            return run(*args, **options)
        except Exception as error:
            raise RuntimeError(f"{name}: {type(error).__name__}: {error}") from error
        finally:
            self.seconds[name] = round(time.process_time() - start, 2)


def compress(suite: str, name: str) -> dict[str, Any]:
    """Do everything to one model, in this process."""
    import torch

    torch.set_num_threads(1)
    result: dict[str, Any] = {}
    stages = Stages()
    try:
        _check(suite, name, result, stages)
    except RuntimeError as error:
        result["error"] = str(error)
        traceback.print_exc()
    checks = [value for key, value in result.items() if "difference" in key]
    if "error" not in result and result["parameters_after"] == result["parameters"]:
        result["error"] = "nothing can be removed exactly"
    result["passed"] = "error" not in result and not result["refused"] and max(checks) <= TOLERANCE
    result["seconds"] = stages.seconds
    result["total_s"] = round(sum(stages.seconds.get(name, 0.0) for name in WORK), 1)
    result["peak_gb"] = _peak_gb()
    return result


def convert(suite: str, name: str) -> dict[str, Any]:
    """Compress one model as ``compress`` does, and try it as files, in this process."""
    import torch

    from autocompress.graph import find_units
    from autocompress.techniques.folding import fold_batch_norms
    from autocompress.techniques.pruning import prune
    from benchmarks import zoo_files, zoo_models

    torch.set_num_threads(1)
    model, image = zoo_models.build(suite, name)
    units = find_units(model, image)
    zero_some(model, units.removable, image)
    model, _ = prune(model, example=image, units=units.groups)
    model, _ = fold_batch_norms(model, example=image)
    files = zoo_files.convert(model, image, FORMATS_TRIED)
    return {**files, "peak_gb": _peak_gb()}


def _peak_gb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if platform.system() == "Linux" else 2**30), 2)


TASKS = {"--remove": compress, "--files": convert}


def _check(suite: str, name: str, result: dict[str, Any], stages: Stages) -> None:
    from autocompress.graph import Plan, find_units, largest_difference
    from autocompress.techniques.folding import fold_batch_norms
    from autocompress.techniques.pruning import prune
    from benchmarks import zoo_models

    model, image = stages("build", zoo_models.build, suite, name)
    units = stages("units", find_units, model, image)
    result.update(_described(units), parameters=_parameters(model))
    result["effect"] = stages("zero", zero_some, model, units.removable, image)
    small, pruned = stages("prune", prune, model, example=image, units=units.groups)
    result.update(
        difference=pruned.difference,
        refused=dict(pruned.refused),
        parameters_after=_parameters(small),
    )
    if result["parameters"] < IN_DOUBLE:
        result["difference_in_double"] = stages("check", _double, model, small, image)
    del model
    folded, folding = stages("fold", fold_batch_norms, small, example=image)
    if folding.steps and result["parameters"] < IN_DOUBLE:  # folding has compared in float64 too
        wide = small.double()
        narrow, _ = stages("fold in double", fold_batch_norms, wide, example=image.double())
        result["fold_difference"] = stages(
            "check fold", largest_difference, wide, narrow, image.double()
        )
        del wide, narrow
    del small
    plan = Plan((*pruned.steps, *folding.steps))
    result["rebuild_difference"] = _reload(suite, name, folded, plan, image, stages)
    result["plan_kb"] = round(len(plan.to_json()) / 1e3, 1)


def _reload(suite: str, name: str, model: Any, plan: Any, image: Any, stages: Stages) -> float:
    """Rebuild a compressed model from its plan and weights on a fresh build, and export it."""
    import torch

    from autocompress.graph import Plan, largest_difference, rebuild
    from benchmarks import zoo_models

    again = zoo_models.build(suite, name)[0]
    stages("rebuild", rebuild, again, Plan.from_json(plan.to_json()))
    again.load_state_dict(model.state_dict())
    again.eval()
    found: float = stages("check rebuild", largest_difference, model, again, image)
    with torch.no_grad():
        stages("export", torch.export.export, again, (image,))
    return found


def zero_some(model: Any, groups: Any, image: Any) -> float:
    """Zero a share of the units of each group, in place; return how much the outputs change."""
    import torch

    from autocompress.graph.masking import zero_chosen
    from autocompress.graph.removal import Choice
    from autocompress.graph.verification import difference, float64_outputs

    before = float64_outputs(model, image)
    generator = torch.Generator().manual_seed(2)
    choices = []
    for group in groups:
        removed = torch.zeros(group.size, dtype=torch.bool)
        removed[torch.randperm(group.size, generator=generator)[: int(SHARE * group.size)]] = True
        choices.append(Choice(group, removed))
    zero_chosen(model, choices)
    return difference(before, float64_outputs(model, image))


def _double(before: Any, after: Any, image: Any) -> float:
    """Compare plain float64 copies: independent of how the package compares."""
    import torch

    def outputs(model: Any) -> Any:
        output = copy.deepcopy(model).double().eval()(image.double())
        return output if isinstance(output, torch.Tensor) else output[0]

    with torch.no_grad():
        a, b = outputs(before), outputs(after)
    return float((a - b).abs().max() / a.std())


def _parameters(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())


def _described(units: Any) -> dict[str, Any]:
    kept = [group for group in units if not group.removable]
    return {
        "groups": len(units.removable),
        "units": sum(group.size for group in units.removable),
        "kept_groups": len(kept),
        "kept_units": sum(group.size for group in kept),
        "kept_why": dict(Counter(_kind(r) for group in kept for r in group.reasons[:1])),
        "fixed_why": dict(Counter(_kind(why) for why in units.fixed.values())),
    }


def _kind(reason: str) -> str:
    """Shorten a reason: without places and numbers."""
    reason = reason.split("; ")[0].split(" in ")[0]
    head, _, rest = reason.partition(" outputs: ")
    reason = rest or head
    where, repeats, _ = reason.partition(" repeats its size")
    return "the forward pass repeats a size" if repeats else where


def _write(file: Path, suite: str, results: dict[str, Any]) -> None:
    import torch

    RESULTS.mkdir(exist_ok=True)
    machine = {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "onnxruntime": importlib.metadata.version("onnxruntime"),
        "processor": platform.machine(),
        "threads": 1,
    }
    temporary = file.with_suffix(".tmp")
    temporary.write_text(json.dumps({"machine": machine, "models": results}, indent=1) + "\n")
    temporary.replace(file)
    file.with_suffix(".md").write_text(table(suite, machine, results))


if __name__ == "__main__":
    main()
