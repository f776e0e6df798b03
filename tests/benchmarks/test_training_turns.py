"""Two trainings that take turns: the processes, and the comparison with PaddleDetection, for which a package of its
name stands that has its loop's calls.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from instseg_rt.scenes import CLASS_NAMES
from turns.protocol import PeerError, TrainingProcess
from turns.repeated_images import repeat_images

from .test_benchmarks import run

CONFIG = "ppyoloe_seg/ppyoloe_seg_s_80e_coco"

WORKSPACE = """
import yaml

CONFIG = {}


def load_config(file):
    CONFIG.update(yaml.safe_load(open(file)))
    return CONFIG


def merge_config(changes):
    CONFIG.update(changes)
"""

ENGINE = """
import json
import time
from pathlib import Path
from types import SimpleNamespace

print("a greeting on stdout")


class Trainer:
    use_ema = True

    def __init__(self, config, mode):
        Path(config["folder"], "seen.json").write_text(json.dumps(config | {"mode": mode}))
        self.ema = SimpleNamespace(update=lambda: time.sleep(0.02))
        self.images = config["images"]

    def register_callbacks(self, callbacks):
        self._callbacks.extend(callbacks)

    def call(self, event, status):
        for callback in self._callbacks:
            getattr(callback, event)(status)

    def train(self):
        status = {}
        self.call("on_epoch_begin", status)
        for number in range(1, self.images):
            time.sleep(0.01)
            self.call("on_step_begin", status)
            time.sleep(0.03)
            status["training_staus"] = SimpleNamespace(meters={"loss": SimpleNamespace(value=1.0 / number)})
            self.call("on_step_end", status)
            self.ema.update()
        self.call("on_epoch_end", status)
"""

CALLBACKS = """
class Callback:
    def __init__(self, model):
        self.model = model
"""

READER = """
folder: {folder}
images: {images}
TrainReader:
  sample_transforms: [{{Decode: {{}}}}, {{RandomFlip: {{}}}}]
  batch_transforms: [{{BatchRandomResize: {{target_size: [320, 640], random_size: true}}}}, {{Permute: {{}}}}]
  batch_size: 8
"""


def write_repository(folder: Path, images: int) -> Path:
    package = folder / "ppdet"
    for name, text in {
        "__init__.py": "",
        "core/__init__.py": "",
        "core/workspace.py": WORKSPACE,
        "engine/__init__.py": ENGINE,
        "engine/callbacks.py": CALLBACKS,
    }.items():
        file = package / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    config = folder / "configs" / f"{CONFIG}.yml"
    config.parent.mkdir(parents=True)
    config.write_text(READER.format(folder=folder, images=images))
    return folder


def compare(repository: Path, report: Path, *arguments: object) -> tuple[int, str, str]:
    settings = ("Recipe.image_size=[64, 96]", "Recipe.workers=1", "Train.batch_size=2")
    options = ("--iterations", 5, "--turns", 2, "--warm-up", 1, "--threads", 1, "--report", report)
    where = ("--compare", repository, *options)
    done = run("training_speed.py", "PP-YOLOE_seg-S", *where, *arguments, "-o", *settings)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_compare_with_paddledetection(tmp_path: Path) -> None:
    pytest.importorskip("paddle", reason="needs the [train] extra")
    repository, report = write_repository(tmp_path / "repository", 40), tmp_path / "speed.json"
    code, shown, errors = compare(repository, report)
    assert code == 0, errors
    result = json.loads(report.read_text(encoding="utf-8"))["results"]
    ours, theirs = result["ours"], result["paddledetection"]
    for side in (ours, theirs):
        assert side["images_per_iteration"] == 2
        assert side["total_ms"]["count"] == 5
        assert side["images_per_second"] == pytest.approx(2000 / side["total_ms"]["mean"])
    # Its second iteration is the first that is timed; the averaged weights' time is a part of the step's.
    assert (theirs["first_loss"], theirs["last_loss"]) == (1 / 2, 1 / 6)
    assert theirs["data_ms"]["min"] >= 10
    assert theirs["compute_ms"]["min"] >= 50
    assert result["ratio"] == pytest.approx(ours["images_per_second"] / theirs["images_per_second"])
    assert len(result["ratios_of_turns"]) == 2
    assert min(result["ratios_of_turns"]) <= result["ratio"] <= max(result["ratios_of_turns"])
    assert "PaddleDetection: images per second" in shown

    seen = json.loads((repository / "seen.json").read_text())
    assert (seen["mode"], seen["num_classes"], seen["worker_num"], seen["use_gpu"]) == (
        "train",
        len(CLASS_NAMES),
        1,
        False,
    )
    assert seen["TrainReader"]["batch_size"] == 2
    resize = seen["TrainReader"]["batch_transforms"][0]["BatchRandomResize"]
    assert resize == {
        "target_size": [64, 96],
        "keep_ratio": False,
        "interp": 2,
        "random_size": False,
        "random_interp": False,
    }
    assert seen["TrainReader"]["sample_transforms"] == [{"Decode": {}}, {"RandomFlip": {}}]


@pytest.mark.slow
def test_comparisons_that_cannot_be(tmp_path: Path) -> None:
    pytest.importorskip("paddle", reason="needs the [train] extra")
    report = tmp_path / "speed.json"
    code, _, errors = compare(tmp_path, report)
    assert (code, errors.splitlines()[-1]) == (
        1,
        f"error: {tmp_path}: --compare expects PaddleDetection's repository, with ppdet/",
    )
    repository = write_repository(tmp_path / "repository", 3)
    code, _, errors = compare(repository, report)
    assert code == 1
    assert "error: PaddleDetection: the training ended (the data set has fewer images than are trained)" in errors
    code, _, errors = compare(repository, report, "--compare-python", tmp_path / "nowhere")
    assert code == 1
    last = errors.splitlines()[-1]
    assert last.startswith("error: PaddleDetection: ")
    assert "nowhere cannot be started" in last
    assert not report.exists()


PEER = """
import sys
from turns.protocol import Stopwatch, Turns

turns = Turns()
print("not an answer")
stopwatch = Stopwatch()


def train():
    stopwatch.batch_is_there()
    return stopwatch.done(0.5)


turns.serve(train, stopwatch.start) if len(sys.argv[1]) < 5 else sys.exit("out of luck")
"""


def peer(folder: Path, task: dict[str, int]) -> TrainingProcess:
    (folder / "peer_program.py").write_text(PEER)
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return TrainingProcess("peer", sys.executable, "peer_program", task, environment, folder / "peer.log")


def state(process_id: int) -> str:
    return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="states of processes are read from /proc")
def test_a_process_stands_still_between_its_turns(tmp_path: Path) -> None:
    with peer(tmp_path, {}) as process:
        process_id = process._process.pid
        for count in (1, 3):
            taken = process.turn(count)
            assert len(taken) == count
            assert all(iteration.total_ms >= 0 and math.isclose(iteration.loss, 0.5) for iteration in taken)
            assert state(process_id) in ("T", "t")
    assert not Path(f"/proc/{process_id}").exists()
    assert "not an answer" in (tmp_path / "peer.log").read_text()


def test_a_process_that_ends_gives_its_last_words(tmp_path: Path) -> None:
    with (
        peer(tmp_path, {"fails": 1}) as process,
        pytest.raises(PeerError, match=r"peer: the training ended \(out of luck\): see .*peer\.log"),
    ):
        process.turn(1)


def test_repeated_images(tmp_path: Path) -> None:
    dataset = tmp_path / "small"
    (dataset / "annotations").mkdir(parents=True)
    (dataset / "images").mkdir()
    for name in ("a.png", "b.jpg"):
        (dataset / "images" / name).write_text(name)
    content = {
        "images": [{"id": 7, "file_name": "a.png"}, {"id": 3, "file_name": "b.jpg"}],
        "annotations": [{"id": 1, "image_id": 3, "area": 5}, {"id": 2, "image_id": 3, "area": 6}],
        "categories": [{"id": 4, "name": "c"}],
    }
    for part in ("train", "val"):
        (dataset / "annotations" / f"instance_{part}.json").write_text(json.dumps(content))
    longer = repeat_images(dataset, 5, tmp_path / "long")
    for part, images in (("train", 6), ("val", 2)):
        written = json.loads((longer / "annotations" / f"instance_{part}.json").read_text())
        assert written["categories"] == content["categories"]
        assert [image["id"] for image in written["images"]] == list(range(1, images + 1))
        contents = {image["id"]: (longer / "images" / image["file_name"]).read_text() for image in written["images"]}
        assert Counter(contents.values()) == {"a.png": images // 2, "b.jpg": images // 2}
        assert len({entry["id"] for entry in written["annotations"]}) == images
        of_image = Counter(contents[entry["image_id"]] for entry in written["annotations"])
        assert of_image == {"b.jpg": images}
        assert [entry["area"] for entry in written["annotations"]] == [5, 6] * (images // 2)
