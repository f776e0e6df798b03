"""Encoded images -> pixels: what OpenCV decodes, with a verdict on files that it would accept silently.

Pixels are what `cv2.imread` gives: (H, W, 3) uint8, BGR, EXIF orientation applied, alpha dropped, palettes
and grey expanded, 16-bit values cut to their high byte.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import cv2
import numpy as np

from instseg_rt.errors import InvalidArgumentError, IoError

Encoded = bytes | bytearray | memoryview

# The C++ preprocessing takes no more either; checked on the header, before the pixels are allocated.
MAX_IMAGE_PIXELS = 1 << 28
MAX_TIFF_PAGES = 100_000

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TIFF_SIGNATURES = {b"II*\0": "<", b"MM\0*": ">"}
# Inside entropy-coded data 0xFF is followed by a stuffed 0, a restart marker (D0..D7) or fill bytes: all else
# ends it.
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def is_tiff(data: Encoded) -> bool:
    """Whether the bytes are a (classic) TIFF file, the format whose pages become images of their own."""
    return bytes(data[:4]) in _TIFF_SIGNATURES


def decode_image(data: Encoded, name: str) -> np.ndarray:
    """Decode one image to (H, W, 3) uint8 BGR.

    `name` stands for the image in errors: `IoError` for empty, truncated, undecodable or oversized data.
    """
    pixels = np.frombuffer(data, np.uint8)
    if pixels.size == 0:
        raise IoError(f"{name}: the image is empty (0 bytes)")
    _check_structure(data, name)
    try:
        image = cv2.imdecode(pixels, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise IoError(f"{name}: the image cannot be decoded: {_first_line(error)}") from error
    if image is None:
        raise IoError(_undecodable(bytes(data[:16]), name))
    return _checked_size(image, name)


def decode_pages(data: Encoded, name: str) -> Iterator[np.ndarray]:
    """Decode the pages of a TIFF one after the other, each (H, W, 3) uint8 BGR; errors as `decode_image`."""
    offsets = _tiff_page_offsets(data, name)
    pixels = np.frombuffer(data, np.uint8).copy()
    order = _TIFF_SIGNATURES[bytes(data[:4])]
    for page, offset in enumerate(offsets):
        # A decoder opens the page that the header points to: no page is read twice, as with imreadmulti.
        struct.pack_into(order + "I", pixels.data, 4, offset)
        try:
            image = cv2.imdecode(pixels, cv2.IMREAD_COLOR)
        except cv2.error as error:
            raise IoError(f"{name}: page {page} cannot be decoded: {_first_line(error)}") from error
        if image is None:
            raise IoError(f"{name}: page {page} of the TIFF cannot be decoded: damaged or of an unsupported kind")
        yield _checked_size(image, name)


def reduce_to_8_bit(image: np.ndarray) -> np.ndarray:
    """uint16 -> uint8 as `cv2.imread` does for a 16-bit PNG: the high byte."""
    return (image >> 8).astype(np.uint8)


def check_pixel_count(height: int, width: int, name: str) -> None:
    """`InvalidArgumentError` when an image of this size is more than the runtime takes."""
    if height * width > MAX_IMAGE_PIXELS:
        raise InvalidArgumentError(
            f"{name}: {width} x {height} pixels are over the limit of {MAX_IMAGE_PIXELS}: scale or cut it"
        )


def _checked_size(image: np.ndarray, name: str) -> np.ndarray:
    check_pixel_count(image.shape[0], image.shape[1], name)
    return image


def _check_structure(data: Encoded, name: str) -> None:
    """Find what decoders are silent or noisy about: files cut short, and headers that claim absurd sizes.

    libjpeg (and with it OpenCV 4) paints the missing part of a truncated JPEG grey and calls it a success. A
    whole JPEG has an end-of-image marker behind the entropy-coded data of its last scan, which a cut one
    lacks; likewise the IEND chunk of a PNG. Looking for them takes microseconds and no decoder's verdict.
    """
    view = memoryview(data).cast("B")
    if view[:2] == b"\xff\xd8":
        _check_jpeg(view, name)
    elif view[:8] == _PNG_SIGNATURE:
        _check_png(view, name)


def _check_jpeg(view: memoryview, name: str) -> None:
    position = 2
    while position + 4 <= len(view):
        if view[position] != 0xFF:
            raise IoError(f"{name}: the JPEG is damaged: no marker at byte {position}")
        marker = view[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        length = int.from_bytes(view[position + 2 : position + 4], "big")
        if marker in _JPEG_FRAME_MARKERS and position + 9 <= len(view):
            height, width = struct.unpack_from(">HH", view, position + 5)
            check_pixel_count(height, width, name)
        position += 2 + max(length, 2)
        if marker == 0xDA:  # start of scan: the entropy-coded data follow its header
            end = _END_OF_SCAN.search(view, position)
            if end is None:
                break
            if view[end.start() + 1] == 0xD9:
                return
            position = end.start()
    raise IoError(f"{name}: the JPEG is truncated: no end-of-image marker in its {len(view)} bytes; get the file again")


def _check_png(view: memoryview, name: str) -> None:
    if len(view) >= 24:
        width, height = struct.unpack_from(">II", view, 16)
        check_pixel_count(height, width, name)
    position = len(_PNG_SIGNATURE)
    while position + 12 <= len(view):
        length = int.from_bytes(view[position : position + 4], "big")
        kind = bytes(view[position + 4 : position + 8])
        position += 12 + length
        if kind == b"IEND" and position <= len(view):
            return
    raise IoError(f"{name}: the PNG is truncated: no IEND chunk in its {len(view)} bytes; get the file again")


def _tiff_page_offsets(data: Encoded, name: str) -> list[int]:
    """Where the pages of a classic TIFF are described; a loop or a link outside the file is an error."""
    view = memoryview(data).cast("B")
    order = _TIFF_SIGNATURES[bytes(view[:4])]
    seen: dict[int, None] = {}  # in the order of the pages
    try:
        (offset,) = struct.unpack_from(order + "I", view, 4)
        while offset:
            if offset in seen or len(seen) >= MAX_TIFF_PAGES:
                raise IoError(f"{name}: the TIFF is damaged: its page list has a loop or over {MAX_TIFF_PAGES} pages")
            seen[offset] = None
            (entries,) = struct.unpack_from(order + "H", view, offset)
            (offset,) = struct.unpack_from(order + "I", view, offset + 2 + 12 * entries)
    except struct.error:
        raise IoError(f"{name}: the TIFF is truncated: page {len(seen)} lies outside its {len(view)} bytes") from None
    if not seen:
        raise IoError(f"{name}: the TIFF has no page")
    return list(seen)


def _undecodable(start: bytes, name: str) -> str:
    return (
        f"{name}: not an image that OpenCV can decode, or a damaged one (it starts with {start!r}): "
        "expected JPEG, PNG, BMP, TIFF, WebP or PNM"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
