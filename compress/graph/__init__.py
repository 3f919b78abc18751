"""ONNX graphs as onnx_ir has them: nodes, constants and masks."""
