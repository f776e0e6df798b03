"""Puts together what gpu_check.sh found: one JSON report and one table, with the GPU and the date."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report import BenchmarkError, environment, run, write_report

# Marker of compute-sanitizer's last line, and of GoogleTest's.
_GOOD_ENDS = ("ERROR SUMMARY: 0 errors", "RACECHECK SUMMARY: 0 hazards", "[  PASSED  ]")


@dataclass(frozen=True)
class Step:
    """One step of the check. passed: its exit status was 0, and its log says so too where it has a summary."""

    name: str
    passed: bool
    seconds: float
    summary: str


def read_steps(folder: Path) -> list[Step]:
    """From steps.txt: name, exit status and seconds of each step, in its order; NAME.log is what it printed."""
    file = folder / "steps.txt"
    if not file.is_file():
        raise BenchmarkError(f"{file} is not there: run benchmarks/gpu_check.sh")
    steps = []
    for line in file.read_text(encoding="utf-8").splitlines():
        name, status, seconds = line.split("\t")
        log = folder / f"{name}.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
        summary = next((text.strip(" =") for text in reversed(lines) if "SUMMARY" in text or "PASSED" in text), "")
        wants_summary = name.startswith(("tests", "sanitizer"))
        skipped = any("[  SKIPPED ]" in text for text in lines)
        good = not wants_summary or (any(end in text for text in lines for end in _GOOD_ENDS) and not skipped)
        steps.append(Step(name, status == "0" and good, float(seconds), summary))
    return steps


def read_times(folder: Path) -> dict[str, Any]:
    """What instseg_cuda_bench printed; empty where it did not get that far."""
    try:
        return dict(json.loads((folder / "bench.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def table(steps: list[Step], times: dict[str, Any]) -> str:
    name = times.get("gpu", "unknown GPU")
    lines = [f"{name}, {environment().date}", "", "| step | result | seconds |", "| --- | --- | --: |"]
    lines += [f"| {s.name} | {'passed' if s.passed else 'FAILED'} {s.summary} | {s.seconds:.0f} |" for s in steps]
    lines += ["", "| op | batch | median ms | min ms | workspace MB |", "| --- | --: | --: | --: | --: |"]
    for op in times.get("ops", []):
        megabytes = op["workspace_bytes"] / 1e6
        lines.append(f"| {op['op']} | {op['batch']} | {op['median_ms']:.3f} | {op['min_ms']:.3f} | {megabytes:.1f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where gpu_check.sh left its logs")
    folder = parser.parse_args().folder
    steps = read_steps(folder)
    times = read_times(folder)
    text = table(steps, times)
    print(text)
    (folder / "gpu_check.md").write_text(text, encoding="utf-8")
    write_report(folder / "gpu_check.json", "gpu_check", {}, {"steps": steps, **times})
    failed = [step.name for step in steps if not step.passed]
    if failed or not times:
        raise BenchmarkError(f"failed: {', '.join(failed) or 'the benchmark left no times'}")


if __name__ == "__main__":
    sys.exit(run(main))
