"""Data sets of scenes: readable by pycocotools, exact, resumable, and never written over something else."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from instseg_rt.scenes import CLASS_NAMES, dataset, render_scene
from instseg_rt.scenes.dataset import DatasetSettings, SceneDatasetError, make_dataset, scene_seed

SIZE = {"height": 64, "width": 80}


def make(folder: Path, **changes: object) -> Path:
    arguments = {"images": 6, "seed": 3, "val_fraction": 0.34, "workers": 1, **SIZE, **changes}
    return make_dataset(folder, **arguments)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("scenes") / "new" / "set")


def test_files(made: Path) -> None:
    names = [f"images/train_{i:06d}.jpg" for i in range(4)] + [f"images/val_{i:06d}.jpg" for i in range(2)]
    expected = {"scenes.json", "annotations/instance_train.json", "annotations/instance_val.json", *names}
    assert set(contents(made)) == expected
    assert not (made / ".progress").exists()


@pytest.mark.parametrize("split", ["train", "val"])
def test_annotations_decode_to_the_exact_masks(made: Path, split: str) -> None:
    coco_api = pytest.importorskip("pycocotools.coco")
    mask_utils = pytest.importorskip("pycocotools.mask")
    coco = coco_api.COCO(str(made / "annotations" / f"instance_{split}.json"))
    assert [(c["id"], c["name"]) for c in coco.loadCats(coco.getCatIds())] == list(enumerate(CLASS_NAMES, start=1))
    assert sorted(coco.getAnnIds()) == list(range(1, len(coco.anns) + 1))
    for index, image_id in enumerate(sorted(coco.getImgIds())):
        assert image_id == index + 1
        entry = coco.imgs[image_id]
        assert (entry["height"], entry["width"]) == (64, 80)
        scene = render_scene(scene_seed(3, split, index), **SIZE)
        stored = cv2.imread(str(made / "images" / entry["file_name"]))[..., ::-1]
        assert np.abs(stored.astype(int) - scene.image).mean() < 8, "the JPEG should show the scene, in RGB order"
        annotations = coco.imgToAnns[image_id]
        assert len(annotations) == len(scene.instances)
        for annotation, instance in zip(annotations, scene.instances):
            np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), instance.mask)
            assert annotation["category_id"] == instance.class_id + 1
            assert annotation["iscrowd"] == 0
            assert annotation["area"] == instance.mask.sum()
            assert annotation["bbox"] == mask_utils.toBbox(annotation["segmentation"]).tolist()


def test_scene_seeds_never_meet() -> None:
    seeds = [scene_seed(s, split, i) for s in range(4) for split in ("train", "val") for i in range(200)]
    assert len(set(seeds)) == len(seeds)


def test_a_larger_set_begins_with_the_same_pictures(made: Path, tmp_path: Path) -> None:
    larger = make(tmp_path / "larger", images=9)
    for name in ("train_000000", "train_000003", "val_000001"):
        file = Path("images") / f"{name}.jpg"
        assert (made / file).read_bytes() == (larger / file).read_bytes()


def test_complete_set_is_left_alone(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(made)
    monkeypatch.setattr(dataset, "render_scene", lambda *_: pytest.fail("nothing is left to render"))
    make(made)
    assert contents(made) == before


def interrupt_after(monkeypatch: pytest.MonkeyPatch, count: int) -> list[int]:
    """Make the renderer stop as Ctrl-C does; the list collects the seeds it was asked for."""
    seen: list[int] = []

    def render(seed: int, height: int, width: int) -> object:
        if len(seen) == count:
            raise KeyboardInterrupt
        seen.append(seed)
        return render_scene(seed, height, width)

    monkeypatch.setattr(dataset, "render_scene", render)
    return seen


def test_interrupted_run_continues(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "set"
    first = interrupt_after(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        make(folder)
    assert not list((folder / "annotations").iterdir())
    second = interrupt_after(monkeypatch, 100)
    make(folder)
    assert (len(first), len(second)) == (3, 3)
    assert not set(first) & set(second)
    assert contents(folder) == contents(made)


@pytest.mark.parametrize("damage", ["picture cut", "picture gone", "record cut", "record of another shape"])
def test_damaged_progress_is_made_again(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    folder = tmp_path / "set"
    interrupt_after(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        make(folder)
    picture, record = folder / "images" / "train_000001.jpg", folder / ".progress" / "train_000001.json"
    if damage == "picture cut":
        picture.write_bytes(picture.read_bytes()[:100])
    elif damage == "picture gone":
        picture.unlink()
    elif damage == "record cut":
        record.write_bytes(record.read_bytes()[:20])
    else:
        record.write_text("[1, 2]")
    again = interrupt_after(monkeypatch, 100)
    make(folder)
    assert scene_seed(3, "train", 1) in again
    assert contents(folder) == contents(made)


@pytest.mark.slow
def test_processes_write_the_same_set(made: Path, tmp_path: Path) -> None:
    assert contents(make(tmp_path / "set", workers=2)) == contents(made)


def test_foreign_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(SceneDatasetError, match=r"is not empty and has no scenes\.json"):
        make(tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"precious"}


def test_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").write_text("precious")
    with pytest.raises(SceneDatasetError, match=r"is a file; give a folder"):
        make(tmp_path / "set")


def test_other_settings_are_refused(made: Path) -> None:
    with pytest.raises(SceneDatasetError, match=r"other settings \(seed 3, now 4\)"):
        make(made, seed=4)


@pytest.mark.parametrize(("text", "message"), [("{", "not valid JSON"), ("[]", "images missing, now 6")])
def test_bad_settings_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "scenes.json").write_text(text)
    with pytest.raises(SceneDatasetError, match=message):
        make(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": 0}, r"images is 0, expected 1\.\."),
        ({"seed": -1}, "seed is -1, expected 0 or more"),
        ({"height": 10}, r"height is 10, expected 64\.\."),
        ({"width": 10**6}, r"width is 1000000, expected 64\.\."),
        ({"val_fraction": 1.0}, "val_fraction is 1.0, expected 0 <= val_fraction < 1"),
        ({"val_fraction": float("nan")}, "val_fraction is nan"),
        ({"images": 1, "val_fraction": 0.5}, "leave none to train on"),
        ({"workers": 0}, "workers is 0, expected 1 or more"),
    ],
)
def test_bad_arguments(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(SceneDatasetError, match=message):
        make(tmp_path / "set", **changes)
    assert not (tmp_path / "set").exists()


def test_no_validation_images_on_request(tmp_path: Path) -> None:
    folder = make(tmp_path / "set", images=1, val_fraction=0.0)
    val = json.loads((folder / "annotations" / "instance_val.json").read_text())
    assert val["images"] == val["annotations"] == []


def test_split_counts() -> None:
    settings = DatasetSettings(images=3000, seed=0, height=320, width=320, val_fraction=0.1)
    assert (settings.count("train"), settings.count("val")) == (2700, 300)
