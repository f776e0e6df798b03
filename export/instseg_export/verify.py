"""Does the ONNX graph say what the Paddle model says?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import paddle

from instseg_rt.scenes import render_scene
from instseg_trainer.input_spec import InputSpec

from .errors import ExportError
from .stages import Stage
from .stages.stage import BATCH, Arrays

_TOLERANCE = 1e-3
_TOLERANCE_HALF_WEIGHTS = 2e-2
_SMALL_SHORT_SIDE = 256
"""Of the images where the network takes any size, pixels."""


def verification_images(spec: InputSpec) -> np.ndarray:
    """Four rendered scenes as network input, (4, 3, height, width): real content without a data set at hand.

    Where the network takes any size, they are smaller than usual, of both orientations, and padded.
    """
    if spec.resize == "stretch":
        return spec.batch([render_scene(seed, 320, 320).image for seed in range(4)])[0]
    small = replace(spec, height=_SMALL_SHORT_SIDE, width=2 * _SMALL_SHORT_SIDE)
    sizes = ((240, 320), (320, 240), (320, 320), (200, 320))
    return small.batch([render_scene(seed, *size).image for seed, size in enumerate(sizes)])[0]


def image_batches(largest: int) -> list[int]:
    """Batch sizes that are verified, of images."""
    return sorted({1, 2, largest})


def batch_sizes(stage: Stage, examples: Arrays, largest: int) -> list[int]:
    """Rows of the stage's inputs that are verified at a time; largest: batch of images that the bundle is made for."""
    if rows_name(stage) == "images":
        return image_batches(largest)
    return sorted({1, 7, len(examples[stage.inputs[0].name])})


def rows_name(stage: Stage) -> str:
    """What the rows of the stage's inputs are."""
    return "images" if stage.inputs[0].axes[0] == BATCH else "RoIs"


def check_errors(errors: Mapping[str, float], half_weights: bool) -> None:
    tolerance = _TOLERANCE_HALF_WEIGHTS if half_weights else _TOLERANCE
    wrong = {name: error for name, error in errors.items() if not error <= tolerance}
    if wrong:
        found = ", ".join(f"{name} {error:.2e}" for name, error in wrong.items())
        raise ExportError(f"ONNX differs from Paddle: {found} (relative; allowed {tolerance:g}); no bundle was written")


def verify_stage(onnx_file: Path, expected: Stage, examples: Arrays, batches: Sequence[int]) -> dict[str, float]:
    """Runs the graph on the examples, in batches of each size (their rows repeat), and `expected.layer` on all of
    them at once. Returns the largest relative error per output.

    examples: an array of N rows for each input; the rows of a batch do not depend on each other.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(onnx_file), options, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in expected.outputs]
    inputs = [examples[tensor.name] for tensor in expected.inputs]
    with paddle.no_grad():
        outputs = expected.layer(*(paddle.to_tensor(array) for array in inputs))
    references = [tensor.numpy() for tensor in (outputs if isinstance(outputs, list | tuple) else [outputs])]
    worst = dict.fromkeys(names, 0.0)
    for batch in batches:
        rows = np.arange(batch) % len(inputs[0])
        found = session.run(names, {tensor.name: examples[tensor.name][rows] for tensor in expected.inputs})
        errors = expected.compare(
            dict(zip(names, found, strict=True)),
            {name: array[rows] for name, array in zip(names, references, strict=True)},
        )
        worst = {name: max(worst[name], errors[name]) for name in names}
    return worst
