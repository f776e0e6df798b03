"""The native ops one by one: time, and how far from what the machine can do with memory and arithmetic.

Runs the program instseg_op_benchmarks (see benchmarks/README.md for how it is built), whose first two benchmarks
measure the machine itself: copying memory that no cache holds, and multiplications with additions in registers.
"""

from __future__ import annotations

import argparse
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report import REPORTS, BenchmarkError, run, write_report

PROGRAM = Path("build/benchmarks/bin/instseg_op_benchmarks")
MEMORY, ARITHMETIC = "memory_copy", "multiply_add"


@dataclass(frozen=True)
class OpRow:
    """Per call. bytes, operations: as the benchmark declares them, 0 where it declares none. of_memory, of_arithmetic:
    the time that the machine's own rates would need for them, in parts of the time taken.
    """

    op: str
    median_ms: float
    variation: float
    bytes: float
    operations: float
    of_memory: float
    of_arithmetic: float


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", type=Path, default=PROGRAM, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=7, help="of each benchmark (default: %(default)s)")
    parser.add_argument("--plain", action="store_true", help="without AVX2, as on a processor that does not have it")
    parser.add_argument("--filter", default="", help="regular expression of the ops' names (default: all)")
    parser.add_argument("--report", type=Path, default=REPORTS / "ops.json", help="report (default: %(default)s)")
    return parser.parse_args()


def run_program(arguments: argparse.Namespace) -> dict[str, Any]:
    """Google Benchmark's JSON."""
    if not arguments.program.is_file():
        raise BenchmarkError(f"{arguments.program} does not exist: benchmarks/README.md says how it is built")
    pattern = f"^({MEMORY}|{ARITHMETIC}|.*({arguments.filter}).*)/"
    command = [
        str(arguments.program),
        f"--threads={arguments.threads}",
        f"--benchmark_filter={pattern}",
        f"--benchmark_repetitions={arguments.repetitions}",
        "--benchmark_report_aggregates_only=true",
        "--benchmark_format=json",
        *(["--plain"] if arguments.plain else []),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"{arguments.program} ended with exit code {done.returncode}")
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def compute_rows(content: dict[str, Any]) -> list[OpRow]:
    """From Google Benchmark's aggregates; raises BenchmarkError where the machine's own rates are missing."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for entry in content["benchmarks"]:
        if entry.get("error_occurred"):
            raise BenchmarkError(f"{entry['name']}: {entry['error_message']}")
        name = entry["run_name"].removesuffix("/real_time")
        found.setdefault(name, {})[entry["aggregate_name"]] = entry
    for name in (MEMORY, ARITHMETIC):
        if name not in found:
            raise BenchmarkError(f"the program did not measure {name}")
    # Reported in milliseconds.
    byte_rate = found[MEMORY]["median"]["bytes"] / found[MEMORY]["median"]["real_time"]
    operation_rate = found[ARITHMETIC]["median"]["operations"] / found[ARITHMETIC]["median"]["real_time"]
    rows = []
    for name, aggregates in found.items():
        median = aggregates["median"]
        milliseconds = median["real_time"]
        rows.append(
            OpRow(
                name,
                milliseconds,
                aggregates["cv"]["real_time"],
                median["bytes"],
                median["operations"],
                median["bytes"] / byte_rate / milliseconds,
                median["operations"] / operation_rate / milliseconds,
            )
        )
    return sorted(rows, key=lambda row: (row.op not in (MEMORY, ARITHMETIC), row.op))


def print_rows(rows: list[OpRow]) -> None:
    print(f"{'op':34} {'median ms':>9} {'spread':>6} {'MB':>8} {'Mop':>8} {'of memory':>9} {'of arithm.':>10}")
    for row in rows:
        print(
            f"{row.op:34} {row.median_ms:9.3f} {row.variation:6.1%} {row.bytes / 1e6:8.2f} {row.operations / 1e6:8.1f}"
            f" {row.of_memory:9.1%} {row.of_arithmetic:10.1%}"
        )


def main() -> None:
    arguments = parse_arguments()
    rows = compute_rows(run_program(arguments))
    print_rows(rows)
    settings = {key: getattr(arguments, key) for key in ("threads", "plain", "repetitions", "filter")}
    write_report(arguments.report, "ops", settings, rows)


if __name__ == "__main__":
    raise SystemExit(run(main))
