"""From a decoded image to the network input, with OpenCV and NumPy."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from instseg_rt._core import InputSpec

_INTERPOLATION = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}


@dataclass(frozen=True)
class Geometry:
    """Heights and widths: of the image, of the part of the network input that shows it, and of the network input."""

    image: tuple[int, int]
    shown: tuple[int, int]
    network: tuple[int, int]


def preprocess(image: np.ndarray, spec: InputSpec) -> tuple[np.ndarray, Geometry]:
    """image: (H, W, 3) uint8 BGR. The network input is (1, 3, height, width) float32."""
    geometry = _geometry(image.shape[0], image.shape[1], spec)
    if spec.color == "rgb":
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    size = geometry.shown[::-1]
    if spec.normalize_first:
        values = cv2.resize(_normalise(image, spec), size, interpolation=_INTERPOLATION[spec.interpolation])
    else:
        values = _normalise(cv2.resize(image, size, interpolation=_INTERPOLATION[spec.interpolation]), spec)
    if geometry.network == geometry.shown:
        return np.ascontiguousarray(values.transpose(2, 0, 1)[None]), geometry
    network = np.zeros((1, 3, *geometry.network), np.float32)
    network[0, :, : geometry.shown[0], : geometry.shown[1]] = values.transpose(2, 0, 1)
    return network, geometry


def _normalise(image: np.ndarray, spec: InputSpec) -> np.ndarray:
    mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)
    return (image.astype(np.float32) * np.float32(spec.scale) - mean) / std


def _geometry(height: int, width: int, spec: InputSpec) -> Geometry:
    if spec.height is not None and spec.width is not None:
        return Geometry((height, width), (spec.height, spec.width), (spec.height, spec.width))
    assert spec.short_side is not None and spec.long_side is not None
    factor = min(spec.short_side / min(height, width), spec.long_side / max(height, width))
    shown = max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))
    stride = spec.pad_stride
    return Geometry((height, width), shown, (-(-shown[0] // stride) * stride, -(-shown[1] // stride) * stride))
