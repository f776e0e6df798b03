"""Predict on an image that is on the GPU already, and leave the masks there:
`python examples/gpu_images.py MY.bundle photo.jpg`.

Needs a GPU, a bundle with engines for it (docs/tensorrt.md), and `pip install pycuda`; with `--torch` PyTorch instead.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import cv2
import numpy as np

import instseg_rt


def with_pycuda(pixels: np.ndarray) -> Any:
    """The pixels as an array of PyCUDA, in the GPU's first context, which TensorRT and the CUDA ops use too."""
    import pycuda.autoprimaryctx  # noqa: F401 (makes the context)
    from pycuda import gpuarray

    return gpuarray.to_gpu(pixels)


def with_torch(pixels: np.ndarray) -> Any:
    """The pixels as a tensor of PyTorch."""
    import torch

    return torch.from_numpy(pixels).to("cuda:0")


def areas_with_pycuda(masks: Any) -> list[int]:
    """Set pixels of each mask, counted on the GPU."""
    from pycuda import gpuarray

    address, _ = masks.__cuda_array_interface__["data"]
    array = gpuarray.GPUArray(masks.shape, masks.dtype, base=masks, gpudata=address)
    return [int(gpuarray.sum(array[i], dtype=np.int32).get()) for i in range(len(masks))]


def areas_with_torch(masks: Any) -> list[int]:
    """Set pixels of each mask, counted on the GPU."""
    import torch

    return torch.from_dlpack(masks).sum(dim=(1, 2)).tolist()


def main() -> str | None:
    """What went wrong, or None."""
    parser = argparse.ArgumentParser(description="Predict on an image that is on the GPU already.")
    parser.add_argument("bundle")
    parser.add_argument("image")
    parser.add_argument("--torch", action="store_true", help="a tensor of PyTorch instead of an array of PyCUDA")
    arguments = parser.parse_args()
    pixels = cv2.imread(arguments.image)
    if pixels is None:
        return f"{arguments.image}: cannot be read as an image"
    library = "torch" if arguments.torch else "pycuda"
    try:
        image = (with_torch if arguments.torch else with_pycuda)(pixels)
    except ImportError as error:
        return f"{error}: pip install {library}"
    except Exception as error:  # each library has exceptions of its own for a missing GPU
        return f"{library} cannot use a GPU: {error}"
    try:
        with instseg_rt.Predictor(arguments.bundle, device="gpu:0") as predictor:
            print(f"the work around the network is done on {predictor.ops}")
            (result,) = predictor.predict_on_gpu(image)
            areas = (areas_with_torch if arguments.torch else areas_with_pycuda)(result.masks)
    except instseg_rt.Error as error:
        return str(error)
    for label, score, area in zip(result.labels, result.scores, areas, strict=True):
        print(f"{label} {score:.2f}: {area} pixels")
    return None


if __name__ == "__main__":
    sys.exit(main())
