"""What a stage is: a layer with named inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from paddle import nn

from ..output_errors import largest_errors

Arrays = Mapping[str, NDArray[np.float32]]
"""Tensors by name."""
CompareOutputs = Callable[[Arrays, Arrays], dict[str, float]]
"""(outputs of ONNX, outputs of Paddle) -> relative error per output; raises `ExportError` for a difference that no
number describes."""

BATCH = "batch"


@dataclass(frozen=True)
class StageTensor:
    """axes: sizes; names of sizes that are known at run time; None for a fixed size that the graph tells."""

    name: str
    axes: tuple[int | str | None, ...]


@dataclass(frozen=True)
class Stage:
    """One graph: `layer` takes one float32 tensor per input and returns one per output.

    The first axis of all of them has one name: the rows do not depend on each other.
    """

    name: str
    layer: nn.Layer
    inputs: tuple[StageTensor, ...]
    outputs: tuple[StageTensor, ...]
    compare: CompareOutputs = largest_errors


def _decode_of_model(model: Any) -> dict[str, Any]:
    return asdict(model.decode)


@dataclass(frozen=True)
class FamilyStages:
    """How the models of a family are exported.

    classifier: name of a weight with one value per class. build: a model -> its stages, in the order in which they run.
    examples: (model, images (B, 3, H, W)) -> the inputs of each stage for these images, by its name.
    decode: a model -> the manifest's section `decode`. default_precision: the manifest's; bf16 where its mask AP is at
    most 0.003 below that of fp32 (docs/decisions/0004-default-precision.md has the figures).
    """

    classifier: str
    build: Callable[[Any], list[Stage]]
    examples: Callable[[Any, NDArray[np.float32]], dict[str, Arrays]]
    decode: Callable[[Any], dict[str, Any]] = _decode_of_model
    default_precision: str = "fp32"


def image_input(height: int | str, width: int | str) -> StageTensor:
    return StageTensor("image", (BATCH, 3, height, width))


def image_examples(_model: Any, images: NDArray[np.float32]) -> dict[str, Arrays]:
    """Of a family with the one stage `model`."""
    return {"model": {"image": images}}
