"""Damaged and unusual image files: decoded as OpenCV does, or refused with the file's name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instseg_rt.errors import Error, InvalidArgumentError, IoError
from instseg_rt.image_file import decode_image, decode_pages


def noise(height: int = 40, width: int = 60, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def encoded(suffix: str, image: np.ndarray, options: list[int] | None = None) -> bytes:
    return cv2.imencode(suffix, image, options or [])[1].tobytes()


PROGRESSIVE = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
RESTARTS = [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]


@pytest.mark.parametrize("options", [[], PROGRESSIVE, RESTARTS])
def test_whole_jpegs_are_decoded(options: list[int]) -> None:
    data = encoded(".jpg", noise(), options)
    np.testing.assert_array_equal(
        decode_image(data, "x"), cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    )


def test_bytes_behind_a_jpeg_are_allowed() -> None:
    assert decode_image(encoded(".jpg", noise()) + b"appended by a phone", "x").shape == (40, 60, 3)


@pytest.mark.parametrize("options", [[], PROGRESSIVE, RESTARTS])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.7, 0.95, -2])
def test_truncated_jpeg(options: list[int], kept: float) -> None:
    data = encoded(".jpg", noise(), options)
    cut = data[: int(len(data) * kept)] if kept > 0 else data[: int(kept)]
    with pytest.raises(IoError, match=r"photo\.jpg: the JPEG is (truncated|damaged)"):
        decode_image(cut, "photo.jpg")


def test_a_thumbnail_does_not_hide_a_truncated_jpeg() -> None:
    """The thumbnail in the EXIF block has an end-of-image marker of its own."""
    data, thumbnail = encoded(".jpg", noise()), encoded(".jpg", noise(8, 8))
    block = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = data[:2] + block + data[2:]
    assert decode_image(whole, "x").shape == (40, 60, 3)
    with pytest.raises(IoError, match="truncated"):
        decode_image(whole[: len(block) + 1500], "x")


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".webp", ".ppm"])
@pytest.mark.parametrize("kept", [0.1, 0.6, 0.97])
def test_truncated_files_of_other_formats(suffix: str, kept: float) -> None:
    data = encoded(suffix, noise())
    with pytest.raises(IoError, match="picture"):
        decode_image(data[: int(len(data) * kept)], "picture")


def test_sizes_at_the_extremes() -> None:
    assert decode_image(encoded(".png", noise(1, 1)), "x").shape == (1, 1, 3)
    assert decode_image(encoded(".png", noise(10, 20000)), "x").shape == (10, 20000, 3)
    assert decode_image(encoded(".jpg", noise(20000, 10)), "x").shape == (20000, 10, 3)


def test_grey_alpha_and_sixteen_bit() -> None:
    grey = noise(channels=1)[:, :, 0]
    np.testing.assert_array_equal(decode_image(encoded(".png", grey), "x"), np.dstack([grey] * 3))
    rgba = noise(channels=4)
    np.testing.assert_array_equal(decode_image(encoded(".png", rgba), "x"), rgba[:, :, :3])
    deep = noise().astype(np.uint16) * 256 + 255
    np.testing.assert_array_equal(decode_image(encoded(".png", deep), "x"), noise())


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def test_a_header_that_claims_an_absurd_size() -> None:
    """60,000 x 60,000 pixels in a hundred bytes: refused before anything is allocated."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    png = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b"")
    with pytest.raises(InvalidArgumentError, match=r"bomb\.png: 60000 x 60000 pixels are over the limit"):
        decode_image(png, "bomb.png")
    jpeg = bytearray(encoded(".jpg", noise()))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = struct.pack(">HH", 60000, 60000)
    with pytest.raises(InvalidArgumentError, match="60000 x 60000"):
        decode_image(bytes(jpeg), "bomb.jpg")


def tiff(tmp_path: Path) -> bytes:
    path = tmp_path / "x.tiff"
    assert cv2.imwritemulti(str(path), [noise(), noise(3, 5)])
    return path.read_bytes()


def test_tiff_pages_of_different_sizes(tmp_path: Path) -> None:
    assert [page.shape for page in decode_pages(tiff(tmp_path), "x")] == [(40, 60, 3), (3, 5, 3)]


def test_tiff_whose_pages_form_a_loop(tmp_path: Path) -> None:
    data = bytearray(tiff(tmp_path))
    (first,) = struct.unpack_from("<I", data, 4)
    (entries,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * entries, first)
    with pytest.raises(IoError, match="its page list has a loop"):
        list(decode_pages(bytes(data), "x"))


@pytest.mark.parametrize("kept", [4, 6, 9, 300, -1])
def test_truncated_tiff(tmp_path: Path, kept: int) -> None:
    with pytest.raises(IoError, match=r"scan\.tif"):
        list(decode_pages(tiff(tmp_path)[:kept], "scan.tif"))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([".jpg", ".png", ".bmp"]), st.data())
def test_flipped_bytes_never_crash(suffix: str, data: st.DataObject) -> None:
    damaged = bytearray(encoded(suffix, noise(9, 7)))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode_image(bytes(damaged), "x").dtype == np.uint8
    except Error as error:
        assert str(error).startswith("x: ")
