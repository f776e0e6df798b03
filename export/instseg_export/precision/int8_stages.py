"""INT8 forms of a bundle's stages: quantised, run by the runtime itself, compared with float32, then put in place."""

from __future__ import annotations

import copy
import hashlib
import importlib.resources
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from instseg_rt import Predictor
from instseg_rt.files import file_sha256

from ..bundle_files import MANIFEST
from ..bundle_manifest import read_manifest, stage_file, update_manifest
from ..errors import ExportError
from .accuracy import Accuracy, evaluate
from .calibration import image_files, stage_inputs
from .detections import Agreement, agreement, summary
from .islands import INT8_ISLANDS, islands_of
from .quantise import QuantisedStage, check_nncf, nncf_version, quantise

INT8 = "int8"
QUANTISER_VERSION = 2
"""Raised where the same graph, islands and data come out differently."""
DEFAULT_IMAGES = 100
MOST_AP_LOSS = 0.005
"""What is above is said."""
LEAST_MATCHED, LEAST_MASK_IOU = 0.95, 0.9
"""Of the detections above the bundle's threshold and of their masks on average; what is below is refused."""
METHOD = "the runtime with OpenVINO on the CPU, both precisions"


@dataclass(frozen=True)
class Calibration:
    """folder: images like those of the use; images: how many of them at most."""

    folder: Path
    images: int = DEFAULT_IMAGES


@dataclass(frozen=True)
class Int8Stage:
    """bytes: of both files. int8_nodes, float_nodes: convolutions and products, see `QuantisedStage`."""

    name: str
    bytes: int
    int8_nodes: int
    float_nodes: dict[str, int]


@dataclass(frozen=True)
class Int8Report:
    """Of INT8 against float32. every: all detections. confident: those above the bundle's threshold. accuracy: by
    precision, where a data set was given.
    """

    stages: tuple[Int8Stage, ...]
    every: Agreement
    confident: Agreement
    accuracy: dict[str, Accuracy]

    @property
    def ap_loss(self) -> float | None:
        return self.accuracy["fp32"].mask_ap - self.accuracy[INT8].mask_ap if self.accuracy else None


def write_int8_stages(
    bundle: Path,
    calibration: Calibration,
    say: Callable[[str], None],
    images: Sequence[NDArray[np.uint8]],
    images_are: str,
    dataset: Path | None = None,
) -> Int8Report:
    """Writes every stage's INT8 form.

    images: BGR; what both precisions are compared on. dataset: labelled, for AP in both. The bundle is changed when
    all is there and was compared. Raises `ExportError` where NNCF is missing, for a folder without images, for a
    stage that has nothing to quantise, and where INT8 finds too little of what float32 finds.
    """
    check_nncf()
    files = image_files(calibration.folder, "--calibration", calibration.images)
    manifest = read_manifest(bundle)
    with tempfile.TemporaryDirectory(prefix=f".{bundle.name}.int8-", dir=bundle.resolve().parent) as name:
        scratch = _copy(bundle, manifest, Path(name))
        quantised = _quantise(scratch, manifest, files, Path(name) / "data", say)
        entries = {
            stage["name"]: _add(scratch, stage, quantised, len(files), calibration) for stage in manifest["stages"]
        }
        update_manifest(scratch, manifest)
        say(f"INT8: comparing with float32, {len(images)} {images_are}")
        every, confident = _compare(scratch, images, float(manifest["threshold"]))
        _check(confident, images_are)
        accuracy = {} if dataset is None else _accuracies(scratch, dataset, say)
        noted = _noted(every, confident, accuracy, len(images), images_are, dataset)
        for entry in entries.values():
            entry["verification"] = copy.deepcopy(noted)  # not one object, which YAML would write as a reference
            for key in ("file", "weights_file"):
                shutil.move(scratch / entry[key], bundle / entry[key])
    update_manifest(bundle, manifest)
    stages = tuple(_report(bundle, name, entry) for name, entry in entries.items())
    return Int8Report(stages, every, confident, accuracy)


def int8_entry(bundle: Path, stage: Mapping[str, Any]) -> dict[str, Any] | None:
    """The stage's entry `typed` of the manifest for INT8, where its files are there, and made from this stage by this
    recipe. With which images they were calibrated is not asked.
    """
    for entry in stage.get("typed") or []:
        if (
            entry.get("precision") == INT8
            and entry.get("source_sha256") == stage["sha256"]
            and entry.get("recipe") == recipe()
            and _is_file(bundle / str(entry.get("file")), entry.get("sha256"))
            and _is_file(bundle / str(entry.get("weights_file")), entry.get("weights_sha256"))
        ):
            return dict(entry)
    return None


def recipe() -> str:
    """Names the way of quantising and its islands; NNCF's version is noted beside it."""
    text = importlib.resources.files(__package__).joinpath(INT8_ISLANDS).read_bytes()
    return f"{QUANTISER_VERSION}-{hashlib.sha256(text).hexdigest()[:12]}"


def _is_file(file: Path, sha256: Any) -> bool:
    return file.is_file() and file_sha256(file) == sha256


def _copy(bundle: Path, manifest: Mapping[str, Any], folder: Path) -> Path:
    """The bundle's manifest and float32 stages, verified."""
    scratch = folder / bundle.resolve().name
    for stage in manifest["stages"]:
        target = scratch / stage["file"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(stage_file(bundle, stage), target)
    shutil.copyfile(bundle / MANIFEST, scratch / MANIFEST)
    return scratch


def _quantise(
    scratch: Path, manifest: Mapping[str, Any], files: list[Path], data: Path, say: Callable[[str], None]
) -> dict[str, QuantisedStage]:
    say(f"INT8: what the stages are given, {len(files)} images")
    sources = {stage["name"]: onnx.load(scratch / stage["file"]) for stage in manifest["stages"]}
    inputs = stage_inputs(scratch, sources, files, data)
    family, result = manifest["family"], {}
    for stage in manifest["stages"]:
        name = stage["name"]
        say(f"INT8: quantising stage {name}")
        islands = islands_of(family, name, INT8_ISLANDS)
        result[name] = quantise(scratch / stage["file"], inputs[name], family, islands)
    return result


def _add(
    scratch: Path,
    stage: dict[str, Any],
    quantised: Mapping[str, QuantisedStage],
    images: int,
    calibration: Calibration,
) -> dict[str, Any]:
    """Writes the stage's files and puts their entry into it."""
    made = quantised[stage["name"]]
    file = scratch / "stages" / f"{stage['name']}.int8.xml"
    weights = made.save(file)
    entry = {
        "precision": INT8,
        "file": file.relative_to(scratch).as_posix(),
        "sha256": file_sha256(file),
        "weights_file": weights.relative_to(scratch).as_posix(),
        "weights_sha256": file_sha256(weights),
        "source_sha256": stage["sha256"],
        "recipe": recipe(),
        "tools": {"nncf": nncf_version()},
        "calibration": {"images": images, "folder": calibration.folder.resolve().name},
        "int8_nodes": made.int8_nodes,
        "float_nodes": made.float_nodes,
    }
    others = [other for other in stage.get("typed") or [] if other.get("precision") != INT8]
    stage["typed"] = [*others, entry]
    return entry


def _compare(scratch: Path, images: Sequence[NDArray[np.uint8]], threshold: float) -> tuple[Agreement, Agreement]:
    results = []
    for precision in ("fp32", INT8):
        with Predictor(scratch, precision=precision, threshold=0.0) as predictor:
            results.append([predictor(image) for image in images])
    expected, found = results
    return agreement(expected, found), agreement(expected, found, threshold)


def _check(confident: Agreement, images_are: str) -> None:
    if not confident.expected:
        raise ExportError(
            f"float32 detects nothing above the bundle's threshold on the {images_are}: what INT8 loses cannot be "
            "told; give images with objects"
        )
    if confident.share < LEAST_MATCHED or confident.mask_iou_mean < LEAST_MASK_IOU:
        raise ExportError(
            f"INT8 finds {confident.matched} of the {confident.expected} detections above the threshold, with a mask "
            f"IoU of {confident.mask_iou_mean:.3f} (at least {LEAST_MATCHED:.0%} and {LEAST_MASK_IOU}): the bundle is "
            "as it was. Give more images, like those of the use, with --calibration, or stay with float32"
        )


def _accuracies(scratch: Path, dataset: Path, say: Callable[[str], None]) -> dict[str, Accuracy]:
    result = {}
    for precision in ("fp32", INT8):
        say(f"AP on {dataset}, {precision}")
        with Predictor(scratch, precision=precision, threshold=0.0) as predictor:
            result[precision] = evaluate(predictor, dataset)
    return result


def _noted(
    every: Agreement,
    confident: Agreement,
    accuracy: Mapping[str, Accuracy],
    images: int,
    images_are: str,
    dataset: Path | None,
) -> dict[str, Any]:
    noted: dict[str, Any] = {
        "method": METHOD,
        "images": images,
        "images_are": images_are,
        "detections": summary(every),
        "detections_above_threshold": summary(confident),
    }
    if dataset is not None:
        noted["ap"] = {"dataset": dataset.name, "method": METHOD} | {
            name: found.rounded() for name, found in accuracy.items()
        }
    return noted


def _report(bundle: Path, name: str, entry: Mapping[str, Any]) -> Int8Stage:
    size = sum((bundle / entry[key]).stat().st_size for key in ("file", "weights_file"))
    return Int8Stage(name, size, entry["int8_nodes"], entry["float_nodes"])
