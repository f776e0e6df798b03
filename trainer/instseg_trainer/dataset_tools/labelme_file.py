"""One annotation file of LabelMe, with its image."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from instseg_rt.errors import Error
from instseg_rt.files import read_bytes
from instseg_rt.image_file import decode_image
from instseg_trainer.data.coco_file import is_text, read_json
from instseg_trainer.data.errors import DataError
from instseg_trainer.dataset_tools.image_files import IMAGE_FOLDER, is_file
from instseg_trainer.dataset_tools.labelme_shapes import LabelMeObject, decode_embedded, embedded_bytes, read_shape
from instseg_trainer.dataset_tools.problems import Findings, Kind

_SIGNATURES = ((b"\x89PNG", ".png"), (b"\xff\xd8", ".jpg"), (b"BM", ".bmp"), (b"II*\0", ".tif"), (b"MM\0*", ".tif"))


@dataclass
class LabelMeFile:
    """`name`: the file, relative to the data set's folder. `image`: the image file; None where it is embedded.

    `image_name`: the image below `images/`. Sizes in pixels.
    """

    name: str
    image: Path | None
    image_name: str
    height: int
    width: int
    objects: list[LabelMeObject] = field(default_factory=list)


def is_labelme(document: dict[str, Any]) -> bool:
    return "shapes" in document and "imagePath" in document


def read_labelme(folder: Path, name: str, findings: Findings) -> LabelMeFile | None:
    """Reads a file and looks at its image. Problems and notes go to `findings`; None where nothing can be read."""
    with findings.collect(Kind.CONVERSION, name, ""):
        document = read_document(folder, name)
        if not is_labelme(document):
            raise DataError("not a file of LabelMe: it has no shapes or no imagePath")
        found = _read_image(folder, name, document)
        shapes = document["shapes"]
        if not isinstance(shapes, list):
            raise DataError(f"shapes is {type(shapes).__name__}, expected a list")
        groups: dict[tuple[str, Any], LabelMeObject] = {}
        for index, shape in enumerate(shapes):
            with findings.collect(Kind.CONVERSION, name, f"shapes[{index}]"):
                _add_shape(found, shape, f"{name}: shapes[{index}]", groups, findings)
        return found
    return None


def read_document(folder: Path, name: str) -> dict[str, Any]:
    """The file's object; errors without its name."""
    try:
        return read_json(folder / name)
    except DataError as error:
        raise DataError(str(error).removeprefix(f"{folder / name}: ")) from None


def read_embedded(folder: Path, name: str) -> bytes:
    """The image file that a LabelMe file holds."""
    return embedded_bytes(read_document(folder, name).get("imageData"), "imageData")


def _add_shape(
    found: LabelMeFile, shape: Any, where: str, groups: dict[tuple[str, Any], LabelMeObject], findings: Findings
) -> None:
    if not isinstance(shape, dict):
        raise DataError(f"expected an object, found {shape!r:.60}")
    item, note = read_shape(shape, found.height, found.width)
    if note:
        findings.notes.append(f"{where}: {note}")
    if item is None:
        return
    group = shape.get("group_id")
    if group is not None and not isinstance(group, int | str):
        raise DataError(f"group_id is {group!r:.60}, expected a number or null")
    # Only parts of one label make one object: LabelMe's users also group what belongs together otherwise.
    whole = groups.setdefault((item.label, group), item) if group is not None else item
    if whole is item:
        found.objects.append(item)
        return
    whole.polygons += item.polygons
    if item.mask is not None:
        whole.mask = item.mask if whole.mask is None else whole.mask | item.mask


def _read_image(folder: Path, name: str, document: dict[str, Any]) -> LabelMeFile:
    """Finds the image and compares its size with the annotated one."""
    image_path = document["imagePath"]
    if not is_text(image_path) or "\0" in image_path:
        raise DataError(f"imagePath is {image_path!r:.80}, expected a file name")
    # A path of Windows is one here too; a name of Linux has no backslash that anyone wants.
    windows_path = PureWindowsPath(image_path)
    path = PurePosixPath(windows_path.name if windows_path.drive else windows_path.as_posix())
    image = _find_image(folder, PurePosixPath(name).parent, path)
    if image is not None:
        shown = str(image.relative_to(folder))
        try:
            pixels = decode_image(read_bytes(image), shown)
        except Error as error:
            raise DataError(str(error)) from None
        parts = image.relative_to(folder).parts
        image_name = "/".join(parts[1:] if parts[0] == IMAGE_FOLDER else parts)
    elif document.get("imageData") is not None:
        shown = "imageData"
        pixels = decode_embedded(document["imageData"], shown)
        start = embedded_bytes(document["imageData"], shown)[:4]
        suffix = next((ending for signature, ending in _SIGNATURES if start.startswith(signature)), ".png")
        image_name = str(PurePosixPath(name).parent / (path.stem + suffix))
    else:
        raise DataError(f"its image {image_path!r:.200} is not in the data set's folder, and there is no imageData")
    height, width = pixels.shape[:2]
    declared = (document.get("imageHeight"), document.get("imageWidth"))
    if any(value not in (None, size) for value, size in zip(declared, (height, width), strict=True)):
        raise DataError(
            f"{shown} is {width}x{height} pixels (EXIF orientation applied), the file says {declared[1]}x{declared[0]}"
        )
    return LabelMeFile(name, image, image_name, height, width)


def _find_image(folder: Path, below: PurePosixPath, path: PurePosixPath) -> Path | None:
    """The image that a LabelMe file in the subfolder `below` means; never one outside of the data set's folder.

    Paths of other machines are common, so the file's name alone is enough beside the LabelMe file and in `images/`.
    """
    root = folder.resolve()
    relative = PurePosixPath(path.name) if path.is_absolute() else path
    for candidate in (
        folder / below / relative,
        folder / IMAGE_FOLDER / below / path.name,
        folder / below / path.name,
        folder / IMAGE_FOLDER / path.name,
        folder / path.name,
    ):
        resolved = candidate.resolve()
        if is_file(resolved) and resolved.is_relative_to(root):
            return folder / resolved.relative_to(root)
    return None
