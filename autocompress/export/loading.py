"""From a bundle back to a module that can be trained on."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from autocompress import models
from autocompress.errors import UsageError
from autocompress.export.contents import ModelSpec
from autocompress.export.formats import files_of
from autocompress.graph import Plan, rebuild

FORMAT, VERSION = "autocompress-bundle", 1
INDEX, WEIGHTS, PLAN = "bundle.json", "weights.safetensors", "plan.json"
GOLDEN = "golden.safetensors"
REJECTED = "rejected"  # folder of the files that failed their checks


def load(bundle: str | Path) -> nn.Module:
    """Rebuild the model of a bundle: factory, plan, weights; no pickle and no graph.

    Args:
        bundle: folder that ``autocompress export`` wrote.

    Returns:
        the compressed model on the CPU, in evaluation mode; all its parameters can be trained.

    Raises:
        UsageError: the folder is missing, no bundle, or was changed (a file's sha256 differs).
        ConfigurationError: the model's function can't be found or fails.
    """
    bundle = Path(bundle)
    index = read_index(bundle)
    check_files(bundle, index, (WEIGHTS, PLAN))
    spec = ModelSpec(**index["model"])
    model = models.build(
        spec.factory, spec.kwargs, num_classes=spec.num_classes, channels=spec.channels
    )
    rebuild(model, Plan.from_json((bundle / PLAN).read_text(encoding="utf-8")))
    try:
        load_model(model, bundle / WEIGHTS)
    except (RuntimeError, SafetensorError) as error:
        raise UsageError(
            f"{bundle / WEIGHTS} does not fit the model that {spec.factory!r} builds here: {error}"
        ) from error
    return model.eval().requires_grad_(requires_grad=True)


def read_index(bundle: Path) -> dict[str, Any]:
    """Read a bundle's ``bundle.json``.

    Raises:
        UsageError: there is none, or it is another program's.
    """
    path = bundle / INDEX
    if not path.is_file():
        raise UsageError(f"{bundle} is not a bundle: it has no {INDEX}")
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(index, dict) or index.get("format") != FORMAT:
        raise UsageError(f"{path}: expected format {FORMAT!r}; this is another program's file")
    if index.get("version") != VERSION:
        raise UsageError(
            f"{path}: version {index.get('version')!r} is not supported; expected {VERSION}"
        )
    return index


def check_files(bundle: Path, index: dict[str, Any], names: tuple[str, ...]) -> None:
    """Compare files with the sha256 that the index has of them.

    Raises:
        UsageError: a file is missing or differs.
    """
    for name in names:
        if not (bundle / name).is_file():
            raise UsageError(f"{bundle} is not whole: {name} is missing")
        if digest_of_file(bundle / name) != index["files"].get(name, {}).get("sha256"):
            raise UsageError(
                f"{bundle / name} was changed after the export: its sha256 differs from {INDEX}"
            )


def refuse_foreign(output: Path, *, force: bool) -> None:
    """Check that a bundle may be written: there is nothing yet, or a bundle to be replaced.

    Args:
        output: the folder to write.
        force: whether a bundle may be replaced.

    Raises:
        UsageError: it is a file, or holds something else than a bundle, or is one and ``force``
            is off.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise UsageError(f"{output} is a file; expected a folder to write")
    found = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    if not found:
        return
    try:
        index = read_index(output)
    except UsageError as error:
        raise UsageError(
            f"{output} holds other files and is left as it is; choose another folder"
        ) from error
    rejected = {f"{REJECTED}/{file}" for name in index["rejected"] for file in files_of(name)}
    foreign = sorted(found - {INDEX, *index["files"], *rejected})
    if foreign:
        raise UsageError(
            f"{output} holds files that are not the bundle's ({', '.join(foreign[:5])}) and is "
            f"left as it is; choose another folder"
        )
    if not force:
        raise UsageError(f"{output} is a bundle already; replace it with --force")


def digest_of_file(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_weights(model: nn.Module) -> str:
    """Return a sha256 over names, shapes and values of a model's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
