"""Files of a Result, named as PaddleX names them."""

from __future__ import annotations

import mimetypes
import re
import secrets
import time
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import cv2

from instseg_rt.download import is_url
from instseg_rt.errors import InvalidArgumentError, IoError
from instseg_rt.files import write_atomically
from instseg_rt.result_formats import MaskFormat, json_text

if TYPE_CHECKING:
    from instseg_rt.result import Result

# Lossless where the input's own format is not one that pictures are written in.
_DEFAULT_SUFFIX = ".png"
_PICTURE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".webp"})


def output_stem(result: Result) -> str:
    """`{stem}` of the input, `{stem}_{page}` with a page index; `{timestamp}_{4 digits}` without a path."""
    if result.input_path is None:
        return f"{int(time.time())}_{secrets.randbelow(9000) + 1000}"
    name = _input_name(result.input_path)
    return name.stem if result.page_index is None else f"{name.stem}_{result.page_index}"


def picture_suffix(result: Result) -> str:
    """The suffix of the input where pictures are written in that format, else `.png`."""
    suffix = _input_name(result.input_path).suffix if result.input_path else ""
    return suffix if suffix.lower() in _PICTURE_SUFFIXES else _DEFAULT_SUFFIX


def save_image(result: Result, path: Path) -> Path:
    """See `Result.save_to_img`."""
    kind = mimetypes.guess_type(path.name)[0] or ""
    if not kind.startswith("image/"):
        path = path / f"{result.output_stem}_res{picture_suffix(result)}"
    elif not cv2.haveImageWriter(path.name):
        raise InvalidArgumentError(f"{path}: images cannot be written as {path.suffix}: use .png or .jpg")
    try:
        encoded, data = cv2.imencode(path.suffix, result.plot())
    except cv2.error as error:
        raise IoError(f"{path}: the image cannot be encoded: {str(error).splitlines()[0]}") from error
    if not encoded:
        raise IoError(f"{path}: the image cannot be encoded as {path.suffix}")
    write_atomically(path, data.tobytes())
    return path


def save_json(result: Result, path: Path, indent: int | None, ensure_ascii: bool, mask_format: MaskFormat) -> Path:
    """See `Result.save_to_json`."""
    if mimetypes.guess_type(path.name)[0] != "application/json":
        path = path / f"{result.output_stem}_res.json"
    write_atomically(path, json_text(result, indent, ensure_ascii, mask_format).encode())
    return path


def _input_name(input_path: str) -> PurePosixPath | Path:
    """The file name of the input; of a URL the last part of its path, made fit for a file name."""
    if not is_url(input_path) and "://" not in input_path:
        return Path(Path(input_path).name)
    last = unquote(PurePosixPath(urlsplit(input_path).path).name)
    return PurePosixPath(re.sub(r"[^\w.-]", "_", last).strip(".") or "image")
