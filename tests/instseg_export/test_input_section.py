"""The manifest's `input` says what the model's input spec does."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("paddle", reason="needs the [train] extra")
pytest.importorskip("onnx", reason="needs the [export] extra")

from instseg_export.errors import ExportError
from instseg_export.exporter import ExportOptions, _input_spec
from instseg_export.input_section import input_section
from instseg_export.trained import TrainedWeights
from instseg_trainer.input_spec import IMAGENET_NORMALIZATION, InputSpec


def test_stretch() -> None:
    assert input_section(InputSpec(height=320, width=640)) == {
        "height": 320,
        "width": 640,
        "color": "rgb",
        "resize": "stretch",
        "interpolation": "cubic",
        "scale": 1 / 255,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
    }


def test_keep_ratio() -> None:
    spec = InputSpec(1333, 800, "keep_ratio", "linear", IMAGENET_NORMALIZATION, normalize_first=True, pad_stride=32)
    assert input_section(spec) == {
        "short_side": 800,
        "long_side": 1333,
        "pad_stride": 32,
        "color": "rgb",
        "resize": "keep_ratio",
        "interpolation": "linear",
        "normalize_first": True,
        "scale": 1 / 255,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }


def test_what_the_runtime_does_not_know() -> None:
    assert "pad_stride" not in input_section(InputSpec(pad_stride=32))
    with pytest.raises(ExportError, match="network input 650x640: expected multiples of 32"):
        input_section(InputSpec(height=650, pad_stride=32))
    with pytest.raises(ExportError, match="cubic interpolation of normalised pixels"):
        input_section(InputSpec(normalize_first=True))


def test_image_size() -> None:
    weights = TrainedWeights(Path("a/b/w.pdparams"))

    def options(model: str, image_size: tuple[int, int] | None) -> ExportOptions:
        return ExportOptions(model, weights.file, Path("o.bundle"), image_size=image_size)

    stretched = InputSpec(interpolation="linear", normalization=IMAGENET_NORMALIZATION)
    changed = _input_spec(options("PP-YOLOE_seg-N", (64, 96)), stretched, weights)
    assert (changed.height, changed.width) == (64, 96)
    assert (changed.interpolation, changed.normalization) == ("linear", IMAGENET_NORMALIZATION)
    # Without: the recipe's, or the model's own.
    recipes = _input_spec(options("PP-YOLOE_seg-N", None), stretched, weights)
    assert (recipes.height, recipes.width) == (320, 320)
    kept = InputSpec(800, 1333, resize="keep_ratio", pad_stride=32)
    assert _input_spec(options("SOLOv2", None), kept, weights) == kept
    smaller = input_section(_input_spec(options("SOLOv2", (200, 333)), kept, weights))
    assert (smaller["short_side"], smaller["long_side"], smaller["pad_stride"]) == (200, 333, 32)
