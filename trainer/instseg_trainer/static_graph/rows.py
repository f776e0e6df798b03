"""What all graphs need. They have no branches: where nothing is found, they go on with one row that says so."""

from __future__ import annotations

import paddle


def at_least_one(rows: paddle.Tensor, filler: list[float]) -> paddle.Tensor:
    """rows (N, K), K known -> the same where N > 0, else the row `filler`."""
    spare = paddle.to_tensor([filler], dtype=rows.dtype)
    # Cut from the longer, which is never empty: oneDNN refuses slices without an element.
    return paddle.concat([rows, spare])[: paddle.shape(rows)[0].clip(min=1)]


def one_image(values: paddle.Tensor) -> paddle.Tensor:
    """values (B, 2), which are the same: a batch of more than one image is an error of Paddle's, not a wrong result."""
    return values.reshape([1, 2])


def original_size(im_shape: paddle.Tensor, scale_factor: paddle.Tensor) -> paddle.Tensor:
    """Height and width of the image's file (2,) float32; both (1, 2): height and width after the resize, and by what
    they were multiplied.
    """
    return paddle.floor(im_shape[0] / scale_factor[0] + 0.5)


def row_count(rows: paddle.Tensor) -> paddle.Tensor:
    """(1,) int32."""
    return paddle.shape(rows)[:1].astype("int32")
