"""Typed FP16 stages: precision is written into the ONNX graph, as strongly typed TensorRT networks want it."""
