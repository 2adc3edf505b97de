"""From a bundle back to a module that can be trained on."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Self

from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from autocompress.artifacts import digest_of_file
from autocompress.bundles.checks import Check
from autocompress.bundles.contents import ModelSpec
from autocompress.bundles.formats import Batch, files_of
from autocompress.bundles.material import Timing
from autocompress.documents import known_part, read_content, read_json, typed
from autocompress.errors import UntrustedError, UsageError
from autocompress.graph import Plan, rebuild
from autocompress.models.bounds import TooLargeError, refuse_large
from autocompress.sentences import one_line, shown
from autocompress.settings import setting
from autocompress.trust import not_allowed, references

FORMAT, VERSION = "autocompress-bundle", 2
OLDER = 1  # written by release 0.1, whose checks are not read
INDEX, WEIGHTS, PLAN = "bundle.json", "weights.safetensors", "plan.json"
GOLDEN = "golden.safetensors"
SMALL_BYTES = 64 * 2**20  # of an uncompressed model, which may always be built
MOST_COMPRESSED = 1000  # times the weights are smaller than those of the uncompressed model
REJECTED = "rejected"  # folder of the files that failed their checks


def _outside(files: Mapping[str, Any]) -> str:
    """Refuse names of files that do not lie in the bundle."""
    names = (PurePath(name) for name in files)
    inside = all(not path.is_absolute() and ".." not in path.parts for path in names)
    return "" if inside else "expected files of the bundle's folder"


@dataclass(frozen=True, kw_only=True)
class Index:
    """What ``bundle.json`` holds.

    Attributes:
        model: how the uncompressed model is built; ``None``: no function is known.
        task: name of the task; ``None``: not known.
        versions: of what made the bundle.
        latency: how files were timed.
        batch: the batch sizes that each model file runs, by its name.
        files: ``sha256`` and ``bytes`` of each file but ``bundle.json``.
        checks: what was found of each model file.
        rejected: files that failed their checks, and why.
        unwritten: files that could not be written, and why.
    """

    model: ModelSpec | None
    task: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    latency: Timing = field(default_factory=Timing)
    batch: Mapping[str, Batch] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, str | int]] = setting(
        dict, help="sha256 and bytes by name", check=_outside
    )
    checks: Mapping[str, Check] = field(default_factory=dict)
    rejected: Mapping[str, str] = field(default_factory=dict)
    unwritten: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "model": None if self.model is None else self.model.to_dict(),
            "task": self.task,
            "versions": dict(self.versions),
            "latency": self.latency.to_dict(),
            "batch": dict(self.batch),
            "checks": {name: check.to_dict() for name, check in self.checks.items()},
            "rejected": dict(self.rejected),
            "unwritten": dict(self.unwritten),
            "files": dict(self.files),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str) -> Self:
        """Read what ``to_dict`` returned, or what release 0.1 wrote.

        Args:
            data: as JSON gives it.
            where: begins the message of what is wrong.

        Raises:
            RunError: it is damaged.
        """
        known = {key: part for key, part in data.items() if key not in ("format", "version")}
        if data["version"] == OLDER:
            known = {**known_part(cls, known), "checks": {}}
        needs = ("versions", "latency", "batch", "files", "checks", "rejected", "unwritten")
        return typed(cls, known, where, needs=needs)


def load(
    bundle: str | Path,
    *,
    factory: Callable[[], nn.Module] | None = None,
    allow: Collection[str] = (),
) -> nn.Module:
    """Rebuild the model of a bundle: factory, plan, weights; no pickle and no graph.

    No code is called that the bundle names, but for the networks of autocompress and torchvision
    and what is allowed.

    Args:
        bundle: folder that ``autocompress export`` or ``autocompress.export`` wrote.
        factory: builds the uncompressed model, with any weights, instead of the function that
            the bundle names; needed where it names none.
        allow: packages or modules whose functions the bundle may name: ``["my_package"]``.

    Returns:
        the compressed model on the CPU, in evaluation mode; all its parameters can be trained.

    Raises:
        UsageError: the folder is missing, no bundle, or was changed (a file's sha256 differs); or
            it names no factory and none is given.
        UntrustedError: it names a function of another package, which is not allowed.
        ConfigurationError: the model's function can't be found or fails.
    """
    bundle = Path(bundle)
    index = read_index(bundle)
    check_files(bundle, index, (WEIGHTS, PLAN))
    if factory is None:
        if index.model is None:
            raise UsageError(
                f"{bundle} does not know which function builds its model: give it one, "
                "load(bundle, factory=function), or run one of its model files"
            )
        foreign = not_allowed(references(index.model.to_dict()), allow)
        if foreign:
            way = ", or give the function itself: load(bundle, factory=function)"
            raise UntrustedError(str(bundle), foreign, way)
        factory = index.model.build
        if not references(index.model.to_dict()):
            _refuse_large(bundle, factory)
    plan = Plan.from_json(read_content(bundle / PLAN), str(bundle / PLAN))
    model = factory()
    title = "the factory" if index.model is None else shown(index.model.factory)
    try:
        rebuild(model, plan)
        load_model(model, bundle / WEIGHTS)
    except (UsageError, RuntimeError, SafetensorError, OSError) as error:
        what = f"{bundle / WEIGHTS} does not fit the model that {title} builds here: {error}"
        raise UsageError(one_line(what)) from error
    return model.eval().requires_grad_(requires_grad=True)


def _refuse_large(bundle: Path, factory: Callable[[], nn.Module]) -> None:
    """Refuse arguments of a function with which its model would take the whole memory."""
    size = (bundle / WEIGHTS).stat().st_size
    try:
        refuse_large(factory, max(SMALL_BYTES, MOST_COMPRESSED * size))
    except TooLargeError as error:
        raise UsageError(
            f"{bundle / INDEX} is damaged: model: for weights of {size:,} bytes, {error}"
        ) from error


def read_index(bundle: Path) -> Index:
    """Read a bundle's ``bundle.json``.

    Raises:
        UsageError: there is none, or it is another program's.
    """
    path = bundle / INDEX
    if not path.is_file():
        raise UsageError(f"{bundle} is not a bundle: it has no {INDEX}")
    data = read_json(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UsageError(f"{path}: expected format {FORMAT!r}; this is another program's file")
    if data.get("version") not in (OLDER, VERSION):
        raise UsageError(
            f"{path}: version {shown(data.get('version'))} is not supported; expected {VERSION}"
        )
    return Index.from_dict(data, f"{path} is damaged")


def check_files(bundle: Path, index: Index, names: tuple[str, ...]) -> None:
    """Compare files with the sha256 that the index has of them.

    Raises:
        UsageError: a file is missing or differs.
    """
    for name in names:
        if not (bundle / name).is_file():
            raise UsageError(f"{bundle} is not whole: {name} is missing")
        if digest_of_file(bundle / name) != index.files.get(name, {}).get("sha256"):
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
    rejected = {f"{REJECTED}/{file}" for name in index.rejected for file in files_of(name)}
    foreign = sorted(found - {INDEX, *index.files, *rejected})
    if foreign:
        raise UsageError(
            f"{output} holds files that are not the bundle's ({', '.join(foreign[:5])}) and is "
            f"left as it is; choose another folder"
        )
    if not force:
        raise UsageError(
            f"{output} is a bundle already; replace it with --force, or force=True in Python"
        )


def digest_of_weights(model: nn.Module) -> str:
    """Return a sha256 over names, shapes and values of a model's parameters and buffers."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
