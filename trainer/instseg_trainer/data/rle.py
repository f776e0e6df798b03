"""Run-length encoded masks as COCO files hold them: column-major, the first run counts zeros."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instseg_trainer.data.errors import DataError

# A compressed count carries 5 bits a character; 13 characters are more than any 64-bit count needs.
_MAXIMUM_CHARACTERS_PER_COUNT = 13


@dataclass(frozen=True)
class RunLength:
    """A binary mask of `height` x `width` pixels as runs `counts` (r,), zeros first, column by column."""

    height: int
    width: int
    counts: NDArray[np.int64]

    def decode(self) -> NDArray[np.uint8]:
        """The mask as (height, width) uint8 of 0 and 1."""
        values = np.zeros(len(self.counts), dtype=np.uint8)
        values[1::2] = 1
        return np.ascontiguousarray(np.repeat(values, self.counts).reshape(self.width, self.height).T)

    @staticmethod
    def from_coco(data: Mapping[str, Any], height: int, width: int) -> RunLength:
        """Read COCO's {"size": [h, w], "counts": list | str | bytes}.

        `height` and `width` are those of the image; a mask of another size, or runs that do not add up to it,
        raise DataError (the message has no file name: the caller knows it).
        """
        size = data.get("size")
        if not isinstance(size, list | tuple) or list(size) != [height, width]:
            raise DataError(f"RLE size is {size!r}, expected the image's [{height}, {width}]")
        counts = data.get("counts")
        if isinstance(counts, str | bytes):
            runs = _decompress(counts, height * width)
        elif isinstance(counts, list):
            if not all(type(count) is int and 0 <= count <= height * width for count in counts):
                raise DataError(f"RLE counts must be whole numbers from 0 to {height * width}")
            runs = counts
        else:
            raise DataError(f"RLE counts are a {type(counts).__name__}, expected a list or a string")
        total = sum(runs)
        if total != height * width:
            raise DataError(f"RLE counts add up to {total}, expected {height} x {width} = {height * width}")
        return RunLength(height, width, np.array(runs, dtype=np.int64))


def _decompress(text: str | bytes, pixels: int) -> list[int]:
    """Runs of a compressed string; each is kept within 0..pixels, and no more runs than pixels are accepted.

    Every character holds 5 bits of a little-endian number and a continuation bit (32), offset by 48; the last
    character's bit 16 is the sign. From the fourth run on (index 3), a number is the difference to the run
    two before.
    """
    codes = text.encode("ascii", errors="replace") if isinstance(text, str) else text
    if len(codes) > _MAXIMUM_CHARACTERS_PER_COUNT * (pixels + 2):
        raise DataError(f"compressed RLE has {len(codes)} characters, too many for {pixels} pixels")
    runs: list[int] = []
    value = shift = 0
    for position, code in enumerate(codes):
        bits = code - 48
        if not 0 <= bits < 64:
            raise DataError(f"compressed RLE has the invalid character {chr(code)!r} at position {position}")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            if shift >= 5 * _MAXIMUM_CHARACTERS_PER_COUNT:
                raise DataError(f"compressed RLE has an endless count at position {position}")
            continue
        if bits & 16:
            value -= 1 << shift
        if len(runs) > 2:
            value += runs[-2]
        if not 0 <= value <= pixels:
            raise DataError(f"compressed RLE has the run length {value}, expected 0 to {pixels}")
        runs.append(value)
        value = shift = 0
    if shift:
        raise DataError("compressed RLE ends in the middle of a count")
    return runs
