"""``infer.py``: a picture is prepared as in training, and classified without torch."""

import importlib.util
import json
import shutil
import subprocess
import sys
from importlib import resources

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from autocompress.bundles.preprocessing import mode_of, preprocess_data
from autocompress.bundles.verify import verify
from autocompress.data import Preprocessing, load_data
from autocompress.data.resizing import Step, pad, resize

from little_bundles import CARD, CLASSES, export

pytest.importorskip("onnxruntime")
SCRIPT = resources.files("autocompress.bundles").joinpath("assets", "infer.py")
NO_TORCH = """
import runpy, sys
sys.modules["torch"] = sys.modules["autocompress"] = None  # importing them fails
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def infer():
    spec = importlib.util.spec_from_file_location("infer", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture(path, *, size=(8, 8), mode="L", seed=0):
    channels = () if mode == "L" else (len(mode),)
    shape = (size[1], size[0], *channels)
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    Image.fromarray(pixels, mode if mode == "RGBA" else None).save(path)
    return pixels


def settings(preprocessing):
    return json.loads(json.dumps(preprocess_data(preprocessing)))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_image_files_are_prepared_as_for_validation(infer, tmp_path, mode):
    for n, size in enumerate([(30, 20), (17, 40), (16, 16), (9, 7), (33, 50), (60, 16)]):
        for split in ("train", "valid", "test"):
            folder = tmp_path / split / ("cat" if n % 2 else "dog")
            folder.mkdir(parents=True, exist_ok=True)
            picture(folder / f"{n}.png", size=size, mode=mode, seed=n)
    data = load_data(f"folder:{tmp_path}", image_size=16, batch_size=8)
    images = torch.cat([images.as_subclass(torch.Tensor) for images, _ in data.valid]).cpu()
    about = settings(data.preprocessing)
    assert about["mode"] == mode
    assert len(images) == 6
    paths = sorted((tmp_path / "valid").rglob("*.png"))
    for path, expected in zip(paths, images, strict=True):
        found = torch.from_numpy(infer.prepare(path, about))
        torch.testing.assert_close(found, expected.unsqueeze(0), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(28, 28), (28, 50), (60, 40)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_images_in_memory_are_stretched_and_padded_alike(infer, tmp_path, size, mode):
    pixels = picture(tmp_path / "picture.png", size=size, mode=mode)
    images = torch.from_numpy(pixels.reshape(1, size[1], size[0], -1)).permute(0, 3, 1, 2)
    mean, std = (0.2, 0.3, 0.4)[: images.shape[1]], (0.3, 0.2, 0.25)[: images.shape[1]]
    about = settings(
        Preprocessing(
            image_size=32, steps=(Step("stretch", 28), Step("pad", 32)), mean=mean, std=std
        )
    )
    expected = pad(resize(images, 28), 32).numpy().astype(np.float64)
    found = infer.prepare(tmp_path / "picture.png", about)
    assert found.dtype == np.float32
    levels = found[0].transpose(1, 2, 0) * np.array(std) * 255 + np.array(mean) * 255
    difference = np.abs(levels - expected[0].transpose(1, 2, 0))
    assert difference.max() <= 1.001  # a level, where two roundings of a half differ
    assert difference.mean() < 0.01


def test_pictures_with_other_colours_are_converted(infer, tmp_path):
    picture(tmp_path / "a.png", size=(9, 12), mode="RGBA")
    about = settings(CARD.preprocessing)
    assert infer.prepare(tmp_path / "a.png", about).shape == (1, 1, 8, 8)
    about = settings(
        Preprocessing(image_size=8, steps=(Step("crop", 8),), mean=(0.5,) * 3, std=(0.2,) * 3)
    )
    assert infer.prepare(tmp_path / "a.png", about).shape == (1, 3, 8, 8)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, onnx):
    folder = tmp_path_factory.mktemp("infer") / "bundle"
    export(folder, formats=("onnx", "onnx-int8"), verifier=verify)
    return folder


def classify(folder, *arguments, cwd=None):
    command = [sys.executable, "-c", NO_TORCH, str(folder / "infer.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)


@pytest.mark.filterwarnings("ignore")  # of the ONNX exporter
def test_a_picture_is_classified_without_torch_as_the_model_does(bundle, infer, tmp_path):
    import autocompress

    picture(tmp_path / "picture.png")
    done = classify(bundle, tmp_path / "picture.png")
    assert done.returncode == 0, done.stderr
    about = json.loads((bundle / "preprocess.json").read_text())
    images = torch.from_numpy(infer.prepare(tmp_path / "picture.png", about))
    with torch.no_grad():
        shares = autocompress.load(bundle)(images).softmax(1)[0]
    order = shares.argsort(descending=True).tolist()
    assert done.stdout.splitlines() == [f"{shares[i]:7.2%}  {CLASSES[i]}" for i in order]


@pytest.mark.filterwarnings("ignore")
def test_golden_inputs_give_golden_outputs_in_infer(bundle, infer):
    golden = load_file(bundle / "golden.safetensors")
    found = infer.classify(bundle / "model.onnx", golden["inputs"].numpy())
    expected = golden["outputs"].softmax(1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_the_int8_file_is_used_where_it_is_the_only_one_or_named(bundle, tmp_path):
    picture(tmp_path / "picture.png")
    named = classify(bundle, tmp_path / "picture.png", "--model", bundle / "model-int8.onnx")
    other = classify(bundle, tmp_path / "picture.png")
    shutil.copytree(bundle, tmp_path / "bundle")
    (tmp_path / "bundle" / "model.onnx").unlink()
    alone = classify(tmp_path / "bundle", tmp_path / "picture.png")
    assert alone.returncode == 0, alone.stderr
    assert alone.stdout == named.stdout != other.stdout


@pytest.mark.filterwarnings("ignore")
def test_what_is_wrong_is_reported_in_one_line(bundle, tmp_path):
    (tmp_path / "notes.txt").write_text("no picture")
    for name, told in (
        ("gone.png", "no such file"),
        ("notes.txt", "can't be read as a picture"),
    ):
        done = classify(bundle, tmp_path / name)
        assert done.returncode == 1
        assert done.stderr.startswith(f"infer.py: {tmp_path / name}")
        assert told in done.stderr
        assert len(done.stderr.splitlines()) == 1
    picture(tmp_path / "picture.png")
    done = classify(bundle, tmp_path / "picture.png", "--model", tmp_path / "gone.onnx")
    assert done.returncode == 1
    assert done.stderr == f"infer.py: {tmp_path / 'gone.onnx'} is missing\n"


@pytest.mark.filterwarnings("ignore")
def test_raw_outputs_are_saved_of_pictures_and_of_prepared_inputs(bundle, infer, tmp_path):
    picture(tmp_path / "picture.png")
    about = json.loads((bundle / "preprocess.json").read_text())
    np.save(tmp_path / "inputs.npy", infer.prepare(tmp_path / "picture.png", about))
    found = []
    for name in ("picture.png", "inputs.npy"):
        output = tmp_path / f"{name}.out.npy"
        done = classify(bundle, tmp_path / name, "--output", output)
        assert done.stdout == f"{output}: float32 [1, 4]\n", done.stderr
        found.append(np.load(output))
    np.testing.assert_array_equal(*found)


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_is_no_classifier_returns_raw_outputs(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "bundle")
    for name in ("labels.txt", "preprocess.json"):
        (tmp_path / "bundle" / name).unlink()
    np.save(tmp_path / "inputs.npy", np.zeros((3, 1, 8, 8), np.float32))
    done = classify(tmp_path / "bundle", tmp_path / "inputs.npy", cwd=tmp_path)
    assert done.stdout == "outputs.npy: float32 [3, 4]\n", done.stderr
    assert np.load(tmp_path / "outputs.npy").shape == (3, 4)
    picture(tmp_path / "picture.png")
    done = classify(tmp_path / "bundle", tmp_path / "picture.png")
    assert "preprocess.json is missing: give inputs that are prepared, as .npy" in done.stderr


def test_pictures_of_other_channels_have_no_mode():
    about = Preprocessing(image_size=8, steps=(), mean=(0.5,) * 2, std=(0.2,) * 2)
    assert mode_of(about) is None
