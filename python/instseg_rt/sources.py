"""Everything that can be predicted on, as a stream of images.

| input | what it gives |
| --- | --- |
| path (`str`, `Path`) of an image | one image; of a TIFF: its pages (`page_index`) |
| path of a video file | its frames (`page_index` is the frame number) |
| directory | the images in it and below, sorted by path; files of other kinds are left out |
| glob pattern (`frames/*.jpg`, `**` for any depth) | the matching files, sorted |
| `http://`, `https://` address | the image behind it; `rtsp://`: the frames of the stream |
| `bytes`, `bytearray`, `memoryview` | an encoded image (a whole JPEG, PNG, … file) |
| numpy array | HxW, HxWx1 grey, HxWx3 colour, HxWx4 with alpha (dropped); uint8, or uint16 (its high byte) |
| array of another library (`__cuda_array_interface__`, `__dlpack__`) | on the host: as a numpy array; on a GPU: uint8 |
| PIL image | with its EXIF orientation applied |
| int | the camera with this index, until it stops |
| list, tuple, iterator of these | one after the other, nested as they come |

Arrays are taken as BGR, as OpenCV has them, unless `color="rgb"` says otherwise. Arrays on a GPU are used where they
are; an iterator must not fill one again before its result is there.
"""

from __future__ import annotations

import glob
import os
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np

from instseg_rt import image_file, video
from instseg_rt.download import download, is_url
from instseg_rt.errors import Error, InvalidArgumentError, IoError, UnsupportedError
from instseg_rt.files import read_bytes
from instseg_rt.gpu_image import host_array, is_foreign_array
from instseg_rt.type_names import type_name

Color = Literal["bgr", "rgb"]

IMAGE_SUFFIXES = frozenset(
    {".bmp", ".dib", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".ras", ".sr"}
    | {".tif", ".tiff", ".webp"}
)
MAX_NESTING = 32

_ACCEPTED = (
    "expected a path, URL, glob pattern, encoded bytes, numpy array, CUDA or DLPack array, PIL image, camera index, "
    "or a list, tuple or iterator of these"
)


@dataclass(frozen=True, slots=True, eq=False)
class SourceImage:
    """One image to predict on.

    image: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8; channels in `color` order, alpha last. None where the
    pixels are on a GPU.
    gpu: what has them there, while they are to be predicted on.
    input_path: the path or URL that it came from; None for arrays, PIL images, bytes and cameras.
    page_index: page of a TIFF or frame of a video, from 0; None for other images.
    decode_ms: time spent on reading and decoding it.
    """

    image: np.ndarray | None
    color: Color
    input_path: str | None = None
    page_index: int | None = None
    decode_ms: float = 0.0
    gpu: Any = None

    def bgr(self) -> np.ndarray | None:
        """The image as (H, W, 3) uint8 BGR; the same memory where it is that already. None where it is on a GPU."""
        if self.image is None:
            return None
        image = self.image[:, :, 0] if self.image.ndim == 3 and self.image.shape[2] == 1 else self.image
        if image.ndim == 2:
            return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
        image = image[:, :, :3]
        return image if self.color == "bgr" else np.ascontiguousarray(image[:, :, ::-1])


def read_sources(inputs: Any, color: Color = "bgr") -> Iterator[SourceImage]:
    """Yield the images of any input of the table above, read and decoded one at a time.

    color: channel order of numpy arrays.
    Raises `InvalidArgumentError` for what is none of these, `IoError` for what cannot be read,
    `UnsupportedError` for files of a kind that is not read; the message names the input. Images before the
    bad one have been yielded.
    """
    if color not in get_args(Color):
        raise InvalidArgumentError(f"color: expected one of {', '.join(get_args(Color))}; found {color!r}")
    images = _read(inputs, color, depth=0, reused=False)
    try:
        while True:
            start = time.perf_counter()
            source = next(images, None)
            if source is None:
                return
            yield replace(source, decode_ms=(time.perf_counter() - start) * 1e3)
    finally:
        images.close()  # releases a camera or video at once


def _read(item: Any, color: Color, depth: int, reused: bool) -> Generator[SourceImage, None, None]:
    """`reused`: the item comes from an iterator, which may fill its array again while it is in use."""
    if isinstance(item, str | os.PathLike):
        yield from _read_text(os.fspath(item), color)
    elif isinstance(item, np.ndarray):
        array = _checked_array(item)
        yield SourceImage(array.copy() if reused and array is item else array, color)
    elif isinstance(item, bytes | bytearray | memoryview):
        yield from _read_encoded(item, f"encoded image of {len(item)} bytes", None)
    elif isinstance(item, int | np.integer) and not isinstance(item, bool):
        yield from (SourceImage(frame, "bgr", None, i) for i, frame in enumerate(video.camera_frames(int(item))))
    elif _is_pil_image(item):
        yield _from_pil(item)
    elif is_foreign_array(item):
        pixels = host_array(item)
        if pixels is None:
            yield SourceImage(None, color, gpu=item)
        else:
            array = _checked_array(pixels)
            yield SourceImage(array.copy() if reused and array is pixels else array, color)
    elif isinstance(item, list | tuple | Iterator):
        if depth >= MAX_NESTING:
            raise InvalidArgumentError(f"input: lists are nested more than {MAX_NESTING} deep")
        lazy = not isinstance(item, list | tuple)
        for part in item:
            yield from _read(part, color, depth + 1, reused=lazy)
    else:
        hint = " (what cv2.imread gives for a file that it cannot read)" if item is None else ""
        raise InvalidArgumentError(f"input: found {type_name(item)}{hint}; {_ACCEPTED}")


def _read_text(text: str | bytes, color: Color) -> Iterator[SourceImage]:
    if isinstance(text, bytes):
        text = os.fsdecode(text)
    if not text or "\0" in text:
        raise InvalidArgumentError(f"input: found {text!r}, which is no path; {_ACCEPTED}")
    if is_url(text):
        yield from _read_encoded(download(text), text, text)
        return
    if text.lower().startswith("rtsp://"):
        yield from (SourceImage(frame, "bgr", text, i) for i, frame in enumerate(video.stream_frames(text)))
        return
    path = Path(text)
    try:
        if path.is_dir():
            paths = _images_below(path)
        elif not path.exists() and glob.has_magic(text):
            matches = glob.glob(text, recursive=True)  # noqa: PTH207 (Path.glob refuses absolute patterns)
            paths = sorted(path for path in map(Path, matches) if path.is_file())
            if not paths:
                raise IoError(f"{text}: no file matches this pattern")
        else:
            paths = [path]
    except OSError as error:
        raise IoError(f"{text}: cannot be read: {error.strerror}") from error
    for file in paths:
        yield from _read_file(file)


def _images_below(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise IoError(f"{error.filename}: the directory cannot be read: {error.strerror}") from error

    found = [
        Path(root) / name
        for root, _, names in os.walk(folder, onerror=refuse)
        for name in names
        if Path(name).suffix.lower() in IMAGE_SUFFIXES
    ]
    if not found:
        raise IoError(f"{folder}: no image in this directory or below (looked for {', '.join(sorted(IMAGE_SUFFIXES))})")
    return sorted(found)


def _read_file(path: Path) -> Iterator[SourceImage]:
    suffix = path.suffix.lower()
    if suffix in video.VIDEO_SUFFIXES:
        frames = enumerate(video.video_frames(path))
        yield from (SourceImage(frame, "bgr", str(path), index) for index, frame in frames)
    elif suffix == ".pdf":
        raise UnsupportedError(f"{path}: PDF files are not read: convert the pages to images first")
    elif path.exists() and not path.is_file():
        raise IoError(f"{path}: expected an image file, found a device, pipe or socket")
    else:
        yield from _read_encoded(read_bytes(path), str(path), str(path))


def _read_encoded(data: image_file.Encoded, name: str, input_path: str | None) -> Iterator[SourceImage]:
    if image_file.is_tiff(data):
        pages = enumerate(image_file.decode_pages(data, name))
        yield from (SourceImage(image, "bgr", input_path, page) for page, image in pages)
    else:
        yield SourceImage(image_file.decode_image(data, name), "bgr", input_path)


def _checked_array(array: np.ndarray) -> np.ndarray:
    shape = "x".join(map(str, array.shape))
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))):
        hint = "; for a batch give a list of images" if array.ndim == 4 else ""
        if array.ndim == 3 and array.shape[0] in (1, 3, 4):
            hint = "; channels come last: image.transpose(1, 2, 0)"
        raise InvalidArgumentError(
            f"array image: expected the shape HxW, HxWx1, HxWx3 or HxWx4, found {shape or 'a scalar'}{hint}"
        )
    if array.size == 0:
        raise InvalidArgumentError(f"array image: expected at least one pixel, found the shape {shape}")
    image_file.check_pixel_count(array.shape[0], array.shape[1], "array image")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return image_file.reduce_to_8_bit(array)
    raise InvalidArgumentError(
        f"array image: expected uint8 (0..255) or uint16, found {array.dtype}: "
        "convert it yourself, since its range is not known here"
    )


def _is_pil_image(item: Any) -> bool:
    # Pillow is not a dependency: an object can only be its image when the caller has imported it.
    pil = sys.modules.get("PIL.Image")
    return pil is not None and isinstance(item, pil.Image)


def _from_pil(image: Any) -> SourceImage:
    from PIL import ImageOps

    name = f"PIL image of mode {image.mode}"
    image_file.check_pixel_count(image.height, image.width, name)
    try:
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            return SourceImage(image_file.reduce_to_8_bit(np.asarray(image).astype(np.uint16)), "rgb")
        if image.mode in ("I", "F"):
            raise InvalidArgumentError(f"{name}: its range is not known here: convert it to L or RGB")
        pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("RGB"))
    except Error:
        raise
    except (OSError, ValueError, SyntaxError) as error:  # a lazily loaded file may be missing, cut or damaged
        source = getattr(image, "filename", "") or name
        raise IoError(f"{source}: the PIL image cannot be loaded: {error}") from error
    return SourceImage(_checked_array(pixels), "rgb")
