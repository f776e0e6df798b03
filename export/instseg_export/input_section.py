"""A model's input spec -> the section `input` of a manifest."""

from __future__ import annotations

from typing import Any

from instseg_trainer.input_spec import InputSpec

from .errors import ExportError


def input_section(spec: InputSpec) -> dict[str, Any]:
    """What the runtime is told about resize, normalisation and padding.

    Raises `ExportError` for a spec that the runtime does not know.
    """
    section: dict[str, Any]
    if spec.resize == "stretch":
        if spec.height % spec.pad_stride or spec.width % spec.pad_stride:
            raise ExportError(
                f"network input {spec.height}x{spec.width}: expected multiples of {spec.pad_stride}, to which "
                "the model pads it"
            )
        section = {"height": spec.height, "width": spec.width}
    else:
        short, long = min(spec.height, spec.width), max(spec.height, spec.width)
        section = {"short_side": short, "long_side": long, "pad_stride": spec.pad_stride}
    section |= {"color": "rgb", "resize": spec.resize, "interpolation": spec.interpolation}
    if spec.normalize_first:
        if spec.interpolation != "linear":
            raise ExportError(f"{spec.interpolation} interpolation of normalised pixels: the runtime knows linear only")
        section["normalize_first"] = True
    normalization = spec.normalization
    return section | {
        "scale": normalization.scale,
        "mean": list(normalization.mean),
        "std": list(normalization.std),
    }
