"""Write rendered scenes as a COCO instance-segmentation data set.

OUT/images/train_000000.jpg …            quality 95
OUT/annotations/instance_train.json      exact masks as compressed RLE, iscrowd 0; all ids start at 1
OUT/annotations/instance_val.json
OUT/scenes.json                          what the set was made with
OUT/.progress/                           one record per finished image; gone once the set is complete
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from instseg_rt.scenes.renderer import MAX_SIDE, MIN_SIDE, SCENE_VERSION, Scene, render_scene
from instseg_rt.scenes.rle import encode_mask
from instseg_rt.scenes.shapes import CLASS_NAMES

DEFAULT_SEED = 0
DEFAULT_SIDE = 320
DEFAULT_VAL_FRACTION = 0.1
SPLITS = ("train", "val")

_JPEG_QUALITY = 95
_MAX_IMAGES = 1_000_000
_SETTINGS_FILE = "scenes.json"
_PROGRESS_FOLDER = ".progress"


class SceneDatasetError(Exception):
    """A data set that cannot be made as asked; the message is one line for the user."""


@dataclass(frozen=True)
class DatasetSettings:
    """Everything the pixels and annotations depend on."""

    images: int
    seed: int
    height: int
    width: int
    val_fraction: float
    scene_version: int = SCENE_VERSION

    def __post_init__(self) -> None:
        if not 1 <= self.images <= _MAX_IMAGES:
            raise SceneDatasetError(f"images is {self.images}, expected 1..{_MAX_IMAGES}")
        if self.seed < 0:
            raise SceneDatasetError(f"seed is {self.seed}, expected 0 or more")
        for name, side in (("height", self.height), ("width", self.width)):
            if not MIN_SIDE <= side <= MAX_SIDE:
                raise SceneDatasetError(f"{name} is {side}, expected {MIN_SIDE}..{MAX_SIDE} pixels")
        if not (math.isfinite(self.val_fraction) and 0 <= self.val_fraction < 1):
            raise SceneDatasetError(f"val_fraction is {self.val_fraction}, expected 0 <= val_fraction < 1")
        if self.count("train") < 1:
            raise SceneDatasetError(
                f"{self.images} image(s) with val_fraction {self.val_fraction} leave none to train on; make more images"
            )

    def count(self, split: str) -> int:
        """Number of images in a split; val has at least one unless its fraction is 0."""
        val = max(1, round(self.images * self.val_fraction)) if self.val_fraction > 0 else 0
        return val if split == "val" else self.images - val


def scene_seed(seed: int, split: str, index: int) -> int:
    """The `render_scene` seed of image `index` of a split.

    Every (seed, split, index) has its own: bits 0-31 hold the index, bit 32 the split; the set's seed lies
    above. So train and val never share a scene, a set made with another seed is unseen, and a larger set of
    the same seed begins with the same images.
    """
    return (seed * len(SPLITS) + SPLITS.index(split)) << 32 | index


@dataclass(frozen=True)
class _Task:
    name: str  # file name without suffix
    seed: int


def make_dataset(
    out: Path | str,
    images: int,
    *,
    seed: int = DEFAULT_SEED,
    height: int = DEFAULT_SIDE,
    width: int = DEFAULT_SIDE,
    val_fraction: float = DEFAULT_VAL_FRACTION,
    workers: int | None = None,
) -> Path:
    """Render `images` scenes, train and val together, into the folder `out`; returns the folder.

    An interrupted call is continued by the same call; on a complete set it changes nothing. `workers` counts
    processes (default: one per CPU this process may use). Raises SceneDatasetError for bad arguments and for
    a folder that holds something else, OSError where writing fails.
    """
    settings = DatasetSettings(images, seed, height, width, val_fraction)
    workers = _usable_cpus() if workers is None else workers
    if workers < 1:
        raise SceneDatasetError(f"workers is {workers}, expected 1 or more")
    folder = Path(out)
    _claim(folder, settings)
    annotation_files = {split: folder / "annotations" / f"instance_{split}.json" for split in SPLITS}
    if all(file.is_file() for file in annotation_files.values()):
        return folder
    for sub_folder in ("images", "annotations", _PROGRESS_FOLDER):
        (folder / sub_folder).mkdir(exist_ok=True)
    tasks = {split: _tasks(settings, split) for split in SPLITS}
    everything = [task for split in SPLITS for task in tasks[split]]
    missing = [task for task in everything if _load_record(folder, task) is None]
    with _progress(len(everything), len(everything) - len(missing)) as advance:
        _render_all(folder, missing, settings, min(workers, max(1, len(missing))), advance)
    for split in SPLITS:
        _write_json(annotation_files[split], _assemble(folder, tasks[split], settings))
    shutil.rmtree(folder / _PROGRESS_FOLDER)
    return folder


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _claim(folder: Path, settings: DatasetSettings) -> None:
    """Make the folder ours, or say why it is not."""
    if folder.exists() and not folder.is_dir():
        raise SceneDatasetError(f"{folder} is a file; give a folder that is new or empty")
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / _SETTINGS_FILE
    if not marker.is_file():
        if any(folder.iterdir()):
            raise SceneDatasetError(
                f"{folder} is not empty and has no {_SETTINGS_FILE}, so it is not a data set of scenes;"
                " give a new folder"
            )
        _write_json(marker, asdict(settings))
        return
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SceneDatasetError(f"{marker} is not valid JSON ({error}); give a new folder") from None
    expected = asdict(settings)
    found = found if isinstance(found, dict) else {}
    differences = [
        f"{key} {found.get(key, 'missing')}, now {value}" for key, value in expected.items() if found.get(key) != value
    ]
    if differences:
        raise SceneDatasetError(
            f"{folder} was begun with other settings ({'; '.join(differences)}); give a new folder or the same settings"
        )


def _tasks(settings: DatasetSettings, split: str) -> list[_Task]:
    return [
        _Task(f"{split}_{index:06d}", scene_seed(settings.seed, split, index)) for index in range(settings.count(split))
    ]


def _image_file(folder: Path, task: _Task) -> Path:
    return folder / "images" / f"{task.name}.jpg"


def _record_file(folder: Path, task: _Task) -> Path:
    return folder / _PROGRESS_FOLDER / f"{task.name}.json"


def _render_all(
    folder: Path, tasks: list[_Task], settings: DatasetSettings, workers: int, advance: Callable[[], None]
) -> None:
    render = partial(_render_one, folder, settings.height, settings.width)
    if workers == 1:
        for task in tasks:
            render(task)
            advance()
        return
    # Spawned, not forked: OpenCV's threads do not survive a fork.
    executor = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        for _ in executor.map(render, tasks, chunksize=4):
            advance()
    except BrokenProcessPool:
        raise SceneDatasetError(
            "a rendering process died, perhaps for lack of memory; run again to continue, with fewer workers"
        ) from None
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """One thread per process; Ctrl-C is the parent's to handle, else every worker prints a traceback."""
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _render_one(folder: Path, height: int, width: int, task: _Task) -> None:
    """Picture first, record second: a record stands for a finished picture."""
    scene = render_scene(task.seed, height, width)
    bgr = np.ascontiguousarray(scene.image[..., ::-1])
    encoded, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    if not encoded:
        raise OSError(f"cannot encode {task.name}.jpg: this OpenCV has no JPEG encoder")
    picture = data.tobytes()
    _write_bytes(_image_file(folder, task), picture)
    _write_json(_record_file(folder, task), {"bytes": len(picture), "objects": _objects(scene)})


def _objects(scene: Scene) -> list[dict[str, Any]]:
    """COCO annotations of a scene, without ids."""
    objects = []
    for instance in scene.instances:
        rows, columns = np.flatnonzero(instance.mask.any(axis=1)), np.flatnonzero(instance.mask.any(axis=0))
        left, top = int(columns[0]), int(rows[0])
        objects.append(
            {
                "category_id": instance.class_id + 1,
                "segmentation": encode_mask(instance.mask).to_coco(),
                "area": int(instance.mask.sum()),
                "bbox": [left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top],
                "iscrowd": 0,
            }
        )
    return objects


def _load_record(folder: Path, task: _Task) -> list[dict[str, Any]] | None:
    """The finished image's objects; None if there is no whole record with its whole picture."""
    try:
        record = json.loads(_record_file(folder, task).read_text(encoding="utf-8"))
        if _image_file(folder, task).stat().st_size != record["bytes"]:
            return None
        return record["objects"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _assemble(folder: Path, tasks: list[_Task], settings: DatasetSettings) -> dict[str, Any]:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, task in enumerate(tasks, start=1):
        objects = _load_record(folder, task)
        if objects is None:
            raise SceneDatasetError(f"{_record_file(folder, task)} vanished while the set was made; run again")
        name = _image_file(folder, task).name
        images.append({"id": image_id, "file_name": name, "height": settings.height, "width": settings.width})
        for entry in objects:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **entry})
    categories = [{"id": i, "name": name, "supercategory": "solid"} for i, name in enumerate(CLASS_NAMES, start=1)]
    description = f"rendered scenes, seed {settings.seed}, version {settings.scene_version}"
    return {
        "info": {"description": description},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def _write_json(file: Path, value: object) -> None:
    _write_bytes(file, json.dumps(value, separators=(",", ":")).encode("ascii"))


def _write_bytes(file: Path, data: bytes) -> None:
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _progress(total: int, done: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    columns = (TextColumn("rendering"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("rendering", total=total, completed=done)
        yield lambda: bar.advance(task)
