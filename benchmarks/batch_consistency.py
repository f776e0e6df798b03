"""Does every image get what it gets alone: in a batch, and in calls that run at the same time?

Each of --repeat predictors is made in a new process, --at-a-time of them beside each other, as failures of this kind
are rare (docs/decisions/0011; that one needs more to happen than a new process). A process takes the image alone,
twice in batches through the same predictor, and through two contexts at the same time, and counts results that are not
the same to the last bit. Exit code 1 where any is different. Only for bundles of one stage: the heads of R-CNN take the
RoIs of all images together, and may sum in another order.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from instseg_rt import load_bundle
from instseg_rt.benchmark.images import image_files
from instseg_rt.benchmark.report import Table
from report import REPORTS, BenchmarkError, run, show_table, write_report

# Runs in a process of its own.
_PROGRAM = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from instseg_rt import Predictor
bundle, image, precision, batch = sys.argv[1:]
def same(a, b):
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("class_ids", "scores", "boxes", "masks"))
with Predictor(bundle, precision=precision, threshold=0.0) as predictor:
    alone = predictor(image)
    together = [
        found for _ in range(2) for found in predictor.predict([image] * int(batch), batch_size=int(batch))
    ]
with Predictor(bundle, precision=precision, threshold=0.0, contexts=2) as predictor, ThreadPoolExecutor(2) as threads:
    beside = list(threads.map(predictor, [image] * 4))
print(json.dumps({
    "instances": len(alone),
    "in_batches": len(together),
    "in_batches_different": sum(not same(alone, found) for found in together),
    "beside": len(beside),
    "beside_different": sum(not same(alone, found) for found in beside),
}))
"""


@dataclass(frozen=True)
class Comparison:
    """Of one process. instances: of the image alone; the others count images."""

    instances: int
    in_batches: int
    in_batches_different: int
    beside: int
    beside_different: int

    @property
    def different(self) -> bool:
        return self.in_batches_different + self.beside_different > 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", metavar="BUNDLE", nargs="+", help="bundle folders")
    parser.add_argument("--image", metavar="FILE", help="image file (default: a rendered scene)")
    parser.add_argument("--batch", type=int, default=2, metavar="N", help="images of a batch (default: %(default)s)")
    parser.add_argument("--precision", default="fp32", help="default: %(default)s")
    parser.add_argument("--repeat", type=int, default=20, metavar="N", help="processes of each (default: %(default)s)")
    parser.add_argument(
        "--at-a-time", type=int, default=3, metavar="N", help="processes beside each other (default: %(default)s)"
    )
    parser.add_argument(
        "--report",
        type=Path,
        default=REPORTS / "batch_consistency.json",
        metavar="FILE",
        help="JSON (default: %(default)s)",
    )
    args = parser.parse_args()
    for name, least in (("batch", 2), ("repeat", 1), ("at_a_time", 1)):
        if getattr(args, name) < least:
            parser.error(f"--{name.replace('_', '-')}: expected at least {least}, found {getattr(args, name)}")
    return args


def compare_once(bundle: str, image: Path, precision: str, batch: int) -> Comparison:
    """Raises BenchmarkError with the process's last words where it fails."""
    command = [sys.executable, "-c", _PROGRAM, bundle, str(image), precision, str(batch)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = [line for line in done.stderr.splitlines() if line.strip()]
        raise BenchmarkError(f"{bundle}: {words[-1] if words else f'exit code {done.returncode}'}")
    return Comparison(**json.loads(done.stdout.splitlines()[-1]))


def compare(bundle: str, image: Path, args: argparse.Namespace) -> list[Comparison]:
    stages = len(load_bundle(bundle).stages)
    if stages > 1:
        raise BenchmarkError(
            f"{bundle}: it has {stages} stages, and only networks of one stage are compared to the last bit; "
            "leave it out"
        )
    found: list[Comparison] = []
    with ThreadPoolExecutor(args.at_a_time) as threads:
        started = [threads.submit(compare_once, bundle, image, args.precision, args.batch) for _ in range(args.repeat)]
        try:
            for one in started:
                found.append(one.result())
                print(f"{Path(bundle).name}: {len(found)} of {args.repeat}", file=sys.stderr)
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
    if not any(one.instances for one in found):
        raise BenchmarkError(f"{bundle}: nothing is found in {image}, so nothing is compared; use another --image")
    return found


def main() -> None:
    args = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="instseg-batch-consistency-") as folder:
        (image,) = image_files([args.image] if args.image else [], Path(folder))
        found = {bundle: compare(bundle, image, args) for bundle in args.bundles}
    rows: list[tuple[str, ...]] = [
        (
            Path(bundle).name,
            str(len(ones)),
            f"{sum(one.in_batches_different for one in ones)} of {sum(one.in_batches for one in ones)}",
            f"{sum(one.beside_different for one in ones)} of {sum(one.beside for one in ones)}",
        )
        for bundle, ones in found.items()
    ]
    title = f"Images that do not get what they get alone, {args.precision}"
    columns = ("bundle", "processes", f"in batches of {args.batch}", "in two contexts")
    show_table(Table(title, columns, rows, names=1), None)
    write_report(args.report, "batch_consistency", vars(args), found)
    different = sum(one.different for ones in found.values() for one in ones)
    if different:
        raise BenchmarkError(f"different results in {different} processes")


if __name__ == "__main__":
    sys.exit(run(main))
