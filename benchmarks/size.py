"""Bytes on disk of what is installed: the embedded bundles, the Python packages, the native libraries."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

from report import REPORTS, BenchmarkError, run, write_report

PACKAGES = ("instseg_rt", "instseg_export", "instseg_trainer")


@dataclass(frozen=True)
class Size:
    name: str
    path: Path
    bytes: int


def folder_bytes(folder: Path) -> int:
    """Bytes of all files below, without Python's caches."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def installed_sizes() -> list[Size]:
    """Of this Python environment; the packages contain what the rows after them show."""
    sizes = []
    for package in PACKAGES:
        found = importlib.util.find_spec(package)
        if found is None or found.origin is None:
            raise BenchmarkError(f"{package} is not installed in {sys.prefix}: run `make setup`")
        folder = Path(found.origin).parent
        sizes.append(Size(f"package {package}", folder, folder_bytes(folder)))
    runtime = sizes[0].path
    for manifest in sorted(runtime.glob("bundles/*/manifest.yaml")):
        bundle = manifest.parent
        sizes.append(Size(f"embedded bundle {bundle.name}", bundle, folder_bytes(bundle)))
    for library in sorted([*runtime.glob("*.so"), *runtime.glob("lib/**/*.so*")]):
        sizes.append(Size(library.name, library, library.stat().st_size))
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--report", type=Path, default=REPORTS / "size.json", metavar="FILE", help="JSON (default: %(default)s)"
    )
    args = parser.parse_args()
    sizes = installed_sizes()
    from instseg_rt.cli.console import stdout_console, table

    rows = [(size.name, f"{size.bytes:,}", f"{size.bytes / 1e6:.2f}") for size in sizes]
    stdout_console().print(table("Sizes", ("what", "bytes", "MB"), rows, right=(1, 2)))
    write_report(args.report, "size", vars(args), sizes)


if __name__ == "__main__":
    sys.exit(run(main))
