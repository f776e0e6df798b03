"""From LabelMe's files to a data set in COCO's layout, in the same folder."""

from __future__ import annotations

import filecmp
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from instseg_rt.files import read_bytes, write_atomically
from instseg_trainer.dataset_tools.coco_set import PARTS, annotation_file
from instseg_trainer.dataset_tools.image_files import IMAGE_FOLDER, is_file
from instseg_trainer.dataset_tools.labelme_file import (
    LabelMeFile,
    is_labelme,
    read_document,
    read_embedded,
    read_labelme,
)
from instseg_trainer.dataset_tools.problems import Findings, Kind
from instseg_trainer.dataset_tools.replace import replace_files
from instseg_trainer.dataset_tools.split import DEFAULT_TRAIN_PERCENT, choose_train

# PaddleX's lists of LabelMe files, one path a line; without them all LabelMe files of the folder are taken.
_LISTS = {"train": "train_anno_list.txt", "val": "val_anno_list.txt"}


def convert(folder: Path, source_type: str | None, seed: int, findings: Findings) -> str | None:
    """Converts the data set in `folder`; returns what was done, None where there are problems.

    Nothing changes where there is a problem. A folder that has been converted is left alone.
    """
    if source_type != "LabelMe":
        message = f"CheckDataset.convert.src_dataset_type: expected LabelMe, found {source_type}"
        findings.add(Kind.CONVERSION, "", "", message)
        return None
    before = len(findings.problems)
    lists = [name for name in _LISTS.values() if (folder / name).is_file()]
    names = _listed(folder, findings) if lists else {"train": _discovered(folder, findings)}
    total = sum(len(part) for part in names.values())
    done = [annotation_file(part) for part in PARTS if (folder / annotation_file(part)).is_file()]
    if done and not total and len(findings.problems) == before:
        return f"Convert: {' and '.join(done)} there already, and no file of LabelMe: nothing to convert"
    if done:
        message = (
            "is there already, beside files of LabelMe: move it away to convert again, or switch the conversion off"
        )
        findings.add(Kind.CONVERSION, done[0], "", message)
    elif not total and len(findings.problems) == before:
        findings.add(Kind.CONVERSION, "", "", f"{folder}: no file of LabelMe (*.json) in this folder")
    files = {part: [read_labelme(folder, name, findings) for name in names[part]] for part in names}
    sound = {part: [file for file in files[part] if file is not None] for part in files}
    _check_images([file for part in sound.values() for file in part], findings)
    if len(findings.problems) > before:
        return None
    labels = _labels(sound)
    if "val" not in sound:
        sound = _divided(sound["train"], labels, seed)
        message = f"{len(sound['train'])} and {len(sound['val'])} images, {DEFAULT_TRAIN_PERCENT} percent for train"
        findings.notes.append(f"no {_LISTS['val']}: divided into {message}")
    placed = _place_images(folder, [file for part in PARTS for file in sound[part]])
    contents = _documents(sound, labels, placed)
    retired = [*(file.name for part in PARTS for file in sound[part]), *lists]
    replace_files(folder, contents, retired)
    counts = ", ".join(f"{len(sound[part])} {part}" for part in PARTS)
    instances = sum(len(file.objects) for part in PARTS for file in sound[part])
    return f"Convert: images: {counts}; {instances} instances of {len(labels)} classes; the originals end in .bak now"


def _listed(folder: Path, findings: Findings) -> dict[str, list[str]]:
    """The files that PaddleX's lists name, for each part that has a list."""
    names: dict[str, list[str]] = {part: [] for part in PARTS if (folder / _LISTS[part]).is_file()}
    seen: dict[str, str] = {}
    for part, listed in names.items():
        list_name = _LISTS[part]
        try:
            lines = (folder / list_name).read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            findings.add(Kind.CONVERSION, list_name, "", "not UTF-8 text: save it as that")
            continue
        for number, line in enumerate(lines, 1):
            name = PurePosixPath(line.strip().replace("\\", "/"))
            if not line.strip():
                continue
            entry = f"line {number}"
            if name.is_absolute() or ".." in name.parts or PureWindowsPath(name).drive:
                findings.add(Kind.CONVERSION, list_name, entry, f"{line.strip()!r} leaves the data set's folder")
            elif not is_file(folder / name):
                findings.add(Kind.CONVERSION, list_name, entry, f"file not found: {name}")
            elif str(name) in seen:
                findings.add(Kind.CONVERSION, list_name, entry, f"{name} is listed twice ({seen[str(name)]})")
            else:
                seen[str(name)] = f"{list_name}, {entry}"
                listed.append(str(name))
    if "train" not in names:
        message = f"is missing, though {_LISTS['val']} is there: list the train files in it"
        findings.add(Kind.CONVERSION, _LISTS["train"], "", message)
    return names


def _discovered(folder: Path, findings: Findings) -> list[str]:
    """All LabelMe files below the folder, by their names (2 before 10)."""
    names = []
    coco = {annotation_file(part) for part in PARTS}
    for path in folder.rglob("*.json"):
        name = path.relative_to(folder).as_posix()
        if name in coco or path.name.startswith(".") or not path.is_file():
            continue
        with findings.collect(Kind.CONVERSION, name, ""):
            if is_labelme(read_document(folder, name)):
                names.append(name)
            else:
                findings.notes.append(f"{name}: not a file of LabelMe, left alone")
    return sorted(names, key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]


def _check_images(files: Sequence[LabelMeFile], findings: Findings) -> None:
    """No image may have two files: which of them counts, only their author knows."""
    first: dict[Path, str] = {}
    for file in files:
        if file.image is None:
            continue
        other = first.setdefault(file.image, file.name)
        if other != file.name:
            message = f"its image {file.image.name} is that of {other} too: keep one of the two files"
            findings.add(Kind.CONVERSION, file.name, "", message)


def _labels(files: dict[str, list[LabelMeFile]]) -> dict[str, int]:
    """Category ids, from 1, in the order in which the labels first appear: those that PaddleX gives."""
    labels: dict[str, int] = {}
    for part in files.values():
        for file in part:
            for item in file.objects:
                labels.setdefault(item.label, len(labels) + 1)
    return labels


def _divided(files: list[LabelMeFile], labels: dict[str, int], seed: int) -> dict[str, list[LabelMeFile]]:
    counts = {file.name: Counter(labels[item.label] for item in file.objects) for file in files}
    train = choose_train(counts, DEFAULT_TRAIN_PERCENT, seed)
    return {part: [file for file in files if (file.name in train) == (part == "train")] for part in PARTS}


def _documents(
    files: dict[str, list[LabelMeFile]], labels: dict[str, int], image_names: dict[str, str]
) -> dict[str, bytes]:
    """The COCO files by name. Ids go on from train to val."""
    categories = [{"id": category_id, "name": label} for label, category_id in labels.items()]
    contents: dict[str, bytes] = {}
    image_id = annotation_id = 0
    for part in PARTS:
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for file in files[part]:
            image_id += 1
            name = image_names[file.name]
            images.append({"id": image_id, "file_name": name, "width": file.width, "height": file.height})
            for item in file.objects:
                annotation_id += 1
                ids = {"id": annotation_id, "image_id": image_id, "category_id": labels[item.label]}
                annotations.append({**ids, **item.to_coco(file.height, file.width)})
        document = {"images": images, "categories": categories, "annotations": annotations}
        contents[annotation_file(part)] = json.dumps(document, ensure_ascii=False).encode()
    return contents


def _place_images(folder: Path, files: Sequence[LabelMeFile]) -> dict[str, str]:
    """Brings every image under `images/`; LabelMe file to the image's name there. Only adds files."""
    placed: dict[str, str] = {}
    taken: set[str] = set()
    for file in files:
        path = PurePosixPath(file.image_name)
        number = 1
        name = file.image_name
        while name in taken or not _place(folder, file, folder / IMAGE_FOLDER / name):
            number += 1
            name = str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
        taken.add(name)
        placed[file.name] = name
    return placed


def _place(folder: Path, file: LabelMeFile, target: Path) -> bool:
    """Links (else copies) or writes the image to `target`; False where another image has that name."""
    if file.image is None:
        data = read_embedded(folder, file.name)
        if target.exists():
            return target.is_file() and target.read_bytes() == data
        write_atomically(target, data)
        return True
    if target.exists():
        return target.is_file() and filecmp.cmp(file.image, target, shallow=False)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file.image, target)
    except OSError:
        write_atomically(target, read_bytes(file.image))
    return True
