"""What a model finds in one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Detections:
    """N detections of one image in its original pixels.

    class_ids (N,) int64, scores (N,) float32, boxes (N, 4) float32 x1, y1, x2, y2 (not clipped), masks (N, H, W) bool.
    """

    class_ids: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    masks: np.ndarray

    @classmethod
    def empty(cls, height: int, width: int) -> Detections:
        return cls(
            np.zeros(0, np.int64),
            np.zeros(0, np.float32),
            np.zeros((0, 4), np.float32),
            np.zeros((0, height, width), bool),
        )
