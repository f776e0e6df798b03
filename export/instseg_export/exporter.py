"""From weights to a bundle."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import yaml

from instseg_rt.models import find_model
from instseg_rt.official_weights import find_weights
from instseg_rt.scenes import render_scene
from instseg_trainer.config import load_config
from instseg_trainer.input_spec import InputSpec
from instseg_trainer.models import build_model, model_names
from instseg_trainer.weights import load_weights, read_pdparams

from .errors import ExportError
from .input_section import input_section
from .labels import Labels, default_labels, read_labels
from .paddle_to_onnx import convert_stage, halve_weights, tensor_shape
from .stages import build_stages, has_stages
from .trained import TrainedWeights, find_trained, read_inference
from .verify import verify_stage

SCHEMA_VERSION = 1
DEFAULT_THRESHOLD = 0.5
_CLASSIFIER_BIAS = "yolo_head.pred_cls.0.bias"
_TOLERANCE = 1e-3
_TOLERANCE_HALF_WEIGHTS = 2e-2


@dataclass(frozen=True)
class ExportOptions:
    """What `instseg-export` is asked for; None: found out from the weights, or the model's own configuration.

    weights: a file, a training's output folder, `official`, or the address of the official weights.
    image_size: height, width. batch: smallest, usual and largest batch that engines are built for.
    half_weights: store weights as float16 (half the size); the graph computes in float32 either way.
    """

    model: str
    weights: Path | str
    output: Path
    num_classes: int | None = None
    labels: Path | None = None
    image_size: tuple[int, int] | None = None
    batch: tuple[int, int, int] = (1, 1, 8)
    opset: int = 17
    half_weights: bool = False


@dataclass(frozen=True)
class ExportReport:
    bundle: Path
    bytes: int
    max_relative_error: dict[str, float]


def export_bundle(options: ExportOptions, say: Callable[[str], None] = lambda _line: None) -> ExportReport:
    """Writes the bundle to a temporary folder beside `output` and renames it when it is complete and verified.

    `say` gets one line per step. Raises `ExportError` and the trainer's `WeightsError`.
    """
    _check_options(options)
    trained = find_trained(find_weights(options.weights, options.model, say))
    weights = trained.file
    say(f"reading {weights}")
    arrays = read_pdparams(weights)
    if _CLASSIFIER_BIAS not in arrays:
        raise ExportError(f"{weights}: not weights of {options.model}: {_CLASSIFIER_BIAS} is missing")
    num_classes = int(arrays[_CLASSIFIER_BIAS].shape[0])
    labels = _labels(options, num_classes, trained)
    model = build_model(options.model, num_classes)
    load_weights(model, arrays, source=str(weights))
    model.eval()
    spec = _input_spec(options, model.input_spec, trained)
    height, width = spec.height, spec.width

    temporary = options.output.with_name(f".{options.output.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "stages").mkdir(parents=True)
    try:
        images = _verification_images(spec)
        batches = sorted({1, 2, options.batch[2]})
        reference = build_stages(model)
        expected_layers = {stage.name: stage.layer for stage in reference}
        # A second copy is folded for inference; the first stays as trained, to compare with.
        folded = build_model(options.model, num_classes)
        load_weights(folded, arrays, source=str(weights))
        folded.eval()
        folded.fuse()
        stage_entries: list[dict[str, Any]] = []
        errors: dict[str, float] = {}
        for stage in build_stages(folded):
            say(f"stage {stage.name}: converting to ONNX, {width}x{height}, opset {options.opset}")
            graph = convert_stage(stage.layer, stage.input_name, (3, height, width), stage.output_names, options.opset)
            if options.half_weights:
                halve_weights(graph)
            _add_metadata(graph, options.model, labels, height, width)
            file = temporary / "stages" / f"{stage.name}.onnx"
            onnx.save(graph, file)
            say(f"stage {stage.name}: verifying on {len(images)} images, batches {', '.join(map(str, batches))}")
            errors |= verify_stage(
                file, expected_layers[stage.name], stage.input_name, stage.output_names, images, batches
            )
            stage_entries.append(_stage_entry(stage.name, file, graph))
        _check_errors(errors, options)
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "model": options.model,
            "family": model.family,
            "labels": list(labels.names),
            "category_ids": list(labels.category_ids),
            "input": input_section(spec),
            "batch": dict(zip(("min", "opt", "max"), options.batch, strict=True)),
            "stages": stage_entries,
            "decode": asdict(model.decode),
            "threshold": DEFAULT_THRESHOLD,
            "provenance": {
                "weights": weights.name,
                "weights_sha256": _sha256(weights),
                "tools": _tool_versions(options.opset),
                "weights_stored_as": "float16" if options.half_weights else "float32",
                "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            "verification": {
                "images": len(images),
                "batches": batches,
                "max_relative_error": {name: float(f"{value:.3e}") for name, value in errors.items()},
            },
        }
        (temporary / "manifest.yaml").write_text(
            yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True), encoding="utf-8"
        )
        _replace_folder(temporary, options.output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    size = sum(file.stat().st_size for file in options.output.rglob("*") if file.is_file())
    return ExportReport(options.output, size, errors)


def _check_options(options: ExportOptions) -> None:
    if options.model not in model_names():
        build_model(options.model, 1)  # raises with the nearest name
    family = find_model(options.model).family
    if not has_stages(family):
        raise ExportError(f"{options.model}: this version trains models of family {family}, but cannot export them")
    smallest, usual, largest = options.batch
    if not 1 <= smallest <= usual <= largest:
        raise ExportError(f"--batch: expected 1 <= MIN <= OPT <= MAX, found {smallest},{usual},{largest}")
    if options.image_size and any(side <= 0 or side % 32 for side in options.image_size):
        raise ExportError(
            f"--image-size: expected multiples of 32, found {options.image_size[0]},{options.image_size[1]}"
        )
    if options.opset < 17:
        raise ExportError(f"--opset: expected 17 or later, found {options.opset}")
    output = options.output
    if output.exists() and not (output / "manifest.yaml").is_file() and (not output.is_dir() or any(output.iterdir())):
        raise ExportError(f"{output}: exists and is no bundle: choose another --output")
    if not output.absolute().parent.is_dir():
        raise ExportError(f"{output}: its parent folder does not exist")


def _labels(options: ExportOptions, num_classes: int, trained: TrainedWeights) -> Labels:
    if options.num_classes is not None and options.num_classes != num_classes:
        raise ExportError(f"--num-classes: {options.num_classes}, but {trained.file} has {num_classes} classes")
    source = options.labels or trained.categories
    if source is not None:
        labels = read_labels(source)
    elif trained.inference is not None:
        labels, source = read_inference(trained.inference, options.model)[0], trained.inference
    else:
        return default_labels(num_classes)
    if len(labels.names) != num_classes:
        raise ExportError(f"{source}: {len(labels.names)} labels, but {trained.file} has {num_classes} classes")
    return labels


def _input_spec(options: ExportOptions, spec: InputSpec, trained: TrainedWeights) -> InputSpec:
    """The model's own, for the asked image size."""
    if spec.resize == "stretch":
        size = options.image_size or _trained_image_size(options.model, trained)
        return spec if size is None else replace(spec, height=size[0], width=size[1])
    if options.image_size:
        raise ExportError(
            f"--image-size: {options.model} keeps the aspect ratio of images, its network input has no fixed size"
        )
    return spec


def _trained_image_size(model: str, trained: TrainedWeights) -> tuple[int, int] | None:
    """What the weights were trained at where their training says so, else the recipe's size; None: the model's own."""
    if trained.config is None and trained.inference is not None:
        size = read_inference(trained.inference, model)[1]
        if size is not None:
            return size
    config = load_config(str(trained.config) if trained.config is not None else model)
    if config.Global.model != model:
        raise ExportError(f"{trained.config}: the weights are of {config.Global.model}, not of {model}")
    if config.Recipe.image_size is None:
        return None
    height, width = config.Recipe.image_size
    return height, width


def _verification_images(spec: InputSpec) -> np.ndarray:
    """Four rendered scenes as network input, (4, 3, height, width): real content without a data set at hand."""
    pixels, _ = spec.batch([render_scene(seed, 320, 320).image for seed in range(4)])
    return pixels


def _check_errors(errors: dict[str, float], options: ExportOptions) -> None:
    tolerance = _TOLERANCE_HALF_WEIGHTS if options.half_weights else _TOLERANCE
    wrong = {name: error for name, error in errors.items() if not error <= tolerance}
    if wrong:
        found = ", ".join(f"{name} {error:.2e}" for name, error in wrong.items())
        raise ExportError(f"ONNX differs from Paddle: {found} (relative; allowed {tolerance:g}); no bundle was written")


def _stage_entry(name: str, file: Path, graph: onnx.ModelProto) -> dict[str, Any]:
    def tensors(values: Any) -> list[dict[str, Any]]:
        return [{"name": v.name, "dtype": "float32", "shape": tensor_shape(v)} for v in values]

    return {
        "name": name,
        "file": f"stages/{file.name}",
        "sha256": _sha256(file),
        "inputs": tensors(graph.graph.input),
        "outputs": tensors(graph.graph.output),
    }


def _add_metadata(graph: onnx.ModelProto, model: str, labels: Labels, height: int, width: int) -> None:
    """What readers of a lone ONNX file look for: our own key, and the keys that Ultralytics' readers know."""
    names = dict(enumerate(labels.names))
    values = {
        "instseg": json.dumps(
            {"schema": SCHEMA_VERSION, "model": model, "input": [height, width], "labels": labels.names}
        ),
        "names": repr(names),
        "imgsz": repr([height, width]),
        "task": "segment",
    }
    del graph.metadata_props[:]
    for key, value in values.items():
        graph.metadata_props.add(key=key, value=value)
    graph.producer_name, graph.producer_version = "instseg-export", _version("instseg-rt")


def _tool_versions(opset: int) -> dict[str, Any]:
    packages = ("instseg-rt", "paddlepaddle", "paddle2onnx", "onnx", "onnxslim", "onnxruntime")
    return {**{name: _version(name) for name in packages}, "opset": opset}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed as a package"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace_folder(new: Path, target: Path) -> None:
    """Puts `new` in the place of `target`; the old bundle is there until the new one is complete."""
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
