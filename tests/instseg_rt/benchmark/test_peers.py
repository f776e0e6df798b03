"""The peers do the same work: they find what the bundle finds, and one that does not is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from instseg_rt import Predictor, default_bundle, embedded_bundles
from instseg_rt.benchmark.clock import SystemClock
from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.benchmark.images import image_files
from instseg_rt.benchmark.options import Options
from instseg_rt.benchmark.peers import ONNXRUNTIME, OPENVINO
from instseg_rt.benchmark.peers.found import Found, check_agreement
from instseg_rt.benchmark.peers.pipeline import PipelinePeer
from instseg_rt.benchmark.run import run_benchmark
from instseg_rt.benchmark.scenarios import Limits
from instseg_rt.benchmark.subjects import TOTAL

from ...family_bundles import WRITERS

LIBRARIES = (ONNXRUNTIME, OPENVINO)


def make_peer(name: str, predictor: Predictor, threshold: float | None = None) -> PipelinePeer:
    pytest.importorskip(name)
    threshold = predictor.threshold if threshold is None else threshold
    return PipelinePeer(name, predictor.info, threshold, 1, SystemClock())


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Blocks of colour of a size that is no multiple of anything."""
    blocks = np.random.default_rng(4).integers(0, 256, (5, 7, 3), np.uint8)
    file = tmp_path_factory.mktemp("pictures") / "blocks.png"
    cv2.imwrite(str(file), cv2.resize(blocks, (211, 131), interpolation=cv2.INTER_LINEAR))
    return file


@pytest.mark.parametrize("name", LIBRARIES)
def test_agreement_on_the_embedded_bundle(name: str, tmp_path: Path) -> None:
    if not embedded_bundles():
        pytest.skip("no bundle is embedded in this installation")
    (scene,) = image_files((), tmp_path)
    with Predictor(default_bundle(), precision="fp32") as predictor:
        peer = make_peer(name, predictor)
        ours, theirs = predictor(scene), peer.find(scene)
        assert len(ours) >= 2
        check_agreement(name, scene, ours, theirs)
        call = peer([scene])
    assert list(call.milliseconds) == ["decode", "preprocess", "inference", "postprocess", TOTAL]
    assert sum(list(call.milliseconds.values())[:-1]) <= call.milliseconds[TOTAL] + 1e-6


@pytest.mark.parametrize("threshold", [0.0, 0.3])
@pytest.mark.parametrize("family", ["mask_rtdetr", "solov2"])
@pytest.mark.parametrize("name", LIBRARIES)
def test_agreement_of_families(name: str, family: str, threshold: float, picture: Path, tmp_path: Path) -> None:
    with Predictor(WRITERS[family](tmp_path / "family.bundle"), threshold=threshold) as predictor:
        ours = predictor(picture)
        assert len(ours) >= 3
        check_agreement(name, picture, ours, make_peer(name, predictor).find(picture))


@pytest.mark.parametrize("family", ["mask_rcnn", "cascade"])
def test_families_without_a_usual_pipeline_are_refused(family: str, tmp_path: Path) -> None:
    bundle = WRITERS[family](tmp_path / "family.bundle")
    with Predictor(bundle) as predictor, pytest.raises(BenchmarkError, match="RoIAlign"):
        PipelinePeer(OPENVINO, predictor.info, 0.5, 1, SystemClock())


def test_nothing_found_is_no_difficulty(tmp_path: Path, picture: Path) -> None:
    for family in ("mask_rtdetr", "solov2"):
        with Predictor(WRITERS[family](tmp_path / f"{family}.bundle"), threshold=1.0) as predictor:
            found = make_peer(OPENVINO, predictor).find(picture)
            assert (len(found.scores), len(found.masks)) == (0, 0)
            check_agreement(OPENVINO, picture, predictor(picture), found)


CHANGES: dict[str, Callable[[Found], Found]] = {
    "score": lambda found: replace(found, scores=found.scores - 0.01),
    "box": lambda found: replace(found, boxes=None if found.boxes is None else found.boxes + 1),
    "mask": lambda found: replace(found, masks=[np.roll(mask, 3, axis=1) for mask in found.masks]),
    "class": lambda found: replace(found, class_ids=found.class_ids + 1),
    "missing": lambda found: replace(
        found,
        class_ids=found.class_ids[1:],
        scores=found.scores[1:],
        boxes=None if found.boxes is None else found.boxes[1:],
        masks=found.masks[1:],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_results_are_refused(tiny_bundle: Path, photo: Path, change: str) -> None:
    with Predictor(tiny_bundle) as predictor:
        ours = predictor(photo)
        theirs = make_peer(OPENVINO, predictor).find(photo)
    assert len(ours) >= 2
    check_agreement("peer", photo, ours, theirs)
    with pytest.raises(BenchmarkError, match="peer finds") as caught:
        check_agreement("peer", photo, ours, CHANGES[change](theirs))
    assert "\n" not in str(caught.value)


def test_the_order_of_instances_does_not_matter(tiny_bundle: Path, photo: Path) -> None:
    with Predictor(tiny_bundle) as predictor:
        ours = predictor(photo)
        theirs = make_peer(OPENVINO, predictor).find(photo)
    assert theirs.boxes is not None
    reverse = Found(theirs.class_ids[::-1], theirs.scores[::-1], theirs.boxes[::-1], theirs.masks[::-1])
    check_agreement("peer", photo, ours, reverse)


def test_peers_in_turn_with_the_bundle(tiny_bundle: Path, photo: Path) -> None:
    for name in LIBRARIES:
        pytest.importorskip(name)
    options = Options(
        (str(tiny_bundle),), (str(photo),), compare=LIBRARIES, limits=Limits(0.0, 6), warm_up_s=0.0, threads=1
    )
    report = run_benchmark(options)
    (only,) = report.runs
    assert [comparison.peer for comparison in only.comparisons] == list(LIBRARIES)
    assert only.images_per_second is None
    for comparison in only.comparisons:
        stages = {"decode", "preprocess", "inference", "postprocess", "total"}
        assert set(comparison.ratios) == set(comparison.samples.samples_ms) == stages
        assert all(len(values) == 6 for values in comparison.samples.samples_ms.values())
        assert comparison.ratios["total"].pairs == 6
        assert comparison.version


def test_a_peer_that_finds_other_things_ends_the_benchmark(
    tiny_bundle: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = PipelinePeer.find
    monkeypatch.setattr(PipelinePeer, "find", lambda self, image: CHANGES["score"](find(self, image)))
    options = Options((str(tiny_bundle),), (str(photo),), compare=(OPENVINO,), threads=1)
    with pytest.raises(BenchmarkError, match="openvino finds"):
        run_benchmark(options)
