"""What the first result costs: imports, loading a bundle, the first call, and the memory that it takes.

Each figure is of new processes, as many as --repeat; the table has their medians. `import` is that of the package
alone, `predictor` the time until the model is loaded and compiled, `first call` and `second call` are on one image.
The peak is of the resident memory of the whole process; `files cached` says that the operating system has the files in
memory already: the first process of all is started and left out.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path

from instseg_rt.benchmark.images import image_files
from instseg_rt.embedded import default_bundle
from report import REPORTS, BenchmarkError, environment, run, write_report

# Runs in a process of its own: nothing is imported before its clock starts.
_PROGRAM = """
import sys, time
start = time.perf_counter()
import instseg_rt
imported = time.perf_counter()
from instseg_rt import Predictor
bundle, image, device, backend, precision, threads = sys.argv[1:]
loaded = time.perf_counter()
predictor = Predictor(
    bundle, device=device, backend=backend or None, precision=precision, threads=int(threads) if threads else None
)
ready = time.perf_counter()
predictor(image)
first = time.perf_counter()
predictor(image)
second = time.perf_counter()
import json, resource
unit = 1 if sys.platform == "darwin" else 1024
print(json.dumps({
    "import_ms": (imported - start) * 1e3,
    "modules_ms": (loaded - imported) * 1e3,
    "predictor_ms": (ready - loaded) * 1e3,
    "first_call_ms": (first - ready) * 1e3,
    "second_call_ms": (second - first) * 1e3,
    "first_result_ms": (first - start) * 1e3,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6,
}))
"""


@dataclass(frozen=True)
class ColdStart:
    """Of one process. modules_ms: what the first use of `Predictor` imports, OpenCV and NumPy among it.

    first_result_ms: from the start of the first import to the first result. peak_mb: resident memory, 10^6 bytes.
    """

    import_ms: float
    modules_ms: float
    predictor_ms: float
    first_call_ms: float
    second_call_ms: float
    first_result_ms: float
    peak_mb: float


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", metavar="BUNDLE", nargs="*", help="bundle folders (default: the embedded bundle)")
    parser.add_argument("--image", metavar="FILE", help="image file (default: a rendered scene)")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="processes of each (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="default: %(default)s")
    parser.add_argument("--backend", default="", help="default: the plug-in for the device")
    parser.add_argument("--precision", default="fp32", help="default: %(default)s")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument(
        "--report", type=Path, default=REPORTS / "cold_start.json", metavar="FILE", help="JSON (default: %(default)s)"
    )
    args = parser.parse_args()
    if args.repeat < 1:
        parser.error(f"--repeat: expected at least 1, found {args.repeat}")
    return args


def start_once(bundle: str, image: Path, args: argparse.Namespace) -> ColdStart:
    """Raises BenchmarkError with the process's last words where it fails."""
    options = (args.device, args.backend, args.precision, "" if args.threads is None else str(args.threads))
    command = [sys.executable, "-c", _PROGRAM, bundle, str(image), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = [line for line in done.stderr.splitlines() if line.strip()]
        raise BenchmarkError(f"{bundle}: {words[-1] if words else f'exit code {done.returncode}'}")
    return ColdStart(**json.loads(done.stdout.splitlines()[-1]))


def measure(bundle: str, image: Path, args: argparse.Namespace) -> list[ColdStart]:
    start_once(bundle, image, args)
    return [start_once(bundle, image, args) for _ in range(args.repeat)]


def main() -> None:
    args = parse_arguments()
    bundles = args.bundles or [str(default_bundle())]
    with tempfile.TemporaryDirectory(prefix="instseg-cold-start-") as folder:
        (image,) = image_files([args.image] if args.image else [], Path(folder))
        found = {bundle: measure(bundle, image, args) for bundle in bundles}
    from instseg_rt.cli.console import stdout_console, table

    names = [field.name for field in fields(ColdStart)]
    rows = [
        (Path(bundle).name, *(f"{statistics.median(getattr(start, name) for start in starts):.1f}" for name in names))
        for bundle, starts in found.items()
    ]
    columns = ("median", *(name.replace("_ms", ", ms").replace("_mb", ", MB").replace("_", " ") for name in names))
    title = f"Cold start, {args.repeat} processes each, files cached"
    stdout_console().print(table(title, columns, rows, right=tuple(range(1, len(columns)))))
    print(environment())
    write_report(args.report, "cold_start", vars(args), found)


if __name__ == "__main__":
    sys.exit(run(main))
