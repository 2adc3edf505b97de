"""Writing a bundle: aside first, reloaded and compared in a fresh process, then put in place."""

import copy
import errno
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from autocompress.artifacts import remove_leftovers, scratch_folder
from autocompress.bundles.checks import Check
from autocompress.bundles.contents import Card, Source
from autocompress.bundles.formats import FORMATS
from autocompress.bundles.loading import read_index, refuse_foreign
from autocompress.bundles.material import Material
from autocompress.bundles.writing import Writing
from autocompress.errors import AutocompressError, UsageError, VerificationError
from autocompress.short_repr import short_repr
from autocompress.trust import references

Verifier = Callable[[Path, Path], Mapping[str, Check]]
"""Checks the files of a bundle, given its folder and that of the material."""


@short_repr
@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle that was written.

    Attributes:
        path: its folder.
        files: bytes of each file, by name.
        checks: what was found of each model file.
        rejected: files that failed their checks, and why.
        unwritten: files that could not be written, and why.
    """

    path: Path
    files: Mapping[str, int]
    checks: Mapping[str, Check]
    rejected: Mapping[str, str] = field(default_factory=dict)
    unwritten: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "bundle": str(self.path),
            "files": dict(self.files),
            "checks": {name: check.to_dict() for name, check in self.checks.items()},
            "rejected": dict(self.rejected),
            "unwritten": dict(self.unwritten),
        }


def verify_elsewhere(folder: Path, material: Path) -> dict[str, Check]:
    """Check the files of a bundle in a fresh process.

    Raises:
        VerificationError: the process ended without a report.
    """
    report = material / "report.json"
    command = [sys.executable, "-m", "autocompress.bundles.verify", str(folder)]
    spec = read_index(folder).model
    for name in () if spec is None else references(spec.to_dict()):
        command += ["--allow", name.partition(":")[0]]  # whoever exports a model trusts its code
    command += ["--material", str(material), "--report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not report.exists():
        raise VerificationError(
            f"the bundle was not written, since its files could not be verified in a fresh "
            f"process (exit code {done.returncode}):\n{done.stderr.strip()}"
        )
    found = json.loads(report.read_text(encoding="utf-8"))
    return {name: Check.from_dict(check) for name, check in found.items()}


def export_bundle(
    source: Source,
    output: str | Path,
    *,
    card: Card,
    material: Material,
    formats: Sequence[str] = ("pt2",),
    force: bool = False,
    verifier: Verifier = verify_elsewhere,
) -> Bundle:
    """Write a compressed model as a bundle, and check every model file in a fresh process.

    The bundle appears whole, or not at all. A file that fails its check is moved to the folder
    ``rejected`` in it, and is no part of it. :func:`autocompress.export` asks for less.

    Args:
        source: the model, and how it is rebuilt.
        output: the folder to write.
        card: what the model card says.
        material: what files are checked against.
        formats: names in ``FORMATS`` to write besides weights and plan.
        force: replace an older bundle.
        verifier: checks the files.

    Raises:
        UsageError: ``output`` holds something else than a bundle, or one and ``force`` is off; or
            there are no inputs to check with.
        ConfigurationError: a format does not exist, or its packages are missing.
        VerificationError: the weights, reloaded, give other outputs, or no model file passes;
            nothing is left behind.
        OSError: the disk is full; nothing is left behind.
    """
    output = Path(output)
    refuse_foreign(output, force=force)
    kinds = {name: FORMATS[name] for name in formats}
    for kind in kinds.values():
        kind.require()
    output.parent.mkdir(parents=True, exist_ok=True)
    own = replace(source, model=copy.deepcopy(source.model).cpu().eval())
    remove_leftovers(output)
    with scratch_folder(output) as aside, _explained():
        job = Writing(own, card, material, kinds, Path(aside) / "bundle", Path(aside) / "material")
        index = job.write()
        index = job.scored(index, verifier(job.folder, job.extra))
        job.write_card(index)
        files = job.write_index(index)
        _put_in_place(job.folder, output, force=force)
    return Bundle(
        path=output,
        files=files,
        checks=index.checks,
        rejected=index.rejected,
        unwritten=index.unwritten,
    )


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what safetensors raises on a full disk into an error of ours."""
    try:
        yield
    except SafetensorError as error:
        raise AutocompressError(f"the bundle can't be written: {error}") from error


def _put_in_place(folder: Path, output: Path, *, force: bool) -> None:
    """Rename the finished folder; an older bundle is set aside first and goes with the rest.

    Raises:
        UsageError: meanwhile somebody put something there, which is left as it is.
    """
    refuse_foreign(output, force=force)
    older = folder.with_name("replaced")
    if output.exists():
        output.rename(older)
    try:
        if older.exists():
            refuse_foreign(older, force=True)  # nobody can add to it under its old name any more
        folder.rename(output)
    except (OSError, UsageError) as error:
        if older.exists():
            kept = output if not output.exists() else _free_name(output)
            older.rename(kept)
        if isinstance(error, UsageError) or error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise UsageError(
                f"{output} got other files while the bundle was written, and is left as it is; "
                "choose another folder"
            ) from error
        raise


def _free_name(path: Path) -> Path:
    """Return a name beside a path that nothing has."""
    names = (path.with_name(f"{path.name}.{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())
