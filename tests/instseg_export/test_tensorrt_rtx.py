"""Every stage parses and builds in TensorRT-RTX, ahead of time, on a machine without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instseg_rt.models import find_model
from tests.reference_kit import EXPORTED_MODELS

trt = pytest.importorskip("tensorrt_rtx", reason="needs the [rtx] extra")

pytestmark = pytest.mark.slow


def shapes(value: Any) -> list[tuple[int, ...]]:
    """Smallest, usual and largest shape of an input: images of any size, or RoIs."""
    images = value.shape[1] == 3
    rows, sides = ((1, 1, 2), (320, 800, 1344)) if images else ((1, 100, 1000), (0, 0, 0))
    return [
        tuple(size if size >= 0 else row if axis == 0 else side for axis, size in enumerate(value.shape))
        for row, side in zip(rows, sides, strict=True)
    ]


@pytest.mark.parametrize("model", EXPORTED_MODELS)
def test_stages_build_for_sm86(seeded_bundle_of: Callable[[str], Path], model: str) -> None:
    bundle = seeded_bundle_of(model)
    stages = sorted((bundle / "stages").glob("*.onnx"))
    assert len(stages) == len(find_model(model).stages)
    for stage in stages:
        builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
        network = builder.create_network(0)
        parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
        assert parser.parse_from_file(str(stage)), [parser.get_error(i).desc() for i in range(parser.num_errors)]
        config = builder.create_builder_config()
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.SM86, 0)
        profile = builder.create_optimization_profile()
        for index in range(network.num_inputs):
            value = network.get_input(index)
            profile.set_shape(value.name, *shapes(value))
        config.add_optimization_profile(profile)
        engine = builder.build_serialized_network(network, config)
        assert engine is not None, stage.name
        # Most of an engine are the weights.
        assert engine.nbytes > 0.5 * stage.stat().st_size
