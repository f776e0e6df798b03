"""The image files that calls are made with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.sources import read_sources

SCENE_SIZE = 640  # pixels
_JPEG_QUALITY = 95


def image_files(inputs: Sequence[str], folder: Path) -> list[Path]:
    """The files of `inputs` (image files, folders, glob patterns), each decoded once; without inputs a rendered scene.

    folder: where the scene is written. Raises the errors of `instseg_rt.sources` for what cannot be read, and
    `BenchmarkError` for what is no still image in a file of its own.
    """
    if not inputs:
        return [_scene_file(folder)]
    files = []
    for source in read_sources(list(inputs)):
        if source.input_path is None or source.page_index is not None or not Path(source.input_path).is_file():
            raise BenchmarkError(
                f"{source.input_path}: expected image files with one picture each: a call reads and decodes a file"
            )
        files.append(Path(source.input_path))
    return files


def _scene_file(folder: Path) -> Path:
    """The demo's scene as a JPEG."""
    from instseg_rt.scenes import render_scene

    image = np.ascontiguousarray(render_scene(0, SCENE_SIZE, SCENE_SIZE).image[..., ::-1])
    file = folder / "scene.jpg"
    if not cv2.imwrite(str(file), image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]):
        raise BenchmarkError(f"{file}: cannot be written")
    return file
