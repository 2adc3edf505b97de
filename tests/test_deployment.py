import pytest
import torch

from autocompress.deployment import CALIBRATION_IMAGES, deploy, deployed_file
from autocompress.measurement.size import state_bytes
from autocompress.training.evaluation import evaluate, score

CPU = torch.device("cpu")


def test_fp32_is_the_network_itself(trained_vgg, batches):
    deployed = deploy(trained_vgg, "fp32", batches, device=CPU)
    assert deployed.artifact is trained_vgg
    assert deployed.size_bytes == state_bytes(trained_vgg)


def test_fp16_is_half_the_size(trained_vgg, batches):
    deployed = deploy(trained_vgg, "fp16", batches, device=CPU)
    floats = sum(t.numel() for t in trained_vgg.state_dict().values() if t.is_floating_point())
    assert deployed.size_bytes == state_bytes(trained_vgg) - 2 * floats
    found = score(deployed.run, batches.valid).accuracy
    assert found == pytest.approx(evaluate(trained_vgg, batches.valid).accuracy, abs=0.01)


@pytest.mark.filterwarnings("ignore")  # of the ONNX exporter
def test_int8_is_a_file_that_can_be_kept(trained_vgg, batches):
    for package in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    deployed = deploy(trained_vgg, "int8", batches, device=CPU)
    assert deployed.size_bytes == len(deployed.artifact)
    accuracy = evaluate(trained_vgg, batches.valid).accuracy
    found = score(deployed.run, batches.valid)
    assert found.accuracy == pytest.approx(accuracy, abs=0.02)
    assert score(deployed_file(deployed.artifact, CPU).run, batches.valid) == found
    outputs = deployed.run(batches.example)
    assert not torch.equal(outputs, trained_vgg(batches.example))  # it is not the network
    assert outputs.shape == (len(batches.example), 10)


@pytest.mark.gpu
def test_half_precision_runs_on_the_gpu(trained_vgg, batches):
    device = torch.device("cuda")
    deployed = deploy(trained_vgg.to(device), "fp16", batches, device=device)
    found = score(lambda images: deployed.run(images.to(device)).cpu(), batches.valid)
    assert found.accuracy > 0.9


def test_calibration_images_are_the_same_training_images_every_time(batches):
    first, second = (torch.cat([*batches.calibration(CALIBRATION_IMAGES)]) for _ in range(2))
    assert torch.equal(first, second)
    assert len(first) == CALIBRATION_IMAGES
    train = {
        image.numpy().tobytes() for images, _ in batches.reseeded(0).train for image in images
    }
    assert all(image.numpy().tobytes() in train for image in first)
    assert len(torch.cat([*batches.calibration(10**6)])) == len(batches.splits.train)
