"""Mask AP of the predictor that was measured: the same object, so the same device, backend and precision."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.predictor import Predictor

if TYPE_CHECKING:
    from instseg_trainer.data.coco_file import CocoFile

ANNOTATIONS = Path("annotations") / "instance_val.json"
IMAGES = "images"
_PACKAGES = ("faster_coco_eval", "pycocotools", "instseg_trainer")


@dataclass(frozen=True)
class Accuracy:
    """COCO's figures, 0 to 1; AP over IoU 0.50 to 0.95."""

    dataset: str
    images: int
    mask_ap: float
    mask_ap50: float
    mask_ap75: float
    box_ap: float


class AccuracyCheck:
    """Evaluates predictors on the val images of a COCO data set: annotations/instance_val.json and images/.

    Raises `BenchmarkError` where the packages that evaluate are not installed, or the data set is not there.
    """

    def __init__(self, dataset: Path) -> None:
        missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
        if missing:
            raise BenchmarkError(f"--ap needs more packages ({', '.join(missing)}): pip install 'instseg-rt[train]'")
        self._folder = dataset
        if not (dataset / ANNOTATIONS).is_file():
            raise BenchmarkError(f"{dataset}: expected a COCO data set with {ANNOTATIONS} and {IMAGES}/")
        self._file = _read(dataset / ANNOTATIONS)
        if not self._file.images:
            raise BenchmarkError(f"{self._file.path}: has no images to evaluate on")

    def check(self, predictor: Predictor) -> None:
        """Raises `BenchmarkError` when the bundle's categories are not the data set's."""
        found, expected = predictor.info.category_ids, [category.id for category in self._file.categories]
        if list(found) != expected:
            raise BenchmarkError(
                f"{predictor.info.path}: its category ids {_first(found)} are not those of {self._file.path} "
                f"({_first(expected)}): give the data set that the model was trained for"
            )

    def measure(self, predictor: Predictor) -> Accuracy:
        """Predict all images with every detection, whatever its score, and evaluate them."""
        from instseg_trainer.data.errors import DataError
        from instseg_trainer.evaluation import CocoEvaluator

        self.check(predictor)
        paths = [self._folder / IMAGES / image.file_name for image in self._file.images.values()]
        try:
            evaluator = CocoEvaluator(self._file.path)
            for image_id, result in zip(self._file.images, predictor.predict(paths, threshold=0.0), strict=True):
                evaluator.add_result(image_id, result, predictor.info.category_ids)
            metrics = evaluator.evaluate()
        except DataError as error:
            raise BenchmarkError(str(error)) from error
        mask = metrics.mask
        return Accuracy(self._folder.name, len(paths), mask.ap, mask.ap50, mask.ap75, metrics.box.ap)


def _read(file: Path) -> CocoFile:
    from instseg_trainer.data.coco_file import CocoFile
    from instseg_trainer.data.errors import DataError

    try:
        return CocoFile(file)
    except DataError as error:
        raise BenchmarkError(str(error)) from error


def _first(ids: Any) -> str:
    return f"[{', '.join(map(str, list(ids)[:5]))}{', …' if len(ids) > 5 else ''}]"
