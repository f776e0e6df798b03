"""Does the ONNX graph say what the Paddle model says?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import paddle
from paddle import nn

Progress = Callable[[str], None]


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Relative error in the maximum norm: largest |actual - expected| over largest |expected|.

    Not over the mean: almost all class scores are zeros, and ONNX Runtime's sigmoid is exact to 1e-6 of 1, not of its
    own value.
    """
    largest = float(np.abs(expected).max())
    return float(np.abs(actual.astype(np.float64) - expected).max()) / max(largest, 1e-12)


def verify_stage(
    onnx_file: Path,
    layer: nn.Layer,
    input_name: str,
    output_names: Sequence[str],
    images: np.ndarray,
    batches: Sequence[int],
) -> dict[str, float]:
    """Runs both on `images` (N, 3, H, W) in each batch size (images repeat) and returns the largest relative error
    per output.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(onnx_file), options, providers=["CPUExecutionProvider"])
    # One reference run per image: a layer in evaluation mode does not mix the images of a batch.
    with paddle.no_grad():
        runs = [[tensor.numpy() for tensor in layer(paddle.to_tensor(image[None]))] for image in images]
    worst = dict.fromkeys(output_names, 0.0)
    for batch in batches:
        index = np.arange(batch) % len(images)
        outputs = session.run(list(output_names), {input_name: images[index]})
        for position, name in enumerate(output_names):
            expected = np.concatenate([runs[i][position] for i in index])
            worst[name] = max(worst[name], relative_error(outputs[position], expected))
    return worst
