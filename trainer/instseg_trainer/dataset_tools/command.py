"""The mode `check_dataset`: convert, split, check, pictures, histogram, result; in this order, as PaddleX does."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from instseg_trainer.config import Config
from instseg_trainer.dataset_tools import report
from instseg_trainer.dataset_tools.check import CheckedDataset, check
from instseg_trainer.dataset_tools.histogram import write_histogram
from instseg_trainer.dataset_tools.labelme import convert
from instseg_trainer.dataset_tools.problems import Findings
from instseg_trainer.dataset_tools.replace import recover
from instseg_trainer.dataset_tools.sample_pictures import write_sample_pictures
from instseg_trainer.dataset_tools.split import split
from instseg_trainer.errors import ConfigError

# Notes of one run that are printed; there can be one for every shape.
_MAXIMUM_NOTES = 50


def check_dataset(config: Config) -> int:
    """Converts and splits `Global.dataset_dir` where the configuration says so, and checks it; returns the exit code.

    `Global.output` gets check_dataset_result.json, and where the data set is sound `check_dataset/` with pictures and
    a histogram. Problems are printed, all of them, a line each: then 1 is returned, else 0. Raises `ConfigError` for a
    folder that is not there, `IoError` or OSError where something cannot be written.
    """
    if config.Global.dataset_dir is None:
        raise ConfigError("Global.dataset_dir: expected the data set's folder (-o Global.dataset_dir=DIR)")
    folder, output = Path(config.Global.dataset_dir), Path(config.Global.output)
    if not folder.is_dir():
        raise ConfigError(f"Global.dataset_dir: no such folder: {folder}")
    findings = Findings()
    dataset = _convert_split_check(folder, config, findings)
    for note in findings.notes[:_MAXIMUM_NOTES]:
        print(f"note: {note}".encode(errors="backslashreplace").decode())
    if len(findings.notes) > _MAXIMUM_NOTES:
        print(f"note: … and {len(findings.notes) - _MAXIMUM_NOTES} more")
    if dataset is None:
        path = report.write_result(output, report.failed_result(config.Global.dataset_dir, findings.problems))
        for problem in findings.problems:
            print(problem, file=sys.stderr)
        count = len(findings.problems)
        print(f"Check dataset failed: {count} problem{'s' if count != 1 else ''} ({path})", file=sys.stderr)
        return 1
    pictures = {part.part: write_sample_pictures(folder, part, output) for part in dataset.parts}
    result = report.passed_result(
        config.Global.dataset_dir,
        len(dataset.train.categories),
        {part.part: len(part.images) for part in dataset.parts},
        pictures,
        write_histogram(dataset.train, dataset.val, output),
    )
    report.write_result(output, result)
    for part in dataset.parts:
        print(f"{part.part}: {len(part.images)} images, {len(part.annotations)} instances")
    print("Check dataset passed !")
    return 0


def _convert_split_check(folder: Path, config: Config, findings: Findings) -> CheckedDataset | None:
    settings = config.CheckDataset
    if recover(folder):
        print("An interrupted conversion or split was finished")
    if settings.convert.enable:
        done = convert(folder, settings.convert.src_dataset_type, config.Recipe.seed, findings)
        if done is None:
            return None
        print(done)
    if settings.split.enable:
        percents = settings.split.train_percent, settings.split.val_percent
        done = split(folder, *percents, config.Recipe.seed, findings)
        if done is None:
            return None
        print(done)
    console = Console(stderr=True)
    with Progress(transient=True, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("images", total=None)
        return check(
            folder,
            findings,
            lambda total: progress.update(bar, total=total),
            lambda: progress.advance(bar),
        )
