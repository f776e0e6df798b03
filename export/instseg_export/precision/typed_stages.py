"""The FP16 stages of a bundle: `stages/<stage>.fp16.onnx`, verified, and named in the manifest."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from instseg_rt.files import file_sha256, write_atomically
from instseg_rt.result import Result
from instseg_rt.scenes import render_scene

from ..bundle_manifest import read_manifest, stage_file, update_manifest
from .comparison import ComparedStage, GraphStage, RangeStage, stage_predictor
from .detections import Agreement, agreement, short, summary
from .islands import islands_of
from .typed_entry import recipe
from .typed_fp16 import TypedGraph, to_typed_fp16

LEAST_MATCHED, LEAST_MASK_IOU = 0.98, 0.97
"""Of all detections and of their masks on average; what is below is said."""
METHOD = "ONNX Runtime on the CPU: float32 arithmetic, every result of an FP16 operator rounded to float16"


@dataclass(frozen=True)
class StageReport:
    """half_nodes: computed in float16. float_nodes: in float32, by reason. errors: per output."""

    name: str
    bytes: int
    half_nodes: int
    float_nodes: dict[str, int]
    errors: dict[str, float]


@dataclass(frozen=True)
class PrecisionReport:
    """Of FP16 against float32. every: all detections. confident: those above the bundle's threshold. noise: where FP16
    misses its aim, what float32 makes of the same images with the noise of `with_noise`: how much of the difference
    is a model that answers to everything.
    """

    stages: tuple[StageReport, ...]
    every: Agreement
    confident: Agreement
    noise: Agreement | None

    @property
    def good(self) -> bool:
        return is_good(self.every)


def is_good(found: Agreement) -> bool:
    return found.share >= LEAST_MATCHED and found.mask_iou_mean >= LEAST_MASK_IOU


def with_noise(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One grey level up or down on every tenth value, on average: less than a camera's or JPEG's."""
    random = np.random.default_rng(0)
    steps = random.choice(np.array([-1, 0, 1], np.int16), p=(0.05, 0.9, 0.05), size=image.shape)
    return np.clip(image + steps, 0, 255).astype(np.uint8)


def example_images(count: int = 4) -> list[NDArray[np.uint8]]:
    """Rendered scenes, BGR, of both orientations."""
    sizes = ((480, 640), (640, 480), (480, 480), (400, 640))
    return [
        np.ascontiguousarray(render_scene(seed, *sizes[seed % len(sizes)]).image[..., ::-1]) for seed in range(count)
    ]


def write_typed_stages(
    bundle: Path,
    say: Callable[[str], None],
    images: Sequence[NDArray[np.uint8]] | None = None,
    images_are: str = "rendered scenes",
) -> PrecisionReport:
    """Writes every stage's FP16 form and compares both forms on images (BGR).

    Raises `ExportError` where FP16 gives numbers that are not finite.
    """
    manifest = read_manifest(bundle)
    if images is None:
        images = example_images()
    family = manifest["family"]
    sources = {stage["name"]: onnx.load(stage_file(bundle, stage)) for stage in manifest["stages"]}
    say(f"FP16: ranges of values in float32, {len(images)} {images_are}")
    ranges = {name: RangeStage(model) for name, model in sources.items()}
    with stage_predictor(bundle, ranges) as predictor:
        expected = [predictor(image) for image in images]
    say("FP16: converting")
    typed = {
        name: to_typed_fp16(model, islands_of(family, name), ranges[name].ranges.largest)
        for name, model in sources.items()
    }
    del ranges
    say(f"FP16: comparing with float32, {len(images)} {images_are}")
    compared = {name: ComparedStage(family, model, typed[name].model) for name, model in sources.items()}
    with stage_predictor(bundle, compared) as predictor:
        found = [predictor(image) for image in images]
    every = agreement(expected, found)
    noise = None if is_good(every) else _noise(bundle, sources, images, expected, say)
    report = PrecisionReport(
        tuple(
            _write(bundle, stage, typed[stage["name"]], compared[stage["name"]].errors) for stage in manifest["stages"]
        ),
        every,
        agreement(expected, found, float(manifest["threshold"])),
        noise,
    )
    for stage, written in zip(manifest["stages"], report.stages, strict=True):
        verification = {
            "method": METHOD,
            "images": len(images),
            "images_are": images_are,
            "max_relative_error": {name: short(error) for name, error in written.errors.items()},
            "unmatched_rows": short(compared[written.name].swapped),
            "detections": summary(report.every),
            "detections_above_threshold": summary(report.confident),
        }
        if noise is not None:
            verification["image_noise_in_float32"] = summary(noise)
        _add_entry(bundle, stage, written, verification)
    update_manifest(bundle, manifest)
    return report


def _noise(
    bundle: Path,
    sources: Mapping[str, onnx.ModelProto],
    images: Sequence[NDArray[np.uint8]],
    expected: Sequence[Result],
    say: Callable[[str], None],
) -> Agreement:
    say("float32 on the same images with one grey level of noise, to compare with")
    with stage_predictor(bundle, {name: GraphStage(model) for name, model in sources.items()}) as predictor:
        return agreement(expected, [predictor(with_noise(image)) for image in images])


def _write(bundle: Path, stage: Mapping[str, Any], typed: TypedGraph, errors: dict[str, float]) -> StageReport:
    origin = {"precision": "fp16", "source_sha256": stage["sha256"], "recipe": recipe()}
    typed.model.metadata_props.add(key="instseg_precision", value=json.dumps(origin))
    file = _typed_file(bundle, stage)
    write_atomically(file, typed.model.SerializeToString())
    return StageReport(stage["name"], file.stat().st_size, typed.half_nodes, typed.float_nodes, errors)


def _typed_file(bundle: Path, stage: Mapping[str, Any]) -> Path:
    return bundle / "stages" / f"{stage['name']}.fp16.onnx"


def _add_entry(bundle: Path, stage: dict[str, Any], report: StageReport, verification: dict[str, Any]) -> None:
    file = _typed_file(bundle, stage)
    others = [entry for entry in stage.get("typed") or [] if entry.get("precision") != "fp16"]
    entry = {
        "precision": "fp16",
        "file": file.relative_to(bundle).as_posix(),
        "sha256": file_sha256(file),
        "source_sha256": stage["sha256"],
        "recipe": recipe(),
        "half_nodes": report.half_nodes,
        "float_nodes": report.float_nodes,
        "verification": verification,
    }
    stage["typed"] = [*others, entry]
