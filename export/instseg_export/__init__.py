"""Turn Paddle weights into bundles: ONNX stages, a manifest, and a verdict on both."""
