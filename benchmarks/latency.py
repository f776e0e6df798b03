"""Latency of a bundle per stage, from the encoded image to the Result, with trtexec's statistics.

Without IMAGE a 640 x 640 scene is rendered and stored as JPEG. With a peer, both run in this process in turn, and the
peer must find the same instances, so that both do the same work.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from latency_statistics import Statistics, compute_statistics
from python_pipeline import PipelineResult, PythonPipeline
from report import REPORTS, BenchmarkError, environment, run, write_report

if TYPE_CHECKING:
    from instseg_rt import Predictor, Result

STAGES = ("decode", "preprocess", "inference", "postprocess", "total")
PEERS = ("openvino-python",)
SCENE_SIZE = 640
# What the peer's result may differ by: it adds in another order.
_MAX_BOX_DIFFERENCE = 0.5  # pixels
_MAX_SCORE_DIFFERENCE = 1e-3
_MIN_MASK_IOU = 0.99
_MIN_SHARE = 0.99  # of the instances that must be found with such a mask


@dataclass
class Samples:
    """Milliseconds per stage, one sample per call; total: of the whole call, on the caller's clock."""

    name: str
    stages: dict[str, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})

    def add(self, milliseconds: dict[str, float]) -> None:
        for stage, value in milliseconds.items():
            self.stages[stage].append(value)

    def statistics(self) -> dict[str, Statistics]:
        return {stage: compute_statistics(values) for stage, values in self.stages.items()}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", metavar="BUNDLE", help="bundle folder, or the name of an embedded one")
    parser.add_argument("images", metavar="IMAGE", nargs="*", help="image files (default: a rendered scene)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument("--warm-up", type=int, default=5, metavar="N", help="calls not measured (default: %(default)s)")
    parser.add_argument(
        "--repeat", type=int, default=100, metavar="N", help="measured passes over the images (default: %(default)s)"
    )
    parser.add_argument("--batch", type=int, default=1, metavar="N", help="images per call (default: %(default)s)")
    parser.add_argument("--threshold", type=float, metavar="T", help="keep score > T (default: the bundle's)")
    parser.add_argument("--precision", default="fp32", help="fp32, bf16 or fp16 (default: %(default)s)")
    parser.add_argument("--peer", choices=PEERS, help="also measure this pipeline; needs batch 1 and fp32")
    parser.add_argument(
        "--report", type=Path, default=REPORTS / "latency.json", metavar="FILE", help="JSON (default: %(default)s)"
    )
    args = parser.parse_args()
    if args.peer and (args.batch != 1 or args.precision != "fp32"):
        parser.error("--peer compares single images in fp32: leave out --batch and --precision")
    for name in ("repeat", "batch"):
        if getattr(args, name) < 1:
            parser.error(f"--{name}: expected at least 1, found {getattr(args, name)}")
    return args


def render_scene_file(folder: Path) -> Path:
    """The demo's scene as a JPEG of quality 95."""
    from instseg_rt.scenes import render_scene

    image = np.ascontiguousarray(render_scene(0, SCENE_SIZE, SCENE_SIZE).image[..., ::-1])
    file = folder / "scene.jpg"
    if not cv2.imwrite(str(file), image, [cv2.IMWRITE_JPEG_QUALITY, 95]):
        raise BenchmarkError(f"{file}: cannot be written")
    return file


def make_calls(images: list[Path], batch: int) -> list[list[Path]]:
    """One list of `batch` images per call of a pass; the images repeat to fill the last one."""
    calls = -(-len(images) // batch)
    return [[images[(call * batch + i) % len(images)] for i in range(batch)] for call in range(calls)]


def call_predictor(predictor: Predictor, images: list[Path]) -> tuple[list[Result], dict[str, float]]:
    """One call, and its milliseconds."""
    start = time.perf_counter()
    results = [predictor(images[0])] if len(images) == 1 else list(predictor.predict(images, batch_size=len(images)))
    total = (time.perf_counter() - start) * 1e3
    timings = results[0].timings
    return results, {
        "decode": sum(result.timings.decode_ms for result in results),
        "preprocess": timings.preprocess_ms,
        "inference": timings.inference_ms,
        "postprocess": timings.postprocess_ms,
        "total": total,
    }


def call_peer(peer: PythonPipeline, image: Path) -> tuple[PipelineResult, dict[str, float]]:
    """One call, and its milliseconds."""
    start = time.perf_counter()
    result = peer(image)
    total = (time.perf_counter() - start) * 1e3
    return result, {**result.milliseconds, "total": total}


def check_agreement(image: Path, ours: Result, theirs: PipelineResult) -> None:
    """Raises BenchmarkError unless both found the same instances.

    Each of ours is matched with one of its class, score and place; equal scores may come in another order.
    """
    agreed, free = 0, set(range(len(theirs.scores)))
    for index, mask in enumerate(ours.masks):
        for other in sorted(free, key=lambda i: abs(float(theirs.scores[i] - ours.scores[index]))):
            if (
                theirs.class_ids[other] == ours.class_ids[index]
                and abs(theirs.scores[other] - ours.scores[index]) <= _MAX_SCORE_DIFFERENCE
                and np.abs(theirs.boxes[other] - ours.boxes[index]).max() <= _MAX_BOX_DIFFERENCE
            ):
                union = np.count_nonzero(mask | theirs.masks[other])
                iou = np.count_nonzero(mask & theirs.masks[other]) / union if union else 1.0
                agreed += iou >= _MIN_MASK_IOU
                free.discard(other)
                break
    total = max(len(ours), len(theirs.scores))
    if agreed < _MIN_SHARE * total:
        raise BenchmarkError(
            f"{image}: the peer finds {len(theirs.scores)} instances and the bundle {len(ours)}; {agreed} agree, "
            "expected the same, so that both do the same work"
        )


def measure(
    calls: list[list[Path]], predictor: Predictor, peer: PythonPipeline | None, args: argparse.Namespace
) -> tuple[list[Samples], int]:
    """Samples of the bundle, and of the peer where there is one; the number of instances in a pass."""
    ours, theirs = Samples("instseg-rt"), Samples(args.peer or "")
    instances = 0
    for images in calls:
        results, _ = call_predictor(predictor, images)
        instances += sum(len(result) for result in results)
        if peer is not None:
            check_agreement(images[0], results[0], call_peer(peer, images[0])[0])
    for number in range(args.warm_up):
        images = calls[number % len(calls)]
        call_predictor(predictor, images)
        if peer is not None:
            call_peer(peer, images[0])
    for repeat in range(args.repeat):
        for images in calls:
            # Each goes first every other time: the first finds the caches filled by the other.
            if peer is not None and repeat % 2:
                theirs.add(call_peer(peer, images[0])[1])
            ours.add(call_predictor(predictor, images)[1])
            if peer is not None and not repeat % 2:
                theirs.add(call_peer(peer, images[0])[1])
    return ([ours] if peer is None else [ours, theirs]), instances


def show(title: str, statistics: dict[str, Statistics]) -> None:
    from instseg_rt.cli.console import stdout_console, table

    columns = ("ms", "n", "min", "mean", "median", "p90", "p95", "p99", "max", "CV %")
    rows = []
    for stage, s in statistics.items():
        values = (s.min, s.mean, s.median, s.p90, s.p95, s.p99, s.max)
        rows.append((stage, s.count, *(f"{value:.2f}" for value in values), f"{s.cv_percent:.1f}"))
    stdout_console().print(table(title, columns, rows, right=tuple(range(1, len(columns)))))


def benchmark(args: argparse.Namespace, images: list[Path]) -> dict[str, Any]:
    from instseg_rt import Predictor

    with Predictor(args.bundle, precision=args.precision, threads=args.threads, threshold=args.threshold) as predictor:
        if args.batch > predictor.info.batch.max:
            raise BenchmarkError(f"--batch: {args.batch}, but the bundle's largest batch is {predictor.info.batch.max}")
        predictor.warm_up(args.batch)
        peer = PythonPipeline(predictor.info, predictor.threshold, args.threads) if args.peer else None
        samples, instances = measure(make_calls(images, args.batch), predictor, peer, args)
        subject = f"{predictor.info.model}, {predictor.backend}, {predictor.precision}, batch {args.batch}"
    statistics = {s.name: s.statistics() for s in samples}
    for s in samples:
        show(f"{s.name}: {subject}, {instances} instances in {len(images)} image(s)", statistics[s.name])
    result: dict[str, Any] = {
        "subject": subject,
        "images": len(images),
        "instances": instances,
        "statistics": statistics,
        "samples_ms": {s.name: s.stages for s in samples},
    }
    if args.peer:
        ours, theirs = statistics["instseg-rt"], statistics[args.peer]
        ratios = {stage: theirs[stage].median / ours[stage].median for stage in STAGES}
        result["ratio_of_medians"] = ratios
        text = ", ".join(f"{stage} {ratio:.2f}" for stage, ratio in ratios.items())
        print(f"{args.peer} / instseg-rt, ratio of medians: {text}")
    return result


def main() -> None:
    args = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="instseg-latency-") as folder:
        images = [Path(image) for image in args.images] or [render_scene_file(Path(folder))]
        result = benchmark(args, images)
    print(environment())
    write_report(args.report, "latency", vars(args), result)


if __name__ == "__main__":
    sys.exit(run(main))
