"""Evaluation of whatever `Evaluate.weight_path` names, with the same code: weights, a bundle, or detections."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from instseg_rt.embedded import MANIFEST_NAME

from ..config import Config
from ..data import CocoDataset
from ..evaluation import CocoEvaluator, CocoMetrics
from .saved_models import BEST


def evaluate_subject(config: Config, subject: str, dataset: CocoDataset) -> tuple[CocoMetrics, CocoEvaluator]:
    """subject: a bundle's folder, a `.json` file of COCO results, a `.pdparams` file, a training's output folder, or
    the official weights.

    dataset: read with allow_empty=True. A progress bar, or where stderr is no terminal a line every
    `Evaluate.log_interval` images (0: none), goes to stderr.
    """
    path = find_weights_in(Path(subject))
    if path.suffix == ".json":
        evaluator = CocoEvaluator.from_detections_file(dataset.annotation_file, path)
        return evaluator.evaluate(), evaluator
    interval, total = config.Evaluate.log_interval, len(dataset)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("evaluate", total=total)
        shown = 0

        def advance(done: int) -> None:
            nonlocal shown
            progress.update(bar, completed=done)
            if not console.is_terminal and interval > 0 and done // interval > shown // interval:
                console.print(f"evaluated {done} of {total} images")
            shown = done

        if path.is_dir():
            from .evaluate_bundle import evaluate_bundle

            return evaluate_bundle(path, dataset, on_progress=advance)
        return _evaluate_weights(config, subject if path == Path(subject) else str(path), dataset, progress, advance)


def find_weights_in(path: Path) -> Path:
    """The best weights in a training's output folder or its `best_model`; any other path as it is."""
    if (path / MANIFEST_NAME).is_file():
        return path
    places = (path / BEST / f"{BEST}.pdparams", path / f"{BEST}.pdparams")
    return next((place for place in places if place.is_file()), path)


def _evaluate_weights(
    config: Config, subject: str, dataset: CocoDataset, progress: Progress, advance: Callable[[int], None]
) -> tuple[CocoMetrics, CocoEvaluator]:
    from instseg_rt.official_weights import find_weights

    from ..models import build_model
    from ..runtime import set_device
    from ..weights import load_weights, read_pdparams
    from .evaluate import evaluate_model

    set_device(config.Global.device)
    model = build_model(config.Global.model, len(dataset.categories))
    weights = find_weights(subject, config.Global.model, progress.console.print)
    load_weights(model, read_pdparams(weights), source=subject)
    return evaluate_model(
        model,
        dataset,
        config.Recipe.image_size,
        batch_size=config.Recipe.evaluation_batch_size,
        on_progress=advance,
    )
