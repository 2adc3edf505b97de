"""Each target of this machine: what it refuses, what it runs, and what it promises."""

import json
import sys
import threading

import pytest
import torch
from torch import nn

from autocompress.errors import ConfigurationError
from autocompress.targets import (
    TARGETS,
    Artifact,
    Effort,
    LatencyBenchmark,
    differences,
    local_target,
    measure_alone,
    state_bytes,
)
from autocompress.targets.half import Half
from autocompress.targets.torch_runtimes import CudaGraph, TorchCompiled

EXAMPLE = torch.rand(1, 1, 6, 6)
BRIEF = Effort(budget_s=0.1)
UNTOUCHED = iter(())  # calibration that is not needed


def small(width=4):
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Flatten()).eval()


def on_cpu(runtime="torch", **settings):
    return local_target(runtime, device="cpu", **settings)


def opened(target, model, example=EXAMPLE, precision="fp32"):
    artifact = target.prepare(model, precision, example=example, calibration=UNTOUCHED)
    return target.open(artifact, example)


def test_all_wrong_settings_are_named_at_once():
    with pytest.raises(ConfigurationError) as caught:
        local_target(device="gpu", batch_size=0, threads=0)
    assert [line.split(":")[0] for line in caught.value.problems] == [
        "device", "threads", "batch_size",
    ]  # fmt: skip


def test_an_unknown_runtime_is_refused_with_the_known_ones():
    known = "torch, torch-compile, cuda-graph, onnxruntime"
    with pytest.raises(ConfigurationError, match=rf"'onnxruntim' \(did you mean .*: {known}"):
        local_target("onnxruntim")


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
@pytest.mark.filterwarnings("ignore")
def test_a_batch_of_another_size_is_refused(runtime, onnx):
    target = on_cpu(runtime, batch_size=2)
    with pytest.raises(ConfigurationError, match=r"expected 2 example inputs .*\[1, 1, 6, 6\]"):
        opened(target, small())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_missing_device_is_refused():
    target = local_target(device="cuda")
    for ask in (target.check, target.fingerprint, lambda: target.name, target.exclusive):
        with pytest.raises(ConfigurationError, match="no CUDA device"):
            ask()


def test_what_a_runtime_needs_is_said_before_there_is_a_model(monkeypatch):
    on_cpu().check()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="onnxruntime, onnxscript: pip install"):
        on_cpu("onnxruntime").check()
    with pytest.raises(ConfigurationError, match="needs device = 'cuda'"):
        on_cpu("cuda-graph").check()


def test_cuda_graphs_are_refused_on_the_cpu():
    with pytest.raises(ConfigurationError, match="needs device = 'cuda'"):
        opened(on_cpu("cuda-graph"), small())


def test_onnx_runtime_without_its_packages_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'autocompress\[onnx\]'"):
        opened(on_cpu("onnxruntime"), small())


def test_precisions_that_a_target_does_not_run_are_refused():
    cases = {
        ("torch", "int8"): r"precision 'int8': torch on cpu runs fp32$",
        ("torch", "fp16"): r"precision 'fp16': torch on cpu runs fp32$",
        ("onnxruntime", "fp16"): "onnxruntime on cpu runs fp32, int8",
        ("onnxruntime", "int"): r"'int' \(did you mean 'int8'\?\)",
    }
    for (runtime, precision), message in cases.items():
        with pytest.raises(ConfigurationError, match=message):
            opened(on_cpu(runtime), small(), precision=precision)


def test_fp32_in_torch_is_the_network_itself(trained_vgg, valid_images):
    artifact = on_cpu().prepare(
        trained_vgg, "fp32", example=valid_images[:1], calibration=UNTOUCHED
    )
    assert artifact.content is trained_vgg
    assert artifact.size_bytes == state_bytes(trained_vgg)
    outputs = on_cpu().open(artifact, valid_images[:1]).run(valid_images)
    with torch.no_grad():
        assert torch.equal(outputs, trained_vgg(valid_images))


def test_a_model_that_trains_is_deployed_in_evaluation_mode():
    model = small().train()
    artifact = on_cpu().prepare(model, "fp32", example=EXAMPLE, calibration=UNTOUCHED)
    assert not artifact.content.training
    assert model.training


def test_fp16_is_half_the_size(trained_vgg):
    floats = sum(t.numel() for t in trained_vgg.state_dict().values() if t.is_floating_point())
    assert state_bytes(Half(trained_vgg)) == state_bytes(trained_vgg) - 2 * floats


@pytest.mark.filterwarnings("ignore")  # of the ONNX exporter
def test_int8_is_a_file_that_can_be_kept(
    trained_vgg, train_images, valid_images, valid_labels, onnx
):
    target, example = on_cpu("onnxruntime"), valid_images[:1]
    artifact = target.prepare(
        trained_vgg, "int8", example=example, calibration=iter(train_images[:256].split(64))
    )
    assert artifact.size_bytes == len(artifact.content)
    outputs = target.open(artifact, example).run(valid_images)
    with torch.no_grad():
        expected = trained_vgg(valid_images)
    accuracies = [float((o.argmax(1) == valid_labels).float().mean()) for o in (outputs, expected)]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.02)
    assert accuracies[1] > 0.9
    assert not torch.equal(outputs, expected)  # it is not the network
    assert outputs.shape == (len(valid_images), 10)
    kept = Artifact(content=bytes(artifact.content), format="onnx", precision="int8", size_bytes=1)
    assert torch.equal(target.open(kept, example).run(valid_images), outputs)


@pytest.mark.filterwarnings("ignore")
def test_onnx_runtime_computes_the_same_for_any_batch(trained_vgg, valid_images, onnx):
    session = opened(on_cpu("onnxruntime"), trained_vgg, valid_images[:1])
    for count in (1, 7):
        with torch.no_grad():
            expected = trained_vgg(valid_images[:count])
        torch.testing.assert_close(
            session.run(valid_images[:count]), expected, rtol=1e-4, atol=1e-4
        )


@pytest.mark.filterwarnings("ignore")
def test_artifacts_of_another_runtime_are_refused(onnx):
    file, network = (
        on_cpu(runtime).prepare(small(), "fp32", example=EXAMPLE, calibration=UNTOUCHED)
        for runtime in ("onnxruntime", "torch")
    )
    with pytest.raises(ConfigurationError, match="'torch' runs networks, not files of format"):
        on_cpu().open(file, EXAMPLE)
    with pytest.raises(ConfigurationError, match="'onnxruntime' runs ONNX files, not networks"):
        on_cpu("onnxruntime").open(network, EXAMPLE)


@pytest.mark.filterwarnings("ignore")
def test_a_file_for_one_input_is_not_timed_with_more(onnx):
    model = nn.Sequential(nn.Unflatten(0, (1, 1)), nn.Flatten(1))
    with pytest.raises(ConfigurationError, match="one input at a time, not batch_size = 2"):
        opened(on_cpu("onnxruntime", batch_size=2), model, EXAMPLE.repeat(2, 1, 1, 1))


@pytest.mark.filterwarnings("ignore")
def test_preparing_a_file_waits_for_a_measurement(onnx):
    """Export and calibration would disturb it."""
    target = on_cpu("onnxruntime")
    thread = threading.Thread(target=opened, args=(target, small()), daemon=True)
    with target.exclusive():
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
    thread.join(60)
    assert not thread.is_alive()


def test_measuring_changes_neither_models_nor_threads():
    model = small().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    threads = torch.get_num_threads()
    target = on_cpu(threads=threads + 1, channels_last=True)
    baseline, session = opened(target, model), opened(target, model)
    LatencyBenchmark(target, baseline, BRIEF, reference_ms=1.0).measure(session)
    assert model.training
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())
    assert torch.get_num_threads() == threads


def test_calls_are_timed_with_the_targets_threads_and_layout():
    seen = []

    class Watched(nn.Module):
        def forward(self, inputs):
            last = inputs.is_contiguous(memory_format=torch.channels_last)
            seen.append((torch.get_num_threads(), last))
            return inputs

    images = torch.rand(2, 3, 4, 4)
    target = on_cpu(threads=3, channels_last=True, batch_size=2)
    opened(target, Watched().eval(), images).time(2)
    assert seen == [(3, True)] * 2


def test_a_closed_session_says_so():
    session = opened(on_cpu(), small())
    session.close()
    for use in (lambda: session.run(EXAMPLE), lambda: session.time(3)):
        with pytest.raises(ValueError, match="the session is closed"):
            use()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_compiled_models_compute_the_same_however_many_there_are():
    for width in range(1, 13):
        model = small(width)
        compiled = TorchCompiled(device="cpu").load(model, EXAMPLE)()
        torch.testing.assert_close(compiled, model(EXAMPLE), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_can_not_be_compiled_is_a_clear_error():
    class Stubborn(nn.Module):
        def forward(self, inputs):
            return inputs * 2 if float(inputs.sum()) > 0 else inputs

    with pytest.raises(ConfigurationError, match="'torch-compile' can't run this model here"):
        opened(on_cpu("torch-compile"), Stubborn().eval())


def test_a_target_of_ones_own_is_found_by_its_name():
    def phone_of_a_test(**settings):
        return local_target(**settings)

    TARGETS.register(phone_of_a_test)
    assert local_target("phone_of_a_test", device="cpu", batch_size=3).batch_size == 3


@pytest.mark.gpu
@pytest.mark.parametrize("runtime", ["torch", "cuda-graph", "torch-compile"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_cuda_runtimes_measure(runtime, precision):
    target = local_target(runtime, device="cuda", channels_last=True)
    session = opened(target, small(), precision=precision)
    assert measure_alone(target, session, BRIEF).latency_ms > 0


@pytest.mark.gpu
def test_half_precision_runs_on_the_gpu(trained_vgg, valid_images, valid_labels):
    target = local_target(device="cuda")
    session = opened(target, trained_vgg.cuda(), valid_images[:1], "fp16")
    outputs = session.run(valid_images)
    assert outputs.device == valid_images.device
    assert float((outputs.argmax(1) == valid_labels).float().mean()) > 0.9


@pytest.mark.gpu
def test_a_cuda_graph_outlives_whoever_prepared_it():
    model, images = small().cuda(), EXAMPLE.cuda()
    with torch.no_grad():
        expected = model(images).clone()
    call = CudaGraph(device="cuda").load(model, images)
    del model, images
    torch.cuda.empty_cache()
    others = [torch.full((1 << 16,), torch.nan, device="cuda") for _ in range(256)]
    assert torch.allclose(call(), expected, atol=1e-3)
    assert len(others) == 256


def test_a_fingerprint_names_what_latencies_depend_on():
    facts = on_cpu().fingerprint()
    assert facts["torch"] == torch.__version__
    assert facts["python"] == sys.version.split()[0]
    assert facts["cpu"]
    assert json.loads(json.dumps(facts)) == facts
    assert differences(facts, on_cpu().fingerprint()) == ()


def test_differing_fingerprints_are_distinguished():
    found = differences(on_cpu().fingerprint(), on_cpu("onnxruntime", threads=2).fingerprint())
    assert "threads: 1 before, 2 now" in found
    assert "runtime: 'torch' before, 'onnxruntime' now" in found
