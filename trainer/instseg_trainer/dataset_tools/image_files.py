"""The image files of a data set: there, readable, of the size that the annotations say, and no image in two places."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from instseg_rt.errors import Error
from instseg_rt.files import read_bytes
from instseg_rt.image_file import decode_image
from instseg_trainer.data.coco_file import ImageEntry
from instseg_trainer.dataset_tools.coco_set import CocoSet, normalized_name
from instseg_trainer.dataset_tools.problems import Findings, Kind, Problem

IMAGE_FOLDER = "images"
_MAXIMUM_THREADS = 8


@dataclass(frozen=True)
class _Verdict:
    problem: tuple[Kind, str] | None
    digest: bytes | None  # of the file's content


def check_images(folder: Path, sets: Sequence[CocoSet], findings: Findings, advance: Callable[[], None]) -> None:
    """Reads every image of all sets; `advance` is called after each."""
    jobs = [(part, image_id) for part in sets for image_id in part.images]
    digests: dict[bytes, tuple[CocoSet, int]] = {}
    workers = min(_MAXIMUM_THREADS, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(workers) as pool:
        verdicts = pool.map(lambda job: _examine(folder / IMAGE_FOLDER, job[0].images[job[1]]), jobs)
        for (part, image_id), verdict in zip(jobs, verdicts, strict=True):
            advance()
            if verdict.problem is not None:
                findings.add(verdict.problem[0], part.file, f"image id {image_id}", verdict.problem[1])
            if verdict.digest is None:
                continue
            first_part, first_id = digests.setdefault(verdict.digest, (part, image_id))
            if first_part is not part:
                findings.problems.append(_overlap(part, image_id, first_part, first_id))


def is_file(path: Path) -> bool:
    """Whether there is such a file; False too for a name that no file can have."""
    try:
        return path.is_file()
    except OSError:
        return False


def check_overlap(train: CocoSet, val: CocoSet, findings: Findings) -> None:
    """Images that both parts name; needs no file. (`check_images` finds equal files of other names.)"""
    names = {normalized_name(image.file_name): image_id for image_id, image in train.images.items()}
    for image_id, image in val.images.items():
        first = names.get(normalized_name(image.file_name))
        if first is not None:
            findings.problems.append(_overlap(val, image_id, train, first))


def _overlap(part: CocoSet, image_id: int, first_part: CocoSet, first_id: int) -> Problem:
    name, first_name = part.images[image_id].file_name, first_part.images[first_id].file_name
    what = f"{name} is" if name == first_name else f"{name} has the same content as {first_name},"
    message = f"{what} also image id {first_id} of {first_part.file}: leave it in one of the two"
    return Problem(Kind.OVERLAP, part.file, f"image id {image_id}", message)


def _examine(images: Path, image: ImageEntry) -> _Verdict:
    path = images / image.file_name
    shown = f"{IMAGE_FOLDER}/{image.file_name}"
    if not is_file(path):
        hint = "; write / between folders" if "\\" in image.file_name else ""
        return _Verdict((Kind.MISSING_IMAGE, f"file not found: {shown}{hint}"), None)
    try:
        data = read_bytes(path)
        height, width = decode_image(data, shown).shape[:2]
    except Error as error:
        return _Verdict((Kind.UNREADABLE_IMAGE, str(error)), None)
    problem = None
    if (height, width) != (image.height, image.width):
        problem = (
            Kind.SIZE_MISMATCH,
            f"{shown} is {width}x{height} pixels (EXIF orientation applied), the entry says "
            f"{image.width}x{image.height}",
        )
    return _Verdict(problem, hashlib.sha256(data).digest())
