"""Mask AP of a bundle on rendered scenes that it never saw, with pycocotools.

The same detections also go through the project's own evaluation where it is installed; the two must agree.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report import REPORTS, BenchmarkError, environment, run, write_report

AGREEMENT = 1e-6


@dataclass(frozen=True)
class ScenesResult:
    """mask_ap …: pycocotools' figures, 0 to 1. own_mask_ap: of instseg_trainer.evaluation; None where not installed."""

    mask_ap: float
    mask_ap50: float
    mask_ap75: float
    mask_ap_per_class: dict[str, float]
    own_mask_ap: float | None
    images: int
    instances: int
    detections: int
    predict_s: float


@dataclass(frozen=True)
class Detections:
    """entries: COCO results of all images; boxes stays with them for the project's own evaluation."""

    entries: list[dict[str, Any]]
    predict_s: float


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--bundle", metavar="BUNDLE", help="bundle folder, or the name of an embedded one (default: the embedded one)"
    )
    parser.add_argument("--images", type=int, default=200, metavar="N", help="number of scenes (default: %(default)s)")
    parser.add_argument(
        "--seed",
        type=int,
        default=424242,
        metavar="S",
        help="seed of the set; the embedded bundle was trained on others (default: %(default)s)",
    )
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where the set is rendered, and found again (default: temporary)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="rendering processes (default: one per CPU)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads of an inference (default: all cores)")
    parser.add_argument(
        "--report",
        type=Path,
        default=REPORTS / "scenes_accuracy.json",
        metavar="FILE",
        help="JSON (default: %(default)s)",
    )
    return parser.parse_args()


def predict(bundle: str | Path, folder: Path, truth: dict[str, Any], threads: int | None) -> Detections:
    """Everything that the bundle finds in the images of a COCO file, whatever its score, in float32."""
    from instseg_rt import Predictor

    names = {category["id"]: category["name"] for category in truth["categories"]}
    with Predictor(bundle, precision="fp32", threshold=0.0, threads=threads) as predictor:
        found = dict(zip(predictor.info.category_ids, predictor.labels))
        if found != names:
            raise BenchmarkError(
                f"{bundle}: expected the categories of the scenes, {names}; found {dict(list(found.items())[:8])}"
            )
        predictor.warm_up()
        entries: list[dict[str, Any]] = []
        start = time.perf_counter()
        paths = [folder / "images" / image["file_name"] for image in truth["images"]]
        for image, result in zip(truth["images"], predictor.predict(paths), strict=True):
            entries += result.to_coco(image["id"])
    return Detections(entries, time.perf_counter() - start)


def evaluate_pycocotools(annotation_file: Path, entries: list[dict[str, Any]]) -> tuple[Any, dict[str, float]]:
    """COCOeval's `stats`, and the AP of each category by name."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(annotation_file))
        # Beside a bbox, pycocotools would take the box's area for the mask's.
        masks = [{key: value for key, value in entry.items() if key != "bbox"} for entry in entries]
        if not masks:
            raise BenchmarkError("the bundle found nothing in any image")
        evaluation = COCOeval(truth, truth.loadRes(masks), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    # precision: (IoU, recall, category, area range, detection limit)
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    per_class = {
        truth.cats[category_id]["name"]: float(precision[:, :, index].mean())
        for index, category_id in enumerate(evaluation.params.catIds)
        if (precision[:, :, index] > -1).all()
    }
    return evaluation.stats, per_class


def evaluate_own(annotation_file: Path, truth: dict[str, Any], entries: list[dict[str, Any]]) -> float | None:
    """Mask AP of instseg_trainer.evaluation; None where the packages of the extra `train` are not installed."""
    try:
        from instseg_trainer.evaluation import CocoEvaluator
    except ModuleNotFoundError:
        return None
    evaluator = CocoEvaluator(annotation_file)
    by_image: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in truth["images"]}
    for entry in entries:
        by_image[entry["image_id"]].append(entry)
    for image_id, found in by_image.items():
        evaluator.add(
            image_id,
            [[x, y, x + width, y + height] for x, y, width, height in (entry["bbox"] for entry in found)],
            [entry["score"] for entry in found],
            [entry["category_id"] for entry in found],
            [entry["segmentation"] for entry in found],
        )
    return evaluator.evaluate().mask.ap


def benchmark(args: argparse.Namespace, folder: Path) -> ScenesResult:
    from instseg_rt import default_bundle
    from instseg_rt.scenes.dataset import make_dataset

    # All in one split: nothing is trained here.
    make_dataset(folder, args.images, seed=args.seed, val_fraction=0.0, workers=args.workers)
    annotation_file = folder / "annotations" / "instance_train.json"
    truth = json.loads(annotation_file.read_text(encoding="utf-8"))
    detections = predict(args.bundle or default_bundle(), folder, truth, args.threads)
    stats, per_class = evaluate_pycocotools(annotation_file, detections.entries)
    own = evaluate_own(annotation_file, truth, detections.entries)
    if own is not None and not math.isclose(own, stats[0], rel_tol=0, abs_tol=AGREEMENT):
        raise BenchmarkError(
            f"mask AP is {stats[0]:.8f} by pycocotools and {own:.8f} by instseg_trainer.evaluation: expected the same"
        )
    return ScenesResult(
        mask_ap=float(stats[0]),
        mask_ap50=float(stats[1]),
        mask_ap75=float(stats[2]),
        mask_ap_per_class=per_class,
        own_mask_ap=own,
        images=len(truth["images"]),
        instances=len(truth["annotations"]),
        detections=len(detections.entries),
        predict_s=detections.predict_s,
    )


def main() -> None:
    args = parse_arguments()
    from instseg_rt.cli.console import facts, stdout_console

    if args.folder is not None:
        result = benchmark(args, args.folder)
    else:
        with tempfile.TemporaryDirectory(prefix="instseg-scenes-") as folder:
            result = benchmark(args, Path(folder) / "scenes")
    own = "instseg_trainer is not installed" if result.own_mask_ap is None else f"{result.own_mask_ap:.6f}"
    rows: list[tuple[str, object]] = [
        ("mask AP, pycocotools", f"{result.mask_ap:.6f}"),
        ("mask AP, instseg_trainer.evaluation", own),
        ("mask AP50", f"{result.mask_ap50:.4f}"),
        ("mask AP75", f"{result.mask_ap75:.4f}"),
        *((f"mask AP of {name}", f"{value:.4f}") for name, value in result.mask_ap_per_class.items()),
        ("instances / detections", f"{result.instances} / {result.detections}"),
        ("images per second, decode to result", f"{result.images / result.predict_s:.1f}"),
        ("machine", environment()),
    ]
    stdout_console().print(facts(f"{result.images} rendered scenes, seed {args.seed}", rows))
    write_report(args.report, "scenes_accuracy", vars(args), result)


if __name__ == "__main__":
    sys.exit(run(main))
