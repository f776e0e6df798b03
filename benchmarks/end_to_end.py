"""All bundles of a folder, from the encoded image to the Result, in one table.

Each bundle is measured by `instseg benchmark` in a process of its own, so that memory is of that bundle and one that
fails leaves the others. Options after -- go to the command: end_to_end.py bundles -- --threads 4 --batch 1,8
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instseg_rt.embedded import MANIFEST_NAME
from report import REPORTS, BenchmarkError, environment, run, write_report

_STAGES = ("decode", "preprocess", "upload", "inference", "postprocess", "download", "total")
_COLUMNS = ("model", "precision", "batch", *(f"{stage}, ms" for stage in _STAGES), "p99, ms", "images/s", "peak MB")
_ABSENT = "–"


@dataclass(frozen=True)
class Measured:
    """report: the JSON of the command; None where it failed, for the reason in `error`. peak_mb: resident memory."""

    bundle: str
    report: dict[str, Any] | None
    error: str | None
    peak_mb: float | None


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        usage="%(prog)s [-h] [--report FILE] FOLDER [-- OPTION …]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="bundles are the folders in it with a manifest")
    parser.add_argument(
        "--report", type=Path, default=REPORTS / "end_to_end.json", metavar="FILE", help="JSON (default: %(default)s)"
    )
    own, options = split_arguments(sys.argv[1:])
    return parser.parse_args(own, argparse.Namespace(options=options))


def split_arguments(arguments: list[str]) -> tuple[list[str], list[str]]:
    """What stands before the first -- and behind it."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:at], arguments[at + 1 :]


def find_bundles(folder: Path, only: Sequence[str] = ()) -> list[Path]:
    """only: of these names, all where there are none. Raises BenchmarkError where no bundle is left."""
    bundles = sorted(manifest.parent for manifest in folder.glob(f"*/{MANIFEST_NAME}"))
    if not bundles:
        raise BenchmarkError(f"{folder}: no bundle in this folder, which is one with a {MANIFEST_NAME}")
    chosen = [bundle for bundle in bundles if not only or bundle.stem in only]
    if not chosen:
        raise BenchmarkError(f"{folder}: no bundle of {', '.join(only)}")
    return chosen


def measure(bundle: Path, options: list[str], folder: Path) -> Measured:
    file = folder / f"{bundle.name}.json"
    command = [sys.executable, "-m", "instseg_rt", "benchmark", str(bundle), "--json", str(file), *options]
    with (folder / "words.txt").open("w+", encoding="utf-8") as words:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=words)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode == 130:
            raise KeyboardInterrupt
        peak_mb = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
        if process.returncode == 0:
            return Measured(str(bundle), json.loads(file.read_text(encoding="utf-8")), None, peak_mb)
        words.seek(0)
        lines = [line.strip() for line in words if line.strip()]
        return Measured(str(bundle), None, lines[-1] if lines else f"exit code {process.returncode}", None)


def rows(measured: Measured) -> list[tuple[str, ...]]:
    """Cells of the table: one row for each run of a bundle."""
    if measured.report is None:
        return [(Path(measured.bundle).name, "failed", *[_ABSENT] * (len(_COLUMNS) - 2))]
    found = []
    for measurement in measured.report["runs"]:
        configuration, statistics = measurement["configuration"], measurement["samples"]["statistics"]
        medians = [f"{statistics[stage]['median']:.2f}" if stage in statistics else _ABSENT for stage in _STAGES]
        rate = measurement["images_per_second"]
        found.append(
            (
                configuration["model"],
                configuration["precision"],
                str(configuration["batch"]),
                *medians,
                f"{statistics['total']['p99']:.2f}",
                _ABSENT if rate is None else f"{rate:.1f}",
                f"{measured.peak_mb:.0f}",
            )
        )
    return found


def main() -> None:
    args = parse_arguments()
    bundles = find_bundles(args.folder)
    found: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="instseg-end-to-end-") as folder:
        for number, bundle in enumerate(bundles, start=1):
            print(f"{number} of {len(bundles)}: {bundle.name}", file=sys.stderr)
            found.append(measure(bundle, args.options, Path(folder)))
    from instseg_rt.cli.console import stdout_console, table

    cells = [row for measured in found for row in rows(measured)]
    stdout_console().print(table("Medians", _COLUMNS, cells, right=tuple(range(2, len(_COLUMNS)))))
    for measured in found:
        if measured.error is not None:
            print(f"{Path(measured.bundle).name}: {measured.error}")
    print(environment())
    write_report(args.report, "end_to_end", vars(args), found)
    if all(measured.report is None for measured in found):
        raise BenchmarkError("no bundle could be measured")


if __name__ == "__main__":
    sys.exit(run(main))
