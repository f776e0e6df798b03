"""AP of the predictor that is measured, against the trainer's own evaluation of the bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from instseg_rt import Predictor
from instseg_rt.benchmark import accuracy
from instseg_rt.benchmark.accuracy import AccuracyCheck
from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.benchmark.options import Options
from instseg_rt.benchmark.run import run_benchmark
from instseg_rt.benchmark.scenarios import Limits

for _package in ("faster_coco_eval", "pycocotools"):
    pytest.importorskip(_package, reason="needs the [train] extra")


@pytest.fixture
def dataset(tmp_path: Path, tiny_bundle: Path, colored_image: np.ndarray) -> Path:
    """Two photos; the truth is what the tiny bundle finds in the first, moved aside in the second."""
    folder = tmp_path / "blocks"
    (folder / "images").mkdir(parents=True)
    (folder / "annotations").mkdir()
    content: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": []}
    with Predictor(tiny_bundle) as predictor:
        names = zip(predictor.info.category_ids, predictor.labels, strict=True)
        content["categories"] = [{"id": category, "name": label} for category, label in names]
        for image_id, name in enumerate(("a.png", "b.png"), start=5):
            cv2.imwrite(str(folder / "images" / name), colored_image)
            height, width = colored_image.shape[:2]
            content["images"].append({"id": image_id, "file_name": name, "height": height, "width": width})
            for entry in predictor(colored_image).to_coco(image_id):
                x, y, w, h = entry["bbox"]
                x += 8 if image_id == 6 else 0
                ring = [x, y, x + w, y, x + w, y + h, x, y + h]
                annotation = {"id": len(content["annotations"]) + 1, "image_id": image_id, "iscrowd": 0, "area": w * h}
                annotation |= {"bbox": [x, y, w, h], "segmentation": [ring], "category_id": entry["category_id"]}
                content["annotations"].append(annotation)
    (folder / "annotations" / "instance_val.json").write_text(json.dumps(content))
    return folder


def test_the_same_figures_as_the_trainers_evaluation(dataset: Path, tiny_bundle: Path) -> None:
    pytest.importorskip("paddle", reason="needs the [train] extra")
    from instseg_trainer.data import CocoDataset
    from instseg_trainer.engine.evaluate_bundle import evaluate_bundle

    data = CocoDataset(dataset, "annotations/instance_val.json")
    expected = evaluate_bundle(tiny_bundle, data)[0]
    with Predictor(tiny_bundle) as predictor:
        found = AccuracyCheck(dataset).measure(predictor)
    assert (found.dataset, found.images) == ("blocks", 2)
    assert (found.mask_ap, found.mask_ap50, found.box_ap) == (expected.mask.ap, expected.mask.ap50, expected.box.ap)
    assert 0.2 < found.mask_ap < 1


def test_ap_is_part_of_every_run_of_its_precision(dataset: Path, tiny_bundle: Path, photo: Path) -> None:
    options = Options(
        (str(tiny_bundle),),
        (str(photo),),
        batches=(1, 2),
        dataset=dataset,
        limits=Limits(0.0, 2),
        warm_up_s=0.0,
        threads=1,
    )
    told = []
    report = run_benchmark(options, on_accuracy=lambda configuration, found: told.append((configuration, found)))
    assert len(report.runs) == 2
    assert [run.accuracy for run in report.runs] == [told[0][1]] * 2
    assert len(told) == 1


def test_other_categories_are_refused(dataset: Path, tiny_bundle: Path) -> None:
    file = dataset / "annotations" / "instance_val.json"
    content = json.loads(file.read_text())
    content["categories"].append({"id": 77, "name": "more"})
    file.write_text(json.dumps(content))
    with Predictor(tiny_bundle) as predictor, pytest.raises(BenchmarkError, match="category ids"):
        AccuracyCheck(dataset).measure(predictor)


def test_what_is_no_data_set(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="expected a COCO data set"):
        AccuracyCheck(tmp_path)
    file = dataset / "annotations" / "instance_val.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"images": [], "annotations": []}))
    with pytest.raises(BenchmarkError, match="no images to evaluate on"):
        AccuracyCheck(dataset)
    file.write_text("{")
    with pytest.raises(BenchmarkError, match="not a valid JSON"):
        AccuracyCheck(dataset)


def test_missing_packages_are_one_line(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "_PACKAGES", ("pycocotools", "no_such_package"))
    with pytest.raises(BenchmarkError, match=r"--ap needs more packages \(no_such_package\): pip install"):
        AccuracyCheck(dataset)
