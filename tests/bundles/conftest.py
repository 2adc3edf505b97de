import os
import sys

import pytest

from little_bundles import compressed, export

ONNX = ("onnx", "onnxruntime", "onnxscript")


@pytest.fixture(autouse=True, scope="session")
def fresh_processes_find_the_package():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        yield


@pytest.fixture(scope="session")
def onnx():
    for package in ONNX:
        pytest.importorskip(package)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A model, its bundle of the formats that need no extra, and what exporting returned."""
    model = compressed()
    folder = tmp_path_factory.mktemp("exports") / "bundle"
    return model, folder, export(folder, model)
