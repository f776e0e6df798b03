"""COCO run-length encoding of masks: column-major runs, zeros first, packed into printable characters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Rle:
    """A compressed mask of `height` x `width` pixels, as COCO's `segmentation` holds it."""

    height: int
    width: int
    counts: str

    def to_coco(self) -> dict[str, object]:
        """The JSON value of an annotation's `segmentation`."""
        return {"size": [self.height, self.width], "counts": self.counts}


def encode_mask(mask: NDArray[np.bool_]) -> Rle:
    """Compressed RLE of a mask (H, W), bool. ValueError for any other shape or dtype."""
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise ValueError(f"mask has shape {mask.shape} and dtype {mask.dtype}, expected (H, W) bool")
    pixels = mask.ravel(order="F")
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    edges = np.concatenate(([0], changes, [pixels.size]))
    runs = np.diff(edges)
    if pixels.size and pixels[0]:
        runs = np.concatenate(([0], runs))
    return Rle(mask.shape[0], mask.shape[1], _pack(runs))


def _pack(runs: NDArray[np.int64]) -> str:
    """Each run from the fourth on as the difference to the run two before it, in groups of 5 bits, low first.

    A group's sixth bit says that more follow; a value ends when the rest is only its sign. Adding 48 makes it
    printable.
    """
    value = runs.astype(np.int64)
    value[3:] -= runs[1:-2]
    groups, used = [], []
    going = np.ones(value.shape, bool)
    while going.any():
        bits = value & 0x1F
        value = value >> 5
        sign = (bits & 0x10) != 0
        more = np.where(sign, value != -1, value != 0)
        groups.append(bits + 0x20 * more + 48)
        used.append(going)
        going = going & more
    return np.stack(groups, 1)[np.stack(used, 1)].astype(np.uint8).tobytes().decode("ascii")
