import json
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from autocompress.conversion.onnx_files import write_onnx
from autocompress.errors import ConfigurationError
from autocompress.measurement import (
    RUNTIMES,
    DeviceLock,
    LatencySettings,
    Ruler,
    differences,
    fingerprint,
    latency,
    measure_reference,
)

BRIEF = LatencySettings(device="cpu", budget_s=0.1)


@pytest.fixture(autouse=True)
def own_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "DeviceLock", lambda device: DeviceLock(device, tmp_path))


def small(width=4):
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Flatten())


def test_a_reference_is_its_own_baseline():
    found = measure_reference(small(), torch.rand(1, 1, 6, 6), BRIEF)
    assert found.latency_ms > 0
    assert found.ratio == 1
    assert found.ratio_low <= 1 <= found.ratio_high
    assert found.p10_ms <= found.p50_ms <= found.p90_ms
    assert found.n >= len(found.samples_ms) > 0


def test_a_paired_latency_is_the_ratio_times_the_reference():
    ruler = Ruler(small(), torch.rand(1, 1, 6, 6), BRIEF, reference_ms=200.0)
    found = ruler.measure(small(2))
    assert found.latency_ms == pytest.approx(200 * found.ratio)
    assert found.ratio_low <= found.ratio <= found.ratio_high


def test_the_baseline_is_prepared_once_for_all_candidates(monkeypatch):
    prepared = []

    def eager(model, example):
        prepared.append(model[0].out_channels)
        return lambda: model(example)

    monkeypatch.setattr(latency, "RUNTIMES", {**RUNTIMES, "torch": eager})
    ruler = Ruler(small(4), torch.rand(1, 1, 6, 6), BRIEF, reference_ms=1.0)
    assert prepared == []
    for width in (2, 3):
        ruler.measure(small(width))
    assert prepared == [4, 2, 3]


def test_measuring_changes_neither_models_nor_threads():
    model = small().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    threads = torch.get_num_threads()
    settings = replace(BRIEF, threads=threads + 1, channels_last=True)
    Ruler(model, torch.rand(1, 1, 6, 6), settings, reference_ms=1.0).measure(model)
    assert model.training
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert torch.get_num_threads() == threads


def test_the_device_is_held_alone_while_calls_are_timed(monkeypatch):
    events = []

    class Watched:
        def __init__(self, device):
            assert torch.device(device).type == "cpu"

        def exclusive(self):
            return self

        def __enter__(self):
            events.append("locked")

        def __exit__(self, *error):
            events.append("released")

    sample = latency.sample
    monkeypatch.setattr(latency, "DeviceLock", Watched)
    monkeypatch.setattr(
        latency, "sample", lambda *a, **k: events.append("timed") or sample(*a, **k)
    )
    measure_reference(small(), torch.rand(1, 1, 6, 6), BRIEF)
    assert events == ["locked", "timed", "released"]


def test_a_latency_becomes_plain_data():
    found = measure_reference(small(), torch.rand(1, 1, 6, 6), BRIEF)
    data = json.loads(json.dumps(found.to_dict()))
    assert data["latency_ms"] == found.latency_ms
    assert data["statistic"] in ("median", "cpu", "p10")
    assert len(data["samples_ms"]) <= 1000


def test_all_wrong_settings_are_told_at_once():
    with pytest.raises(ConfigurationError) as caught:
        LatencySettings(
            device="gpu", runtime="onnx", batch_size=0, threads=0, budget_s=0, contention=2
        )
    told = caught.value.problems
    assert [line.split(":")[0] for line in told] == [
        "device", "runtime", "batch_size", "threads", "budget_s", "contention",
    ]  # fmt: skip
    assert "torch, torch-compile, cuda-graph, onnxruntime" in told[1]


def test_a_batch_of_another_size_is_refused():
    with pytest.raises(ConfigurationError, match=r"expected 2 example images .*\[1, 1, 6, 6\]"):
        measure_reference(small(), torch.rand(1, 1, 6, 6), replace(BRIEF, batch_size=2))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_refused():
    with pytest.raises(ConfigurationError, match="no CUDA device"):
        measure_reference(small(), torch.rand(1, 1, 6, 6), replace(BRIEF, device="cuda"))


def test_what_a_runtime_needs_is_told_before_there_is_a_model(monkeypatch):
    BRIEF.require()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="onnxruntime, onnxscript: pip install"):
        replace(BRIEF, runtime="onnxruntime").require()
    with pytest.raises(ConfigurationError, match=r"needs latency\.device = 'cuda'"):
        replace(BRIEF, runtime="cuda-graph").require()


def test_cuda_graphs_are_refused_on_the_cpu():
    settings = replace(BRIEF, runtime="cuda-graph")
    with pytest.raises(ConfigurationError, match=r"needs latency\.device = 'cuda'"):
        measure_reference(small(), torch.rand(1, 1, 6, 6), settings)


def test_onnx_runtime_without_its_packages_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    settings = replace(BRIEF, runtime="onnxruntime")
    with pytest.raises(ConfigurationError, match=r"pip install 'autocompress\[onnx\]'"):
        measure_reference(small(), torch.rand(1, 1, 6, 6), settings)


@pytest.mark.filterwarnings("ignore")
def test_onnx_runtime_computes_the_same():
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    model, images = small().eval(), torch.rand(1, 1, 6, 6)
    with torch.no_grad():
        expected = model(images)
        (output,) = RUNTIMES["onnxruntime"](model, images)()
    torch.testing.assert_close(torch.from_numpy(output), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_the_content_of_an_onnx_file_is_measured_like_a_model(tmp_path):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    model, images = small().eval(), torch.rand(1, 1, 6, 6)
    write_onnx(model, images, tmp_path / "model.onnx")
    content = (tmp_path / "model.onnx").read_bytes()
    ruler = Ruler(model, images, replace(BRIEF, runtime="onnxruntime"), reference_ms=2.0)
    assert ruler.measure(content).n > 0
    eager = Ruler(model, images, BRIEF, reference_ms=2.0)
    with pytest.raises(ConfigurationError, match="runs in runtime 'onnxruntime', not 'torch'"):
        eager.measure(content)


@pytest.mark.filterwarnings("ignore")
def test_a_file_for_one_image_is_not_measured_with_more(tmp_path):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    model, images = nn.Sequential(nn.Unflatten(0, (1, 1)), nn.Flatten(1)), torch.rand(1, 1, 6, 6)
    settings = replace(BRIEF, runtime="onnxruntime", batch_size=2)
    with pytest.raises(ConfigurationError, match=r"one image at a time, not latency\.batch_size"):
        measure_reference(model, images.repeat(2, 1, 1, 1), settings)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_models_compute_the_same_however_many_there_are():
    images = torch.rand(1, 1, 6, 6)
    for width in range(1, 13):
        model = small(width).eval()
        compiled = RUNTIMES["torch-compile"](model, images)()
        torch.testing.assert_close(compiled, model(images), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_can_not_be_compiled_is_a_clear_error():
    class Stubborn(nn.Module):
        def forward(self, inputs):
            return inputs * 2 if float(inputs.sum()) > 0 else inputs

    with pytest.raises(ConfigurationError, match="'torch-compile' can't run this model here"):
        RUNTIMES["torch-compile"](Stubborn().eval(), torch.rand(1, 1, 6, 6))


@pytest.mark.gpu
@pytest.mark.parametrize("runtime", ["torch", "cuda-graph", "torch-compile"])
def test_cuda_runtimes_measure(runtime):
    settings = replace(BRIEF, device="cuda", runtime=runtime, channels_last=True)
    found = measure_reference(small(), torch.rand(1, 1, 6, 6), settings)
    assert found.latency_ms > 0


@pytest.mark.gpu
def test_a_cuda_graph_outlives_whoever_prepared_it():
    model, images = small().cuda().eval(), torch.rand(1, 1, 6, 6, device="cuda")
    with torch.no_grad():
        expected = model(images).clone()
    call = RUNTIMES["cuda-graph"](model, images)
    del model, images
    torch.cuda.empty_cache()
    others = [torch.full((1 << 16,), torch.nan, device="cuda") for _ in range(256)]
    assert torch.allclose(call(), expected, atol=1e-3)
    assert len(others) == 256


def test_a_fingerprint_names_what_latencies_depend_on():
    facts = fingerprint(BRIEF)
    assert facts["torch"] == torch.__version__
    assert facts["python"] == sys.version.split()[0]
    assert facts["cpu"]
    assert json.loads(json.dumps(facts)) == facts
    assert differences(facts, fingerprint(BRIEF)) == ()


def test_differing_fingerprints_are_told_apart():
    other = fingerprint(replace(BRIEF, threads=2, runtime="onnxruntime"))
    told = differences(fingerprint(BRIEF), other)
    assert "threads: 1 before, 2 now" in told
    assert "runtime: 'torch' before, 'onnxruntime' now" in told
