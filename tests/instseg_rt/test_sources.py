"""Every kind of input, and every wrong one, becomes images or an error of one line."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from instseg_rt import sources, video
from instseg_rt.errors import InvalidArgumentError, IoError, UnsupportedError
from instseg_rt.sources import SourceImage, read_sources


def pattern(height: int = 6, width: int = 8) -> np.ndarray:
    """A colour image in which every pixel and channel differs."""
    return np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)


def write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


def one(item: object, **options: object) -> SourceImage:
    images = list(read_sources(item, **options))  # type: ignore[arg-type]
    assert len(images) == 1
    return images[0]


def test_path_of_an_image(tmp_path: Path) -> None:
    path = write(tmp_path / "ä 1.png", pattern())
    for given_path in (path, str(path)):
        source = one(given_path)
        np.testing.assert_array_equal(source.image, pattern())
        assert (source.color, source.input_path, source.page_index) == ("bgr", str(path), None)
        assert source.decode_ms > 0


def test_directory_is_walked_in_sorted_order(tmp_path: Path) -> None:
    names = ["b/2.png", "a.PNG", "b/1.jpg", "c/d/e.bmp"]
    for name in names:
        write(tmp_path / name, pattern())
    (tmp_path / "notes.txt").write_text("not an image")
    found = [source.input_path for source in read_sources(tmp_path)]
    assert found == [str(tmp_path / name) for name in sorted(names)]


def test_directory_without_images(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.raises(IoError, match="no image in this directory"):
        list(read_sources(tmp_path))


def test_directory_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> Iterator[object]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)  # file modes do not stop the root user
    with pytest.raises(IoError, match=r"cannot be read: Permission denied"):
        list(read_sources(tmp_path))


def test_glob(tmp_path: Path) -> None:
    for name in ("x2.png", "x1.png", "y.png", "sub/x3.png"):
        write(tmp_path / name, pattern())
    assert [Path(s.input_path or "").name for s in read_sources(f"{tmp_path}/x*.png")] == ["x1.png", "x2.png"]
    assert len(list(read_sources(f"{tmp_path}/**/*.png"))) == 4
    with pytest.raises(IoError, match="no file matches"):
        list(read_sources(f"{tmp_path}/*.gif"))


def test_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    path = write(tmp_path / "a[1].png", pattern())
    assert one(str(path)).input_path == str(path)


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_arrays_are_taken_as_they_are(channels: int | None) -> None:
    shape = (5, 7) if channels is None else (5, 7, channels)
    array = np.zeros(shape, np.uint8)
    source = one(array)
    assert source.image is array
    assert source.color == "bgr"
    assert source.input_path is None
    assert one(array, color="rgb").color == "rgb"
    assert source.bgr().shape == (5, 7, 3)


def test_bgr_view_of_each_colour_order() -> None:
    rgb = pattern()
    np.testing.assert_array_equal(SourceImage(rgb, "rgb").bgr(), rgb[:, :, ::-1])
    np.testing.assert_array_equal(SourceImage(rgb, "bgr").bgr(), rgb)
    rgba = np.dstack([rgb, np.full(rgb.shape[:2], 9, np.uint8)])
    np.testing.assert_array_equal(SourceImage(rgba, "rgb").bgr(), rgb[:, :, ::-1])
    grey = rgb[:, :, 0]
    for image in (grey, grey[:, :, None]):
        np.testing.assert_array_equal(SourceImage(image, "rgb").bgr(), np.dstack([grey] * 3))


def test_sixteen_bit_arrays_become_what_opencv_reads() -> None:
    array = (np.arange(48, dtype=np.uint16) * 1361).reshape(6, 8)
    expected = cv2.imdecode(cv2.imencode(".png", array)[1], cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(one(array).image, expected)
    np.testing.assert_array_equal(one(array.astype(">u2")).image, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, bool, np.int64, np.int8, np.uint32, object])
def test_arrays_of_other_types_are_refused(dtype: type) -> None:
    with pytest.raises(InvalidArgumentError, match=f"expected uint8.*found {np.dtype(dtype)}"):
        one(np.zeros((4, 4, 3), dtype))


@pytest.mark.parametrize("shape", [(), (4,), (4, 4, 2), (4, 4, 5), (2, 4, 4, 3), (0, 4), (4, 0, 3)])
def test_arrays_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgumentError, match="array image: expected"):
        one(np.zeros(shape, np.uint8))


def test_common_mistakes_are_told_the_way_out() -> None:
    with pytest.raises(InvalidArgumentError, match=r"found 3x8x9; channels come last: image\.transpose\(1, 2, 0\)"):
        one(np.zeros((3, 8, 9), np.uint8))
    with pytest.raises(InvalidArgumentError, match=r"what cv2\.imread gives for a file that it cannot read"):
        one(None)


def test_an_iterator_may_reuse_its_array() -> None:
    def frames() -> Iterator[np.ndarray]:
        frame = np.zeros((2, 2, 3), np.uint8)
        for value in range(3):
            frame[:] = value
            yield frame

    assert [int(source.image[0, 0, 0]) for source in list(read_sources(frames()))] == [0, 1, 2]


def test_lists_tuples_and_iterators_nest(tmp_path: Path) -> None:
    path = write(tmp_path / "a.png", pattern())
    array = np.zeros((3, 3), np.uint8)
    images = list(read_sources([path, (array, iter([str(path), [array]]))]))
    assert [image.input_path for image in images] == [str(path), None, str(path), None]
    assert list(read_sources([])) == []


def test_a_list_inside_itself_ends() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(InvalidArgumentError, match="nested more than"):
        list(read_sources(loop))


@pytest.mark.parametrize("item", [None, True, 1.5, {"a": 1}, {1}, object()])
def test_other_types_are_refused(item: object) -> None:
    with pytest.raises(InvalidArgumentError, match="expected a path, URL"):
        list(read_sources(item))


def test_colour_order_is_checked() -> None:
    with pytest.raises(InvalidArgumentError, match="color: expected one of bgr, rgb; found 'hsv'"):
        list(read_sources(pattern(), color="hsv"))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_encoded_bytes(kind: type) -> None:
    data = cv2.imencode(".png", pattern())[1].tobytes()
    source = one(kind(data))
    np.testing.assert_array_equal(source.image, pattern())
    assert source.input_path is None


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(IoError, match=r"no\.png: cannot be read: No such file"):
        one(tmp_path / "no.png")
    empty = tmp_path / "empty.png"
    empty.touch()
    with pytest.raises(IoError, match=r"empty\.png: the image is empty"):
        one(empty)
    text = tmp_path / "text.png"
    text.write_text("hello, world")
    with pytest.raises(IoError, match=r"text\.png: not an image.*hello"):
        one(text)
    with pytest.raises(UnsupportedError, match="PDF files are not read"):
        one(tmp_path / "a.pdf")
    for text in ("", "a\0b.png"):
        with pytest.raises(InvalidArgumentError, match="which is no path"):
            one(text)
    with pytest.raises(IoError, match="cannot be read: File name too long"):
        one("x" * 5000)
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(IoError, match="expected an image file"):
        one(tmp_path / "pipe.png")


def test_images_before_a_bad_one_are_given_first(tmp_path: Path) -> None:
    good = write(tmp_path / "a.png", pattern())
    images = read_sources([good, good, tmp_path / "missing.png", good])
    assert next(images).input_path == str(good)
    assert next(images).input_path == str(good)
    with pytest.raises(IoError, match=r"missing\.png"):
        next(images)


def test_pages_of_a_tiff(tmp_path: Path) -> None:
    pages = [pattern() + value for value in range(3)]
    path = tmp_path / "pages.tiff"
    assert cv2.imwritemulti(str(path), pages)
    for item, name in ((path, str(path)), (path.read_bytes(), None)):
        images = list(read_sources(item))
        assert [(image.page_index, image.input_path) for image in images] == [(i, name) for i in range(3)]
        for image, page in zip(images, pages, strict=True):
            np.testing.assert_array_equal(image.image, page)


def test_frames_of_a_video(tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 48))
    for value in (20, 120, 220):
        writer.write(np.full((48, 64, 3), value, np.uint8))
    writer.release()
    images = list(read_sources(path))
    assert [image.page_index for image in images] == [0, 1, 2]
    assert [round(float(image.image.mean()), -1) for image in images] == [20, 120, 220]


def test_files_that_are_no_videos(tmp_path: Path) -> None:
    with pytest.raises(IoError, match="no such file"):
        one(tmp_path / "missing.mp4")
    (tmp_path / "text.mp4").write_text("hello")
    with pytest.raises(IoError, match=r"text\.mp4: not a video"):
        one(tmp_path / "text.mp4")


class Camera:
    """Stands for cv2.VideoCapture: two frames, then the end."""

    released = False

    def __init__(self, index: int) -> None:
        self.frames = [np.full((2, 2, 3), index, np.uint8)] * 2

    def isOpened(self) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        return (True, self.frames.pop()) if self.frames else (False, None)

    def release(self) -> None:
        Camera.released = True


def test_camera_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video.cv2, "VideoCapture", Camera)
    images = list(read_sources(3))
    assert [(image.page_index, int(image.image[0, 0, 0])) for image in images] == [(0, 3), (1, 3)]
    assert Camera.released


def test_a_camera_is_released_when_the_reading_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video.cv2, "VideoCapture", Camera)
    monkeypatch.setattr(Camera, "released", False)
    images = read_sources(0)
    next(images)
    images.close()  # type: ignore[attr-defined]
    assert Camera.released


def test_missing_camera() -> None:
    with pytest.raises(IoError, match="camera 99: cannot be opened"):
        list(read_sources(99))


def test_pil_images() -> None:
    rgb = pattern()
    source = one(Image.fromarray(rgb))
    assert source.color == "rgb"
    np.testing.assert_array_equal(source.bgr(), rgb[:, :, ::-1])
    np.testing.assert_array_equal(one(Image.fromarray(rgb[:, :, 0])).image, rgb[:, :, 0])
    rgba = Image.fromarray(rgb).convert("RGBA")
    np.testing.assert_array_equal(one(rgba).bgr(), rgb[:, :, ::-1])
    palette = Image.fromarray(rgb).quantize(16)
    np.testing.assert_array_equal(one(palette).image, np.asarray(palette.convert("RGB")))
    assert one(Image.fromarray(rgb).convert("1")).bgr().shape == rgb.shape
    sixteen = (np.arange(48, dtype=np.uint16) * 1361).reshape(6, 8)
    np.testing.assert_array_equal(one(Image.fromarray(sixteen)).image, sixteen >> 8)
    with pytest.raises(InvalidArgumentError, match="mode F"):
        one(Image.fromarray(rgb[:, :, 0].astype(np.float32)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_by_both_readers(orientation: int) -> None:
    picture = Image.fromarray(np.repeat(np.repeat(pattern(), 16, 0), 16, 1))
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", quality=95, exif=exif)
    encoded, pil = one(buffer.getvalue()), one(Image.open(io.BytesIO(buffer.getvalue())))
    assert encoded.image.shape == ((96, 128, 3) if orientation < 5 else (128, 96, 3))
    assert np.abs(encoded.bgr().astype(int) - pil.bgr()).max() <= 3  # two libjpeg builds


def test_pil_image_of_a_damaged_file(tmp_path: Path) -> None:
    path = write(tmp_path / "noise.jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(IoError, match=r"noise\.jpg: the PIL image cannot be loaded"):
        one(Image.open(path))


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=3, max_side=5)))
def test_any_small_array_is_an_image_or_refused(array: np.ndarray) -> None:
    if array.ndim == 2 or array.shape[2] in (1, 3, 4):
        assert one(array).bgr().shape == (*array.shape[:2], 3)
    else:
        with pytest.raises(InvalidArgumentError):
            one(array)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_image_or_an_error(data: bytes) -> None:
    try:
        assert one(data).image.dtype == np.uint8
    except (IoError, InvalidArgumentError) as error:
        assert "\n" not in str(error)


def test_suffixes_do_not_overlap() -> None:
    assert not sources.IMAGE_SUFFIXES & video.VIDEO_SUFFIXES
