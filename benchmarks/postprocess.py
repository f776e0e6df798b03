"""The native code behind the networks: time and memory for many objects in a large image, for every family.

The networks are replaced by a backend that gives the same outputs in every call: soft ellipses of many sizes. Each
family runs in a process of its own, so that the peak of the memory is its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from instseg_rt.benchmark.statistics import compute_statistics
from report import REPORTS, environment, run, write_report
from synthetic_models import mask_rcnn, mask_rtdetr, ppyoloe_seg, solov2
from synthetic_outputs import Objects, SyntheticBackend, SyntheticModel

MODELS: dict[str, Callable[[Objects, int, int], SyntheticModel]] = {
    "PP-YOLOE_seg": lambda objects, height, width: ppyoloe_seg(objects),
    "Mask-RT-DETR-L": lambda objects, height, width: mask_rtdetr(objects, 32),
    "Mask-RT-DETR-S, M, X, H": lambda objects, height, width: mask_rtdetr(objects, 128),
    "SOLOv2": solov2,
    "MaskRCNN FPN": mask_rcnn,
}


@dataclass(frozen=True)
class Row:
    """Milliseconds of the native code per call, and the same where no object passes the threshold; MB of memory at the
    peak of the calls over that before the first one.
    """

    model: str
    instances: int
    median_ms: float
    p95_ms: float
    without_instances_ms: float
    peak_mb: float


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=1080, help="of the image (default: %(default)s)")
    parser.add_argument("--width", type=int, default=1920, help="of the image (default: %(default)s)")
    parser.add_argument("--instances", type=int, default=100, help="objects in the image (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=30, help="measured calls (default: %(default)s)")
    parser.add_argument(
        "--report", type=Path, default=REPORTS / "postprocess.json", help="report (default: %(default)s)"
    )
    parser.add_argument("--only", choices=MODELS, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(name: str, arguments: argparse.Namespace) -> Row:
    from instseg_rt import Predictor, register_backend

    objects = Objects.on_grid(arguments.instances, arguments.width / arguments.height)
    model = MODELS[name](objects, arguments.height, arguments.width)
    register_backend("synthetic", SyntheticBackend(model))
    image = np.full((arguments.height, arguments.width, 3), 128, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        predictor = Predictor(model.write(Path(folder) / "bundle"), backend="synthetic", threads=arguments.threads)
    before = reset_peak()
    found = 0
    times, empty = [], []
    for _ in range(arguments.repeat + 3):
        result = predictor(image)
        found = len(result)
        times.append(result.timings.postprocess_ms)
        empty.append(predictor(image, threshold=1.0).timings.postprocess_ms)
    statistics = compute_statistics(times[3:])
    return Row(name, found, statistics.median, statistics.p95, compute_statistics(empty[3:]).median, peak() - before)


def reset_peak() -> float:
    """Resident MB now, from where the peak counts."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> float:
    """Largest resident MB since the reset."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    arguments = parse_arguments()
    if arguments.only:
        print(json.dumps(asdict(measure(arguments.only, arguments))))
        return
    rows = []
    for name in MODELS:
        command = [sys.executable, __file__, *sys.argv[1:], "--only", name]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        rows.append(Row(**json.loads(output)))
    settings = {key: value for key, value in vars(arguments).items() if key not in ("report", "only")}
    print(
        f"{settings['instances']} objects in {settings['width']} x {settings['height']}, {settings['threads']} threads"
    )
    print(f"{'model':26} {'found':>6} {'median ms':>10} {'p95 ms':>8} {'none found':>11} {'peak MB':>8}")
    for row in rows:
        print(
            f"{row.model:26} {row.instances:6} {row.median_ms:10.1f} {row.p95_ms:8.1f} "
            f"{row.without_instances_ms:11.1f} {row.peak_mb:8.1f}"
        )
    print(environment())
    write_report(arguments.report, "postprocess", settings, rows)


if __name__ == "__main__":
    sys.exit(run(main))
