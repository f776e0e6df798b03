"""The native code around the networks: time and memory for many objects in a large image, for every family.

The networks are replaced by a backend that gives the same outputs in every call: soft ellipses of many sizes. Each row
is of a process of its own, so that the peak of the memory is its own. With several sizes or numbers of objects there is
a row for every combination.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
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
    """Milliseconds per call: of the preprocessing; of the native code behind the networks, and the same where no object
    passes the threshold. MB of memory at the peak of the calls over that before the first one.
    """

    model: str
    height: int
    width: int
    instances: int
    preprocess_ms: float
    median_ms: float
    p95_ms: float
    without_instances_ms: float
    peak_mb: float


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--size",
        type=sizes,
        default="1920x1080",
        metavar="LIST",
        help="of the images, width x height, such as 640x480,1920x1080 (default: %(default)s)",
    )
    parser.add_argument(
        "--instances", type=counts, default="100", metavar="LIST", help="objects in an image (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=30, help="measured calls (default: %(default)s)")
    parser.add_argument(
        "--report", type=Path, default=REPORTS / "postprocess.json", help="report (default: %(default)s)"
    )
    parser.add_argument("--only", choices=MODELS, help=argparse.SUPPRESS)
    return parser.parse_args()


def sizes(text: str) -> list[tuple[int, int]]:
    """`640x480,1920x1080` as (width, height) of each."""
    found = [re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", part) for part in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"expected width x height, such as 640x480,1920x1080; found {text!r}")
    return [(int(size[1]), int(size[2])) for size in found if size]


def counts(text: str) -> list[int]:
    """`1,10,100` as numbers."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"expected numbers of at least 1, such as 1,10,100; found {text!r}")
    return [int(part) for part in parts]


def measure(name: str, arguments: argparse.Namespace) -> Row:
    from instseg_rt import Predictor, register_backend

    ((width, height),), (count,) = arguments.size, arguments.instances
    model = MODELS[name](Objects.on_grid(count, width / height), height, width)
    register_backend("synthetic", SyntheticBackend(model))
    image = np.full((height, width, 3), 128, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        predictor = Predictor(model.write(Path(folder) / "bundle"), backend="synthetic", threads=arguments.threads)
    before = reset_peak()
    found = 0
    before_ms, times, empty = [], [], []
    for _ in range(arguments.repeat + 3):
        result = predictor(image)
        found = len(result)
        before_ms.append(result.timings.preprocess_ms)
        times.append(result.timings.postprocess_ms)
        empty.append(predictor(image, threshold=1.0).timings.postprocess_ms)
    after = compute_statistics(times[3:])
    return Row(
        model=name,
        height=height,
        width=width,
        instances=found,
        preprocess_ms=compute_statistics(before_ms[3:]).median,
        median_ms=after.median,
        p95_ms=after.p95,
        without_instances_ms=compute_statistics(empty[3:]).median,
        peak_mb=peak() - before,
    )


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
    for (width, height), count, name in itertools.product(arguments.size, arguments.instances, MODELS):
        options = ["--size", f"{width}x{height}", "--instances", str(count), "--threads", str(arguments.threads)]
        command = [sys.executable, __file__, *options, "--repeat", str(arguments.repeat), "--only", name]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        rows.append(Row(**json.loads(output)))
    settings = {key: value for key, value in vars(arguments).items() if key not in ("report", "only")}
    print(
        f"{'model':26} {'image':>11} {'found':>5} {'preprocess ms':>13} {'median ms':>10} {'p95 ms':>8} "
        f"{'none found':>11} {'peak MB':>8}"
    )
    for row in rows:
        print(
            f"{row.model:26} {f'{row.width} x {row.height}':>11} {row.instances:5} {row.preprocess_ms:13.1f} "
            f"{row.median_ms:10.1f} {row.p95_ms:8.1f} {row.without_instances_ms:11.1f} {row.peak_mb:8.1f}"
        )
    print(environment())
    write_report(arguments.report, "postprocess", settings, rows)


if __name__ == "__main__":
    sys.exit(run(main))
