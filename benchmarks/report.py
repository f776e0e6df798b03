"""What every benchmark has in common: the JSON that it leaves, errors of one line."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from instseg_rt.benchmark.environment import environment
from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.benchmark.report import Table, markdown_table
from instseg_rt.files import write_atomically

__all__ = ["REPORTS", "BenchmarkError", "environment", "run", "show_table", "write_report"]

REPORTS = Path("output/benchmarks")

# Modules whose exceptions say in one line what was wrong with the input; they may not be installed.
_USER_ERRORS = (
    "instseg_rt.errors:Error",
    "instseg_rt.scenes.dataset:SceneDatasetError",
    "instseg_trainer.errors:TrainerError",
    "instseg_trainer.data.errors:DataError",
    "instseg_export.errors:ExportError",
)


def write_report(path: Path, benchmark: str, settings: dict[str, Any], results: Any) -> None:
    """Write {"benchmark", "environment", "settings", "results"} as JSON; dataclasses and paths become plain data."""
    content = {
        "benchmark": benchmark,
        "environment": environment(),
        "settings": settings,
        "results": results,
    }
    write_atomically(path, (json.dumps(content, indent=2, default=_plain) + "\n").encode())
    print(f"report: {path}")


def show_table(shown: Table, markdown: Path | None) -> None:
    """Print it; where `markdown` is a file, write it there as Markdown too, without the title."""
    from instseg_rt.cli.console import stdout_console, table

    right = tuple(range(shown.names, len(shown.columns)))
    stdout_console().print(table(shown.title, shown.columns, shown.rows, right=right))
    if markdown is not None:
        write_atomically(markdown, "".join(f"{line}\n" for line in markdown_table(shown)).encode())


def run(main: Callable[[], None]) -> int:
    """Call `main`; the exit code: 0 done, 1 with one line on stderr, 130 interrupted."""
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is not installed: see benchmarks/README.md", file=sys.stderr)
        return 1
    except Exception as error:
        if not _is_user_error(error):
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _is_user_error(error: Exception) -> bool:
    if isinstance(error, OSError):
        return True
    for kind in _USER_ERRORS:
        module_name, class_name = kind.split(":")
        # An error of a module that was never loaded cannot have been raised.
        module = sys.modules.get(module_name)
        if module is not None and isinstance(error, getattr(module, class_name)):
            return True
    return False


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in a report")
