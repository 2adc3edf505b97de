"""Texts of the model card, with places for what differs."""

STAGES = {
    "distillation": "in every training run it also learned from the outputs of a teacher",
    "sparsification": "parts of its weights were driven to zero while it trained",
    "pruning": "what was zero was removed from the network, without changing its outputs",
    "factorization": "weights were replaced by products of two thin ones, where that is smaller",
    "late_factorization": "the same once more after the last training, untrained",
    "fold": "batch norms were folded into the layers beside them, without changing its outputs",
    "training": "how long and how fast it was trained",
}
PT2 = """From the exported graph, with PyTorch:

```python
import torch

model = torch.export.load("model.pt2").module()
outputs = model(inputs)  # {inputs}
```
"""
PICTURE = """A picture, with ONNX Runtime, NumPy and Pillow (`pip install onnxruntime numpy \
pillow`):

    python infer.py picture.png{more}
"""
ARRAY = """Inputs that are prepared, with ONNX Runtime and NumPy (`pip install onnxruntime numpy`):

    python infer.py inputs.npy --output outputs.npy

`inputs.npy` is {inputs}; `outputs.npy` holds the model's raw outputs.
"""
OPENVINO = """With OpenVINO (`pip install openvino`):

```python
import openvino

model = openvino.Core().compile_model("model.xml", "CPU")
outputs = model(inputs)[0]  # NumPy, {inputs}
```
"""
EXECUTORCH = """On phones and other devices, one input at a time, with \
[ExecuTorch](https://docs.pytorch.org/executorch/) and its XNNPACK backend; to try it in Python:

```python
from executorch.runtime import Runtime

method = Runtime.get().load_program("{file}").load_method("forward")
outputs = method.execute([inputs])[0]  # {inputs}
```
"""
LOAD = """Train on, as an ordinary module with the compressed sizes:

```python
import autocompress as ac

model = ac.load("path/to/this/folder")
```
"""
LOAD_ALLOWED = """Train on, as an ordinary module with the compressed sizes. This calls \
`{factory}`, which must be importable; the bundle holds no code:

```python
import autocompress as ac

model = ac.load("path/to/this/folder", allow=["{package}"])
```
"""
NO_FACTORY = """This bundle does not know which function builds the uncompressed model. Its model \
files run as they are; to train on, give that function:

```python
import autocompress as ac

model = ac.load("path/to/this/folder", factory=build_uncompressed_model)
```
"""
RUNTIMES = {
    "model.pt2": PT2,
    "model.xml": OPENVINO,
    "model.pte": EXECUTORCH,
    "model-int8.pte": EXECUTORCH,
}
PRECISIONS = {
    "int8": "the numbers above are those of `model-int8.onnx`, the file that the study measured",
    "fp16": "the numbers above are those of the model in float16 on a GPU (`model.half()`)",
}
CHECKED = """## Checked

Each file was reloaded in a fresh process. Difference: the largest of the outputs from those of \
the model that was exported, as a fraction of their standard deviation (allowed: {tolerance:.0e}; \
int8 may lose {points:g} % of the score instead). Latency: median (10th to 90th percentile) of n \
calls of {batch_size} input(s) with {threads} thread(s) in the file's own runtime, and the \
uncompressed model in the same runtime.
"""
