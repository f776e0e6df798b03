"""`Predictor` on a small model: inputs, batches, streaming, threads, errors."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import instseg_rt as rt
from instseg_rt import _core, embedded
from instseg_rt.devices import parse_device
from instseg_rt.embedded import default_bundle, embedded_bundles, resolve_bundle
from instseg_rt.predictor import Predictor
from instseg_rt.result import Result


@pytest.fixture(scope="module")
def predictor(tiny_bundle: Path) -> Iterator[Predictor]:
    with Predictor(tiny_bundle, threads=1) as instance:
        yield instance


def same(a: Result, b: Result) -> bool:
    return (
        np.array_equal(a.boxes, b.boxes)
        and np.allclose(a.scores, b.scores, atol=1e-6)
        and np.array_equal(a.class_ids, b.class_ids)
        and np.array_equal(a.masks, b.masks)
    )


def test_finds_what_is_there(predictor: Predictor, colored_image: np.ndarray) -> None:
    result = predictor(colored_image)
    assert sorted(set(result.labels)) == ["blue", "red"]
    assert result.orig_shape == (128, 192)
    red = result[result.class_ids == 0]
    union = red.masks.any(axis=0)
    assert union[4:28, 52:92].all()
    assert not union[40:].any()
    assert (result.scores > 0.5).all()
    assert np.shares_memory(result["input_img"], colored_image)


def test_every_input_gives_the_same(predictor: Predictor, colored_image: np.ndarray, tmp_path: Path) -> None:
    expected = predictor(colored_image)
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), colored_image)
    rgb = np.ascontiguousarray(colored_image[:, :, ::-1])
    inputs = [
        path,
        str(path),
        path.read_bytes(),
        Image.fromarray(rgb),
        np.dstack([colored_image, rgb[:, :, :1]]),
    ]
    for item in inputs:
        assert same(predictor(item), expected), type(item)
    assert same(predictor(rgb, color="rgb"), expected)
    strided = np.zeros((128, 400, 3), np.uint8)[:, :384:2]
    strided[:] = colored_image
    assert same(predictor(strided), expected)
    assert not same(predictor(rgb), expected)  # the wrong colour order is another picture


def test_threshold(tiny_bundle: Path, predictor: Predictor, colored_image: np.ndarray) -> None:
    every = predictor(colored_image, 0.011)
    middle = float(np.median(every.scores))
    expected = np.count_nonzero(every.scores > middle)
    assert 0 < expected < len(every)
    assert len(predictor(colored_image, threshold=middle)) == expected
    with Predictor(tiny_bundle, threshold=middle) as other:
        assert other.threshold == pytest.approx(middle)
        assert len(other(colored_image)) == expected
        assert len(other(colored_image, 0.011)) == len(every)
    for threshold in (-0.1, 1.5, float("nan")):
        with pytest.raises(rt.InvalidArgumentError, match="threshold: expected a number from 0 to 1"):
            predictor(colored_image, threshold)
        with pytest.raises(rt.InvalidArgumentError, match="threshold"):
            predictor.predict([], threshold=threshold)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
def test_batches_equal_single_images(predictor: Predictor, colored_image: np.ndarray, batch_size: int) -> None:
    """Also with images of different sizes and colour orders in one stream."""
    images = [np.roll(colored_image, 16 * shift, axis=1)[: 128 - 8 * shift] for shift in range(5)]
    mixed: list[object] = [*images, Image.fromarray(images[0]), images[1]]
    results = list(predictor.predict(mixed, batch_size))
    assert len(results) == 7
    for result, image in zip(results, mixed, strict=True):
        assert same(result, predictor(image))
    assert max(result.timings.batch_size for result in results) == min(batch_size, 4, 5)


def test_results_are_streamed(predictor: Predictor, colored_image: np.ndarray) -> None:
    """The first result comes before the input has ended, and the reading stays at most two batches ahead."""
    drawn = 0

    def frames() -> Iterator[np.ndarray]:
        nonlocal drawn
        for _ in range(1000):
            drawn += 1
            yield colored_image

    results = predictor.predict(frames(), batch_size=2)
    next(results)
    time.sleep(0.1)
    assert drawn <= 2 + 2 * 2
    results.close()  # type: ignore[attr-defined]


def test_reading_stops_with_the_generator(predictor: Predictor, colored_image: np.ndarray) -> None:
    def frames() -> Iterator[np.ndarray]:
        while True:
            yield colored_image

    results = predictor.predict(frames())
    next(results)
    assert any(thread.name == "instseg-read-ahead" for thread in threading.enumerate())
    results.close()  # type: ignore[attr-defined]
    deadline = time.monotonic() + 5
    while any(thread.name == "instseg-read-ahead" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "the reading thread is still alive"
        time.sleep(0.01)


def test_process_ends_while_images_are_read(tiny_bundle: Path, tmp_path: Path) -> None:
    """With a half-used generator: no abort in the reading thread, no wait for an input that blocks."""
    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(0).integers(0, 256, (1500, 1500, 3), np.uint8))
    script = f"""
import sys, time, instseg_rt
def blocking():
    yield {str(tmp_path / "a.png")!r}
    time.sleep(1000)
predictor = instseg_rt.Predictor({str(tiny_bundle)!r}, threads=1)
decoding = [{str(tmp_path / "a.png")!r}] * 1000
inputs = decoding if sys.argv[1] == "decoding" else blocking()
results = predictor.predict(inputs)
print(len(next(results)))
"""
    for state in ("decoding", "blocked"):
        command = [sys.executable, "-c", script, state]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.strip().isdigit()


def test_ctrl_c_after_predictors_are_closed(tiny_bundle: Path) -> None:
    """The stack for signals that OpenVINO gives a thread must not be gone with the predictors."""
    script = f"""
import os, signal, instseg_rt
signal.signal(signal.SIGINT, signal.default_int_handler)
predictors = [instseg_rt.Predictor({str(tiny_bundle)!r}, threads=1) for _ in range(2)]
for predictor in predictors:
    predictor.close()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    for options in ((), ("-X", "faulthandler")):  # faulthandler has a stack for signals too
        command = [sys.executable, *options, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "interrupted", "")


def test_process_ends_while_a_thread_predicts(tiny_bundle: Path) -> None:
    script = f"""
import threading, numpy, instseg_rt
predictor = instseg_rt.Predictor({str(tiny_bundle)!r}, threads=1)
begun = threading.Event()
def forever():
    while True:
        predictor(numpy.zeros((64, 64, 3), numpy.uint8))
        begun.set()
threading.Thread(target=forever, daemon=True).start()
begun.wait()
"""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_results_before_a_bad_input_come_first(
    predictor: Predictor, colored_image: np.ndarray, tmp_path: Path, batch_size: int
) -> None:
    inputs = [colored_image] * 3 + [tmp_path / "missing.png", colored_image]
    results = predictor.predict(inputs, batch_size)
    assert [len(next(results)) > 0 for _ in range(3)] == [True] * 3
    with pytest.raises(rt.IoError, match=r"missing\.png"):
        next(results)


def test_an_exception_of_the_callers_iterator_reaches_the_caller(predictor: Predictor) -> None:
    def broken() -> Iterator[np.ndarray]:
        yield np.zeros((8, 8, 3), np.uint8)
        raise ZeroDivisionError("in the caller's own code")

    results = predictor.predict(broken())
    next(results)
    with pytest.raises(ZeroDivisionError, match="own code"):
        next(results)


def test_one_image_means_one(predictor: Predictor, colored_image: np.ndarray) -> None:
    with pytest.raises(rt.InvalidArgumentError, match="the input gives more than one image: use predict"):
        predictor([colored_image, colored_image])
    with pytest.raises(rt.InvalidArgumentError, match="the input gives no image"):
        predictor([])


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, True, "2"])
def test_batch_size_is_checked_at_once(predictor: Predictor, batch_size: object) -> None:
    with pytest.raises(rt.InvalidArgumentError, match="batch_size: expected a whole number"):
        predictor.predict([], batch_size)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1, 1), (1, 1, 3), (10, 20000, 3), (20000, 10)])
def test_extreme_sizes(predictor: Predictor, shape: tuple[int, ...]) -> None:
    assert predictor(np.zeros(shape, np.uint8)).orig_shape == shape[:2]


def test_many_threads_share_a_predictor(tiny_bundle: Path, colored_image: np.ndarray) -> None:
    images = [np.roll(colored_image, 16 * shift, axis=1) for shift in range(6)]
    with Predictor(tiny_bundle, contexts=2, threads=1) as predictor:
        predictor.warm_up()
        expected = [predictor(image) for image in images]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda index: predictor(images[index % 6]), range(60)))
    assert all(same(result, expected[index % 6]) for index, result in enumerate(found))


def test_description(predictor: Predictor, tiny_bundle: Path) -> None:
    assert predictor.labels == ["red", "green", "blue"]
    assert predictor.info.model == "tiny"
    assert predictor.info.path == tiny_bundle
    assert (predictor.device, predictor.precision) == ("cpu", "fp32")
    assert predictor.backend.startswith("openvino 20")
    assert predictor.ops == "cpu"


def test_the_default_precision_is_the_bundles(tmp_path: Path, tiny_bundle: Path) -> None:
    openvino = pytest.importorskip("openvino")
    has_bf16 = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    bundle = tmp_path / "default.bundle"
    shutil.copytree(tiny_bundle, bundle)
    manifest = bundle / "manifest.yaml"
    manifest.write_text(manifest.read_text() + "\ndefault_precision: bf16\n")
    with Predictor(bundle) as predictor:
        assert predictor.info.default_precision == "bf16"
        assert predictor.precision == ("bf16" if has_bf16 else "fp32")
    with Predictor(bundle, precision="fp32") as predictor:
        assert predictor.precision == "fp32"
    with Predictor(bundle, backend="onnxruntime") as predictor:  # computes in the types of the graph
        assert predictor.precision == "fp32"
    manifest.write_text(manifest.read_text().replace("precision: bf16", "precision: fp16"))
    with pytest.raises(rt.BadBundleError, match=r"'default_precision'.*bf16.*fp16"):
        Predictor(bundle)


def test_timings(predictor: Predictor, colored_image: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), colored_image)
    timings = predictor(path).timings
    assert timings.batch_size == 1
    stages = (timings.preprocess_ms, timings.inference_ms, timings.postprocess_ms)
    assert min(*stages, timings.decode_ms) > 0
    assert sum(stages) <= timings.total_ms + 0.01


def test_json_is_that_of_the_core(predictor: Predictor, tiny_bundle: Path, colored_image: np.ndarray) -> None:
    """Python and the C++ tools write the same PaddleX JSON."""
    core = _core.Predictor(tiny_bundle, threads=1)
    (found,) = core.predict([colored_image], "bgr", 0.2)
    result = predictor(colored_image, 0.2)
    assert len(result) > 2
    assert json.loads(found.to_json(None, None, predictor.labels)) == result.json["res"]


def test_to_coco_uses_the_category_ids_of_the_bundle(predictor: Predictor, colored_image: np.ndarray) -> None:
    assert {entry["category_id"] for entry in predictor(colored_image).to_coco(1)} == {1, 3}


def test_closed_predictor(tiny_bundle: Path, colored_image: np.ndarray) -> None:
    predictor = Predictor(tiny_bundle)
    predictor.close()
    predictor.close()
    with pytest.raises(rt.InvalidArgumentError, match="closed"):
        predictor(colored_image)


@pytest.mark.parametrize(("device", "expected"), [("cpu", "cpu"), ("CPU:0", "cpu"), (" cpu ", "cpu")])
def test_device_strings(device: str, expected: str) -> None:
    assert parse_device(device) == expected


@pytest.mark.parametrize("device", ["gpu", "gpu:0", "cuda:1"])
def test_gpu_is_refused_clearly(tiny_bundle: Path, device: str) -> None:
    with pytest.raises(rt.UnsupportedError, match=r"device 'gpu:\d'.*openvino.*no plug-in for a GPU"):
        Predictor(tiny_bundle, device=device)


@pytest.mark.parametrize("device", ["", "tpu", "cpu:1", "gpu:", "gpu:x", None, 0])
def test_wrong_devices(tiny_bundle: Path, device: object) -> None:
    with pytest.raises(rt.InvalidArgumentError, match="device: expected cpu, gpu"):
        Predictor(tiny_bundle, device=device)  # type: ignore[arg-type]


def test_wrong_options(tiny_bundle: Path) -> None:
    with pytest.raises(rt.Error, match="int3"):
        Predictor(tiny_bundle, precision="int3")
    with pytest.raises(rt.Error, match="nothing-like-this"):
        Predictor(tiny_bundle, backend="nothing-like-this")
    with pytest.raises(rt.InvalidArgumentError, match="contexts"):
        Predictor(tiny_bundle, contexts=0)
    with pytest.raises(rt.InvalidArgumentError, match="threads"):
        Predictor(tiny_bundle, threads=-1)


def test_bundles_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(rt.IoError, match=r"no such bundle directory, and no embedded bundle of that name"):
        Predictor(tmp_path / "nothing")
    file = tmp_path / "model.onnx"
    file.touch()
    with pytest.raises(rt.IoError, match=r"expected a bundle, a directory with a manifest\.yaml; found a file"):
        Predictor(file)
    with pytest.raises(rt.Error, match=r"manifest\.yaml"):
        Predictor(tmp_path)
    with pytest.raises(rt.IoError, match=r"instseg export MODEL --weights .*trained\.pdparams"):
        Predictor(tmp_path / "trained.pdparams")
    with pytest.raises(rt.IoError, match="instseg export SOLOv2 --weights official"):
        Predictor("SOLOv2")


@pytest.mark.parametrize("given", ["", "best_model"])
def test_a_trainings_output_names_its_bundle(tmp_path: Path, tiny_bundle: Path, given: str) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "best_model" / "bundle")
    with pytest.raises(rt.IoError, match=r"not a bundle; its bundle is .*best_model/bundle$"):
        Predictor(tmp_path / given)
    with pytest.raises(rt.InvalidArgumentError, match="bundle: expected a path or the name"):
        Predictor(3)  # type: ignore[arg-type]


def test_damaged_stage_file(tiny_bundle: Path, tmp_path: Path) -> None:
    manifest, stage = "manifest.yaml", "stages/model.onnx"
    (tmp_path / "stages").mkdir()
    (tmp_path / manifest).write_bytes((tiny_bundle / manifest).read_bytes())
    (tmp_path / stage).write_bytes((tiny_bundle / stage).read_bytes()[:-1])
    with pytest.raises(rt.BadBundleError, match="sha256"):
        Predictor(tmp_path)


def test_embedded_bundles(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert embedded_bundles(tmp_path) == {}
    with pytest.raises(rt.IoError, match="no bundle is embedded"):
        default_bundle(tmp_path)
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.yaml").touch()
    (tmp_path / "not-a-bundle").mkdir()
    assert list(embedded_bundles(tmp_path)) == ["a", "b"]
    assert default_bundle(tmp_path) == tmp_path / "a"
    assert resolve_bundle("b", tmp_path) == tmp_path / "b"
    with pytest.raises(rt.IoError, match=r"embedded: a, b\)"):
        resolve_bundle("c", tmp_path)
    monkeypatch.chdir(tmp_path / "b")
    (tmp_path / "b" / "a").mkdir()
    assert resolve_bundle("a", tmp_path) == Path("a")  # a path that exists wins
    assert embedded.resolve_bundle(tiny_bundle) == tiny_bundle


def test_public_names() -> None:
    for name in rt.__all__:
        assert getattr(rt, name) is not None
    assert set(rt.__all__) <= set(dir(rt))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rt.nothing
    assert rt.IoError("x").code == "io"


def test_ctrl_c_that_another_thread_receives_ends_the_wait_for_an_image(
    predictor: Predictor, colored_image: np.ndarray
) -> None:
    predicted, release, waited = threading.Event(), threading.Event(), []
    # Tests that run in the background of a shell have SIGINT ignored.
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)

    def frames() -> Iterator[np.ndarray]:
        yield colored_image
        assert predicted.wait(20)
        time.sleep(0.2)  # the other thread waits for this one again
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        waited.append(release.wait(20))

    try:
        with pytest.raises(KeyboardInterrupt):
            for _ in predictor.predict(frames()):
                predicted.set()
        assert waited == []
    finally:
        release.set()
        signal.signal(signal.SIGINT, previous)
