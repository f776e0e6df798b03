"""The arguments of the scripts that compare the AP of bundles in two precisions."""

from __future__ import annotations

import argparse
from pathlib import Path

from report import REPORTS


def accuracy_parser(description: str | None, report: str) -> argparse.ArgumentParser:
    """BUNDLE …, --dataset and --report. report: name of the JSON in the folder of reports."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="+", type=Path, metavar="BUNDLE")
    parser.add_argument(
        "--dataset",
        type=Path,
        required=True,
        metavar="DIR",
        help="COCO data set with the bundles' categories; val part",
    )
    parser.add_argument("--report", type=Path, default=REPORTS / report, metavar="FILE", help="JSON")
    return parser
