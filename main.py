"""PaddleX's program: `python main.py -c CONFIG -o Global.mode=train -o KEY=VALUE …`; see docs/training.md."""

from __future__ import annotations

import sys

try:
    from instseg_rt.cli import run_main_program
except ModuleNotFoundError as error:
    sys.exit(f"main.py: error: {error.name} is not installed in {sys.executable}: run `make demo`, or pip install .")

if __name__ == "__main__":
    sys.exit(run_main_program())
