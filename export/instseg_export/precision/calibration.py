"""What a bundle's stages are given when images go through the runtime: the data of a quantisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from instseg_rt.files import read_bytes
from instseg_rt.image_file import decode_image
from instseg_rt.sources import IMAGE_SUFFIXES

from ..errors import ExportError
from .comparison import Arrays, GraphStage, stage_predictor

MOST_REGIONS = 64
"""RoIs of an image that a head is calibrated with: proposals come best first, and the last are background."""


def image_files(folder: Path, option: str, most: int) -> list[Path]:
    """At most so many image files, spread evenly over the folder in the order of their names.

    Raises `ExportError` naming the option where there are none.
    """
    if not folder.is_dir():
        raise ExportError(f"{option} {folder}: no such folder")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise ExportError(f"{option} {folder}: no images there")
    count = min(most, len(files))
    return [files[index * len(files) // count] for index in range(count)]


def read_image(file: Path) -> NDArray[np.uint8]:
    """BGR, as the runtime reads it; raises `IoError` where it cannot be read."""
    return np.asarray(decode_image(read_bytes(file), str(file)), np.uint8)


class StageInputs:
    """What one stage was given, kept in files: of a hundred photos it is gigabytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        folder.mkdir(parents=True)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, NDArray[np.float32]]]:
        for number in range(self._count):
            with np.load(self._file(number)) as arrays:
                yield dict(arrays)

    def add(self, inputs: Arrays) -> None:
        """Nothing to compute, such as no RoIs, is left out."""
        kept = {name: value[:MOST_REGIONS] for name, value in inputs.items()}
        if all(value.size for value in kept.values()):
            np.savez(self._file(self._count), allow_pickle=False, **kept)
            self._count += 1

    def _file(self, number: int) -> Path:
        return self._folder / f"{number}.npz"


def stage_inputs(
    bundle: Path, sources: Mapping[str, onnx.ModelProto], files: list[Path], folder: Path
) -> dict[str, StageInputs]:
    """Runs the float32 stages on images, one by one, in the runtime's pipeline; by stage what it was given.

    sources: the stages' graphs. folder: where the data lies; the caller removes it. Raises `ExportError` where a stage
    was given nothing at all.
    """
    inputs = {name: StageInputs(folder / name) for name in sources}
    with stage_predictor(bundle, {name: _recording(model, inputs[name]) for name, model in sources.items()}) as run:
        for file in files:
            run(read_image(file))
    for name, found in inputs.items():
        if not len(found):
            raise ExportError(f"stage {name}: nothing reached it on {len(files)} images: no objects? Give other images")
    return inputs


def _recording(model: onnx.ModelProto, inputs: StageInputs) -> Callable[[Arrays], Arrays]:
    stage = GraphStage(model)

    def run(arrays: Arrays) -> Arrays:
        inputs.add(arrays)
        return stage(arrays)

    return run
