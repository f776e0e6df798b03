"""Images of other libraries, on a GPU and on the host: what is taken over, what is refused, and what is given back."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instseg_rt import Predictor, _core
from instseg_rt.errors import InvalidArgumentError, UnsupportedError
from instseg_rt.gpu_image import take_image
from instseg_rt.sources import read_sources

from .foreign_arrays import CPU, CUDA, CUDA_MANAGED, CudaArray, DlpackArray

PIXELS = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


def fields(image: _core.GpuImage) -> tuple[int, ...]:
    return (image.address, image.height, image.width, image.channels, image.stride, image.stream)


def refusal(item: object) -> str:
    with pytest.raises(InvalidArgumentError) as caught:
        take_image(item)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (PIXELS, (6, 8, 3, 24)),
        (PIXELS[:, :5], (6, 5, 3, 24)),
        (PIXELS[::2], (3, 8, 3, 48)),
        (PIXELS[:, :, 0].copy(), (6, 8, 1, 8)),
        (PIXELS[:1, :, :1].copy(), (1, 8, 1, 8)),
        (np.zeros((2, 3, 4), np.uint8), (2, 3, 4, 12)),
        (PIXELS[:, :1], (6, 1, 3, 24)),
        (PIXELS[2:3, 4:5], (1, 1, 3, 3)),
    ],
)
@pytest.mark.parametrize("protocol", ["cuda", "dlpack", "offset"])
def test_pixels_are_found_where_they_are(pixels: np.ndarray, expected: tuple[int, ...], protocol: str) -> None:
    item: object = CudaArray(pixels, strides=pixels.strides)
    if protocol != "cuda":
        item = DlpackArray(pixels, strides=True, offset=16 if protocol == "offset" else 0)
    taken = take_image(item)
    stream = 0 if protocol == "cuda" else 1
    assert fields(taken.image) == (pixels.ctypes.data, *expected, stream)


@pytest.mark.parametrize(("stream", "expected"), [(None, 0), (1, 1), (2, 2), (2**64 - 1, 2**64 - 1)])
def test_streams_of_the_cuda_interface(stream: int | None, expected: int) -> None:
    assert take_image(CudaArray(PIXELS, stream=stream)).image.stream == expected


def test_a_dictionary_without_stream_means_the_default_one() -> None:
    item = CudaArray(PIXELS, version=2)
    del item.interface["stream"]
    assert take_image(item).image.stream == 1


class Both(DlpackArray):
    """As PyTorch's: on the host, the property raises AttributeError."""

    def __init__(self, interface: dict[str, Any] | None, **options: Any) -> None:
        super().__init__(PIXELS, **options)
        self.interface = interface

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.interface is None:
            raise AttributeError("no tensor on a GPU")
        return self.interface


def test_of_two_protocols_the_one_with_a_stream_is_used() -> None:
    interface = CudaArray(PIXELS, stream=7).interface
    item = Both(interface)
    assert take_image(item).image.stream == 7
    assert item.streams == []
    item = Both({key: value for key, value in interface.items() if key != "stream"} | {"version": 2})
    taken = take_image(item)
    assert item.streams == [1]
    taken.release()
    item = Both(None)
    assert take_image(item).image.stream == 1
    assert item.streams == [1]


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"typestr": "<f4"}, "expected uint8 of the shape HxW, HxWx1, HxWx3 or HxWx4, found typestr '<f4'"),
        ({"typestr": None}, "found typestr None"),
        ({"shape": (3, 6, 8)}, r".permute(1, 2, 0).contiguous()"),
        ({"shape": (1, 3, 6, 8)}, "for a batch give a list of images"),
        ({"shape": (6, 8, 2)}, "found 6x8x2"),
        ({"shape": (8,)}, "found 8"),
        ({"shape": ()}, "found a scalar"),
        ({"shape": None}, "found the shape None"),
        ({"shape": (6.0, 8.0)}, "found the shape (6.0, 8.0)"),
        ({"shape": (0, 8, 3)}, "at least one pixel, found the shape 0x8x3"),
        ({"shape": (-6, 8, 3)}, "at least one pixel, found the shape -6x8x3"),
        ({"shape": (2**40, 2**40, 3)}, "over the limit"),
        ({"shape": (True, True)}, "found the shape"),
        ({"strides": (24, 3)}, "expected 3 strides"),
        ({"strides": (24, 3, 2)}, "pixels without gaps, strides (24 or more, 3, 1), found (24, 3, 2)"),
        ({"strides": (1, 6, 48)}, ".contiguous()"),
        ({"strides": (-24, 3, 1)}, "found (-24, 3, 1)"),
        ({"strides": (0, 3, 1)}, "found (0, 3, 1)"),
        ({"strides": (2**70, 3, 1)}, "expected 3 strides"),
        ({"strides": "abc"}, "expected 3 strides"),
        ({"data": (0, False)}, "expected the address of pixels on a GPU, found 0"),
        ({"data": (None, False)}, "found None"),
        ({"data": (2**64, False)}, "found 18446744073709551616"),
        ({"data": (-8, False)}, "found -8"),
        ({"data": 8}, "expected data (address, read-only), found 8"),
        ({"data": None}, "expected data"),
        ({"version": 1}, "version 2 or 3, found 1"),
        ({"version": "3"}, "version 2 or 3, found '3'"),
        ({"mask": object()}, "without a mask"),
        ({"stream": 0}, "found 0"),
        ({"stream": -1}, "found -1"),
        ({"stream": 2**64}, "found 18446744073709551616"),
        ({"stream": "1"}, "found '1'"),
    ],
)
def test_wrong_dictionaries(changes: dict[str, Any], part: str) -> None:
    message = refusal(CudaArray(PIXELS, **changes))
    assert part in message
    assert "GPU image (" in message


JUNK = st.one_of(
    st.none(),
    st.integers(),
    st.text("|<u1f4", max_size=4),
    st.booleans(),
    st.lists(st.integers(-2, 9), max_size=4).map(tuple),
    st.floats(),
)


@given(st.dictionaries(st.sampled_from(["shape", "typestr", "data", "strides", "version", "stream", "mask"]), JUNK))
def test_junk_is_refused_or_taken(changes: dict[str, Any]) -> None:
    try:
        image = take_image(CudaArray(PIXELS, **changes)).image
    except InvalidArgumentError as error:
        assert "\n" not in str(error)
    else:
        assert image.stride >= image.width * image.channels > 0


def test_what_the_other_library_raises_is_told() -> None:
    class Raises:
        @property
        def __cuda_array_interface__(self) -> dict[str, Any]:
            raise RuntimeError("requires grad:\ncall detach()")

    assert "RuntimeError: requires grad: call detach()" in refusal(Raises())
    item = Both([1])  # type: ignore[arg-type]
    assert "expected a dict" in refusal(item)


@pytest.mark.parametrize("version", [None, 1])
def test_a_tensor_goes_back_once(version: int | None) -> None:
    item = DlpackArray(PIXELS, version=version)
    taken = take_image(item)
    assert item.streams == [1]
    assert item.deleted == 0
    taken.release()
    taken.release()
    del taken
    assert item.deleted == 1


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"dtype": (2, 32, 1)}, "found float32"),
        ({"dtype": (1, 8, 3)}, "found uint8x3"),
        ({"dtype": (0, 8, 1)}, "found int8"),
        ({"dtype": (99, 8, 1)}, "found type 99 8"),
        ({"ndim": -1}, "-1 axes"),
        ({"ndim": 1000}, "1000 axes"),
        ({"ndim": 1}, "found 6"),
        ({"version": 2}, "found version 2, expected 1"),
        ({"device": (CPU, 0)}, "expected a tensor on a CUDA GPU"),
    ],
)
def test_wrong_tensors_go_back_too(options: dict[str, Any], part: str) -> None:
    item = DlpackArray(PIXELS, **options)
    assert part in refusal(item)
    assert item.deleted == 1


def test_wrong_capsules() -> None:
    item = DlpackArray(PIXELS)
    capsule = item.__dlpack__()
    tensor = _core.DlpackTensor(capsule)
    with pytest.raises(InvalidArgumentError, match=r"not used yet, found .*used_dltensor"):
        _core.DlpackTensor(capsule)
    assert item.deleted == 0
    tensor.release()
    with pytest.raises(InvalidArgumentError, match="given back"):
        _ = tensor.shape
    with pytest.raises(InvalidArgumentError, match="expected a capsule"):
        _core.DlpackTensor(object())
    assert item.deleted == 1


# --- with a predictor ---


@pytest.fixture(scope="module")
def predictor(tiny_bundle: Path) -> Iterator[Predictor]:
    with Predictor(tiny_bundle) as opened:
        yield opened


class GpuCore:
    """A core whose GPU is the host: it reads images of the GPU at their address."""

    def __init__(self, core: _core.Predictor) -> None:
        self.core = core
        self.streams: list[int] = []

    def predict(self, images: list[Any], order: str, threshold: float | None = None) -> list[_core.Result]:
        return self.core.predict([self._on_host(image) for image in images], order, threshold)  # type: ignore[arg-type]

    def _on_host(self, image: Any) -> np.ndarray:
        if isinstance(image, np.ndarray):
            return image
        self.streams.append(image.stream)
        size = (image.height - 1) * image.stride + image.width * image.channels
        memory = np.frombuffer((ctypes.c_uint8 * size).from_address(image.address), np.uint8)
        shape = (image.height, image.width, image.channels)
        return np.lib.stride_tricks.as_strided(memory, shape, (image.stride, image.channels, 1))


@pytest.fixture
def on_gpu(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> Predictor:
    monkeypatch.setattr(predictor, "_predictor", GpuCore(predictor._core))
    return predictor


WRAPPERS: list[Callable[[np.ndarray], Any]] = [
    lambda pixels: CudaArray(pixels, stream=5),
    lambda pixels: DlpackArray(pixels, strides=True),
    lambda pixels: DlpackArray(pixels, strides=True, device=(CUDA_MANAGED, 0), version=1),
]


@pytest.mark.parametrize("wrap", WRAPPERS)
def test_predict_gives_what_the_same_pixels_on_the_host_give(
    on_gpu: Predictor, colored_image: np.ndarray, wrap: Callable[[np.ndarray], Any]
) -> None:
    wide = np.zeros((128, 200, 3), np.uint8)
    wide[:, :192] = colored_image
    expected = on_gpu(colored_image)
    assert len(expected) > 0
    results = [on_gpu(wrap(wide[:, :192])), *on_gpu.predict([colored_image, wrap(wide[:, :192])], batch_size=2)]
    for result in results:
        np.testing.assert_array_equal(result.boxes, expected.boxes)
        np.testing.assert_array_equal(result.masks, expected.masks)
    assert results[0]["input_img"] is None
    with pytest.raises(InvalidArgumentError, match="on a GPU"):
        results[0].plot()
    swapped = on_gpu(wrap(np.ascontiguousarray(colored_image[:, :, ::-1])), color="rgb")
    np.testing.assert_array_equal(swapped.boxes, expected.boxes)


def test_the_numbers_of_an_image_reach_the_core(predictor: Predictor) -> None:
    def message(**changes: int) -> str:
        numbers = {"address": 8, "height": 2, "width": 3, "channels": 3, "stride": 9, "stream": 0} | changes
        with pytest.raises(_core.Error) as caught:
            predictor._core.predict([_core.GpuImage(**numbers)], "bgr")
        return str(caught.value)

    assert "on a GPU" in message()
    assert "3 x 2 has no data" in message(address=0)
    assert "the stride is 8 bytes, expected at least 9 (3 pixels of 3 bytes)" in message(stride=8)
    assert "expected at least 12 (3 pixels of 4 bytes)" in message(channels=4)
    assert "expected sides of 1 to" in message(height=1 << 21)


def test_pixels_go_back_when_the_call_ends(on_gpu: Predictor) -> None:
    item = DlpackArray(PIXELS)
    result = on_gpu(item)
    assert item.deleted == 1
    assert result.source is not None
    assert result.source.gpu is None
    items = [DlpackArray(PIXELS) for _ in range(3)]
    for count, _ in enumerate(on_gpu.predict(items, batch_size=1), 1):
        assert sum(item.deleted for item in items) == count


def test_a_predictor_of_the_cpu_says_so_and_gives_back(predictor: Predictor) -> None:
    for item in (CudaArray(PIXELS), DlpackArray(PIXELS)):
        with pytest.raises(UnsupportedError, match=r"on a GPU.*device is 'cpu'.*copy them to the host"):
            predictor(item)
    assert item.deleted == 1
    with pytest.raises(UnsupportedError, match="image 1 of 2"):
        list(predictor.predict([PIXELS, CudaArray(PIXELS)], batch_size=2))


def test_a_wrong_one_comes_after_the_results_before_it(on_gpu: Predictor) -> None:
    good = DlpackArray(PIXELS)
    stream = on_gpu.predict([good, PIXELS, CudaArray(PIXELS, typestr="<f4")], batch_size=8)
    next(stream)
    next(stream)
    assert good.deleted == 1
    with pytest.raises(InvalidArgumentError, match="found typestr '<f4'"):
        next(stream)


# --- arrays of other libraries on the host ---


class HostTensor:
    """A tensor of the host, as PyTorch shows one."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        raise AttributeError("can't get it on a tensor of the host")

    def __dlpack__(self, **options: Any) -> Any:
        return self.pixels.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.pixels.__dlpack_device__()


def test_tensors_of_the_host_are_numpy_arrays_without_a_copy() -> None:
    (source,) = read_sources(HostTensor(PIXELS))
    assert source.image is not None
    assert source.gpu is None
    assert np.shares_memory(source.image, PIXELS)
    # An iterator may fill its array again.
    (source,) = read_sources(iter([HostTensor(PIXELS)]))
    assert source.image is not None
    assert not np.shares_memory(source.image, PIXELS)
    with pytest.raises(InvalidArgumentError, match="expected uint8"):
        list(read_sources(HostTensor(PIXELS.astype(np.float32))))


@pytest.mark.parametrize(
    ("device", "part"),
    [((10, 0), "device type 10"), (None, "found None"), ((1, 2, 3), r"found \(1, 2, 3\)"), (("cpu", 0), "found")],
)
def test_other_devices(device: Any, part: str) -> None:
    with pytest.raises(InvalidArgumentError, match=part):
        list(read_sources(DlpackArray(PIXELS, device=device)))


def test_cuda_is_taken_from_the_device_of_the_array() -> None:
    for device in ((CUDA, 0), (CUDA_MANAGED, 3)):
        item = DlpackArray(PIXELS, device=device)
        (source,) = read_sources(item)
        assert source.image is None
        assert source.gpu is item
        assert item.streams == []
