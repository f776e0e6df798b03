"""Engines: what TensorRT and TensorRT-RTX make of a bundle's stages for one kind of GPU."""
