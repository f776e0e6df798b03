"""From weights to a bundle."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from instseg_rt.models import find_model
from instseg_rt.official_weights import find_weights
from instseg_trainer.config import load_config
from instseg_trainer.engine.inputs import sized_input
from instseg_trainer.input_spec import InputSpec
from instseg_trainer.models import build_model, model_names
from instseg_trainer.models.base import InstanceSegmentationModel
from instseg_trainer.weights import load_weights, read_pdparams

from .bundle_files import MANIFEST, bundle_size, replace_folder, write_manifest
from .bundle_manifest import made_of
from .errors import ExportError
from .input_section import input_section
from .labels import Labels, default_labels, read_labels, unnamed_labels
from .manifest import DEFAULT_THRESHOLD, SCHEMA_VERSION, add_metadata, provenance, stage_entry
from .paddle_to_onnx import convert_stage, halve_weights
from .stages import FamilyStages, family_stages
from .trained import TrainedWeights, find_trained, read_inference
from .verify import batch_sizes, check_errors, image_batches, rows_name, verification_images, verify_stage


@dataclass(frozen=True)
class ExportOptions:
    """What `instseg-export` is asked for; None: found out from the weights, or the model's own configuration.

    weights: a file, a training's output folder, `official`, or the address of the official weights.
    image_size: height, width; where the model keeps the aspect ratio of images, short side and largest long side.
    batch: smallest, usual and largest batch that engines are built for.
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
class StageReport:
    """bytes: of the file. seconds: for conversion and verification. max_relative_error: per output."""

    name: str
    bytes: int
    seconds: float
    max_relative_error: dict[str, float]


@dataclass(frozen=True)
class ExportReport:
    """bytes: of all files of the bundle."""

    bundle: Path
    bytes: int
    stages: tuple[StageReport, ...]

    @property
    def max_relative_error(self) -> dict[str, float]:
        """Per output; of a bundle with several stages as `stage.output`."""
        single = len(self.stages) == 1
        return {
            name if single else f"{stage.name}.{name}": error
            for stage in self.stages
            for name, error in stage.max_relative_error.items()
        }


@dataclass(frozen=True)
class _Source:
    """The weights, and what was found out about them."""

    arrays: dict[str, np.ndarray]
    family: FamilyStages
    labels: Labels
    trained: TrainedWeights

    def build(self, options: ExportOptions) -> InstanceSegmentationModel:
        model = build_model(options.model, len(self.labels.names))
        load_weights(model, self.arrays, source=str(self.trained.file))
        model.eval()
        model.input_spec = _input_spec(options, model.input_spec, self.trained)
        return model


def export_bundle(options: ExportOptions, say: Callable[[str], None] = lambda _line: None) -> ExportReport:
    """Writes the bundle to a temporary folder beside `output` and renames it when it is complete and verified.

    `say` gets one line per step. Raises `ExportError` and the trainer's `WeightsError`.
    """
    check_options(options)
    _check_for_model(options)
    source = _read_source(options, say)
    temporary = options.output.with_name(f".{options.output.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "stages").mkdir(parents=True)
    try:
        model = source.build(options)
        images = verification_images(model.input_spec)
        entries: list[dict[str, Any]] = []
        stages: list[StageReport] = []
        for stage, entry in _write_stages(options, source, model, images, temporary, say):
            stages.append(stage)
            entries.append(entry)
        report = ExportReport(options.output, 0, tuple(stages))
        check_errors(report.max_relative_error, options.half_weights)
        manifest = {
            "schema_version": SCHEMA_VERSION,
            "model": options.model,
            "family": model.family,
            "labels": list(source.labels.names),
            "category_ids": list(source.labels.category_ids),
            "input": input_section(model.input_spec),
            "batch": dict(zip(("min", "opt", "max"), options.batch, strict=True)),
            "stages": entries,
            "decode": source.family.decode(model),
            "threshold": DEFAULT_THRESHOLD,
            "default_precision": source.family.default_precision,
            "provenance": provenance(source.trained.file, options.opset, options.half_weights),
            "verification": {
                "images": len(images),
                "batches": image_batches(options.batch[2]),
                "max_relative_error": {
                    name: float(f"{value:.3e}") for name, value in report.max_relative_error.items()
                },
            },
        }
        write_manifest(temporary, manifest)
        lost = made_of(options.output)
        replace_folder(temporary, options.output)
        if lost:
            say(f"note: {options.output} had {lost}, made of its old stages; make them again of the new ones")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return replace(report, bytes=bundle_size(options.output))


def _write_stages(
    options: ExportOptions,
    source: _Source,
    model: InstanceSegmentationModel,
    images: np.ndarray,
    folder: Path,
    say: Callable[[str], None],
) -> Iterator[tuple[StageReport, dict[str, Any]]]:
    """Each stage's report and its entry of the manifest. model: as trained, to compare with on `images` (see
    `verification_images`); a second one is folded for inference and converted.
    """
    family = source.family
    examples = family.examples(model, images)
    folded = source.build(options)
    folded.fuse()
    stages = family.build(folded)
    for number, (stage, expected) in enumerate(zip(stages, family.build(model), strict=True), 1):
        start = time.monotonic()
        step = f"stage {stage.name} ({number} of {len(stages)})"
        say(f"{step}: converting to ONNX, opset {options.opset}")
        graph = convert_stage(stage, options.opset)
        if options.half_weights:
            halve_weights(graph)
        add_metadata(graph, options.model, source.labels, model.input_spec)
        file = folder / "stages" / f"{stage.name}.onnx"
        onnx.save(graph, file)
        batches = batch_sizes(stage, examples[stage.name], options.batch[2])
        say(f"{step}: comparing with Paddle, {', '.join(map(str, batches))} {rows_name(stage)} at a time")
        errors = verify_stage(file, expected, examples[stage.name], batches)
        report = StageReport(stage.name, file.stat().st_size, time.monotonic() - start, errors)
        yield report, stage_entry(file, graph.graph)


def _read_source(options: ExportOptions, say: Callable[[str], None]) -> _Source:
    trained = find_trained(find_weights(options.weights, options.model, say))
    say(f"reading {trained.file}")
    arrays = read_pdparams(trained.file)
    family = family_stages(find_model(options.model).family)
    if family.classifier not in arrays:
        raise ExportError(f"{trained.file}: not weights of {options.model}: {family.classifier} is missing")
    num_classes = int(arrays[family.classifier].shape[0])
    labels = _labels(options, num_classes, trained)
    if labels == unnamed_labels(num_classes):
        say(f"note: the names of the {num_classes} classes are not known: {labels.names[0]}, …; --labels FILE has them")
    return _Source(arrays, family, labels, trained)


def check_options(options: ExportOptions) -> None:
    """Raises `ExportError` for options that contradict themselves, whatever the model."""
    smallest, usual, largest = options.batch
    if not 1 <= smallest <= usual <= largest:
        raise ExportError(f"--batch: expected 1 <= MIN <= OPT <= MAX, found {smallest},{usual},{largest}")
    if options.opset < 17:
        raise ExportError(f"--opset: expected 17 or later, found {options.opset}")
    if not options.output.absolute().parent.is_dir():
        raise ExportError(f"{options.output}: its parent folder does not exist")


def _check_for_model(options: ExportOptions) -> None:
    if options.model not in model_names():
        build_model(options.model, 1)  # raises with the nearest name
    if options.image_size:
        first, second = options.image_size
        stretched = find_model(options.model).resize == "stretch"
        if stretched and (first < 1 or second < 1 or first % 32 or second % 32):
            raise ExportError(f"--image-size: expected multiples of 32, found {first},{second}")
        if not stretched and not 1 <= first <= second:
            raise ExportError(f"--image-size: expected short side and largest long side, found {first},{second}")
    output = options.output
    if output.exists() and not (output / MANIFEST).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise ExportError(f"{output}: exists and is no bundle: choose another --output")


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
    """The model's own, for the asked image size or the one that the weights were trained at."""
    return sized_input(spec, options.image_size or _trained_image_size(options.model, trained))


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
