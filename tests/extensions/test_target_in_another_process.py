"""A target outside the package, in another process, is as good as those inside."""

import pytest
import torch
from torch import nn

from autocompress.errors import ConfigurationError
from autocompress.targets import Effort, LatencyBenchmark, measure_alone
from autocompress.testing.targets import check_target

for package in ("onnx", "onnxruntime", "onnxscript"):
    pytest.importorskip(package)
pytestmark = pytest.mark.filterwarnings("ignore")  # of the exporter


@pytest.fixture(scope="module")
def target(example):
    made = example("own_target").target()
    yield made
    made.connection.close()


def net(width):
    torch.manual_seed(0)
    layers = nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * width, 10)
    return nn.Sequential(*layers).eval()


def opened(target, model, example):
    artifact = target.prepare(model, "fp32", example=example, calibration=iter(()))
    return target.open(artifact, example)


def test_it_keeps_the_contract(target):
    check_target(target, net(4), torch.rand(32, 1, 8, 8))


def test_latencies_are_measured_beside_a_baseline(target):
    example, effort = torch.rand(1, 1, 8, 8), Effort(budget_s=0.2)
    baseline = opened(target, net(64), example)
    reference = measure_alone(target, baseline, effort)
    benchmark = LatencyBenchmark(target, baseline, effort, reference_ms=reference.latency_ms)
    found = benchmark.measure(opened(target, net(1), example))
    assert found.estimate.low <= found.estimate.value <= found.estimate.high
    assert found.latency_ms == pytest.approx(found.ratio * reference.latency_ms)


def test_what_goes_wrong_there_is_said_here(target):
    session = opened(target, net(2), torch.rand(1, 1, 8, 8))
    with pytest.raises(ConfigurationError, match=r"the agent: .*Got invalid dimensions"):
        session.run(torch.rand(1, 1, 9, 9))
