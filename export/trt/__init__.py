"""TensorRT: engine builds and lints."""
