"""The process that runs PaddleX, with a package of PaddleX's name that runs a bundle and answers as PaddleX does."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from instseg_rt import Predictor
from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.benchmark.options import Options
from instseg_rt.benchmark.peers import PADDLEX
from instseg_rt.benchmark.peers.found import check_agreement
from instseg_rt.benchmark.peers.paddlex_peer import PaddlexPeer
from instseg_rt.benchmark.run import run_benchmark
from instseg_rt.benchmark.scenarios import Limits

from ...family_bundles import write_c4, write_mask_rcnn, write_solov2

PACKAGE = """
import os
import sys
from pathlib import Path

import instseg_rt

__version__ = "3.99"
print("a greeting on stdout")


class _Model:
    def __init__(self, folder):
        self._predictor = instseg_rt.Predictor((Path(folder) / "bundle.txt").read_text(), precision="fp32", threads=1)
        self._whole_masks = self._predictor.info.family == "solov2"

    def predict(self, image, batch_size, threshold):
        print("chatter")
        if "crash" in Path(image).name:
            print("Aborted: out of luck", file=sys.stderr, flush=True)
            os._exit(3)
        if "bad" in Path(image).name:
            raise ValueError("this image\\nis bad")
        result = self._predictor(image, threshold)
        if self._whole_masks:
            found = zip(result.class_ids, result.scores)
            boxes = [{"class_id": class_id, "score": score, "label": ""} for class_id, score in found]
            yield {"boxes": boxes, "masks": list(result.masks)}
        else:
            yield {"boxes": result["boxes"], "masks": result["masks"]}


def create_model(model_name, model_dir, device):
    assert (model_name, device) == ("Some-Model", "cpu")
    assert os.environ["PADDLE_PDX_CPU_NUM_THREADS"] == "2"
    if (Path(model_dir) / "broken").exists():
        raise RuntimeError("no such model")
    return _Model(model_dir)
"""


@pytest.fixture
def model(tmp_path: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as PaddleX exports them, which stands for the tiny bundle."""
    package = tmp_path / "packages" / "paddlex"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PACKAGE)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "inference.yml").write_text("Global: {model_name: Some-Model}\n")
    (folder / "bundle.txt").write_text(str(tiny_bundle))
    return folder


@pytest.fixture
def peer(model: Path, tiny_bundle: Path) -> Iterator[PaddlexPeer]:
    with Predictor(tiny_bundle) as predictor:
        peer = PaddlexPeer(Path(sys.executable), model, predictor.info, 0.25, 2)
        yield peer
        peer.close()


def test_it_finds_the_same(peer: PaddlexPeer, tiny_bundle: Path, photo: Path) -> None:
    assert peer.version == "3.99"
    with Predictor(tiny_bundle, threshold=0.25) as predictor:
        ours = predictor(photo)
    found = peer.find(photo)
    assert len(found.scores) == len(ours) >= 3
    check_agreement(PADDLEX, photo, ours, found)
    call = peer([photo])
    assert (call.images, list(call.milliseconds)) == (1, ["total"])
    assert call.milliseconds["total"] > 0


@pytest.mark.parametrize("write", [write_solov2, write_mask_rcnn, write_c4], ids=["solov2", "mask_rcnn", "c4"])
def test_other_families(write: Callable[[Path], Path], model: Path, tmp_path: Path) -> None:
    """SOLOv2's results have whole masks and no boxes; those of R-CNN come of several networks."""
    bundle = write(tmp_path / "other.bundle")
    (model / "bundle.txt").write_text(str(bundle))
    blocks = np.random.default_rng(4).integers(0, 256, (5, 7, 3), np.uint8)
    picture = tmp_path / "blocks.png"
    cv2.imwrite(str(picture), cv2.resize(blocks, (211, 131)))
    with Predictor(bundle) as predictor:
        peer = PaddlexPeer(Path(sys.executable), model, predictor.info, predictor.threshold, 2)
        try:
            ours, found = predictor(picture), peer.find(picture)
            assert len(ours) > 0
            assert (found.boxes is None) == (write is write_solov2)
            check_agreement(PADDLEX, picture, ours, found)
        finally:
            peer.close()


def test_in_turn_with_the_bundle(model: Path, tiny_bundle: Path, photo: Path) -> None:
    options = Options(
        (str(tiny_bundle),),
        (str(photo),),
        compare=(PADDLEX,),
        paddlex_python=Path(sys.executable),
        paddlex_model=model,
        threads=2,
        limits=Limits(0.0, 4),
        warm_up_s=0.0,
    )
    (comparison,) = run_benchmark(options).runs[0].comparisons
    assert (comparison.peer, comparison.version) == (PADDLEX, "3.99")
    assert list(comparison.ratios) == ["total"]
    assert comparison.ratios["total"].pairs == 4


def test_an_error_is_one_line(peer: PaddlexPeer, photo: Path) -> None:
    with pytest.raises(BenchmarkError, match="--compare paddlex: ValueError: this image is bad"):
        peer.find(photo.with_name("bad.png"))


def test_a_process_that_dies_is_one_line(peer: PaddlexPeer, photo: Path) -> None:
    with pytest.raises(BenchmarkError, match="the process ended: Aborted: out of luck"):
        peer.find(photo.with_name("crash.png"))
    with pytest.raises(BenchmarkError, match="the process ended"):
        peer.find(photo)


def test_what_cannot_be_used(model: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    with Predictor(tiny_bundle) as predictor:
        with pytest.raises(
            BenchmarkError, match=r"expected a model that PaddleX exported, a folder with inference\.yml"
        ):
            PaddlexPeer(Path(sys.executable), tmp_path, predictor.info, 0.5, 2)
        with pytest.raises(BenchmarkError, match=r"--paddlex-python: .*: cannot be run"):
            PaddlexPeer(tmp_path / "python", model, predictor.info, 0.5, 2)
        (model / "broken").touch()
        with pytest.raises(BenchmarkError, match="RuntimeError: no such model"):
            PaddlexPeer(Path(sys.executable), model, predictor.info, 0.5, 2)


def test_the_worker_does_not_see_the_modules_beside_it(model: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    package = tmp_path / "packages" / "paddlex" / "__init__.py"
    beside = "import importlib.util\nassert importlib.util.find_spec('solov2') is None\n"
    package.write_text(beside + PACKAGE)
    with Predictor(tiny_bundle) as predictor:
        PaddlexPeer(Path(sys.executable), model, predictor.info, 0.5, 2).close()
