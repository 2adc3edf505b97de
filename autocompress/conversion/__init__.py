"""Models as files that other programs run: exported graphs, ONNX, lower precision."""
