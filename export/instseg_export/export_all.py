"""Many models in one go: `instseg-export --all`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from instseg_rt.errors import Error
from instseg_rt.files import file_sha256
from instseg_rt.models import find_model, model_rows
from instseg_rt.official_weights import OFFICIAL, find_weights
from instseg_trainer.errors import TrainerError

from .bundle_files import MANIFEST, bundle_size
from .errors import ExportError
from .exporter import ExportOptions, export_bundle
from .manifest import tool_versions
from .trained import find_trained


@dataclass(frozen=True)
class ModelReport:
    """How the export of one model went.

    outcome: `exported`, `up to date` (the bundle was there already, of the same weights, options and tools), or what
    was wrong. max_relative_error: over all outputs.
    """

    model: str
    outcome: str
    failed: bool = False
    bytes: int = 0
    seconds: float = 0.0
    max_relative_error: float | None = None


def weights_of_all(weights: Path | str) -> dict[str, Path | str]:
    """A model's name -> its weights, in the order of the catalogue.

    weights: `official`, for all models that have official weights, or a folder with `<Model>.pdparams` or
    `<Model>_pretrained.pdparams` (files) or `<Model>` (output folders of trainings). Raises `ExportError` where it
    holds none.
    """
    rows = model_rows()
    if str(weights) == OFFICIAL:
        return {row.model: OFFICIAL for row in rows if row.weights is not None}
    folder = Path(weights)
    if not folder.is_dir():
        raise ExportError(f"--weights {folder}: with --all, expected `{OFFICIAL}` or a folder")
    found: dict[str, Path | str] = {}
    for row in rows:
        names = (f"{row.model}.pdparams", f"{row.model}_pretrained.pdparams", row.model)
        place = next((folder / name for name in names if (folder / name).exists()), None)
        if place is not None:
            found[row.model] = place
    if not found:
        raise ExportError(f"{folder}: no weights: expected files named like {rows[0].model}.pdparams")
    return found


def export_all(
    options: ExportOptions, weights: dict[str, Path | str], say: Callable[[str], None]
) -> Iterator[ModelReport]:
    """Exports each model into `options.output`/<Model>.bundle; one that fails does not keep the next from its turn.

    `options.model` and `options.weights` are not looked at. Bundles that are up to date are left as they are, so an
    interrupted run goes on where it was.
    """
    options.output.mkdir(parents=True, exist_ok=True)
    for number, (model, place) in enumerate(weights.items(), 1):

        def say_model(line: str, prefix: str = f"[{number}/{len(weights)}] {model}: ") -> None:
            say(prefix + line)

        yield _export_one(
            replace(options, model=model, weights=place, output=options.output / f"{model}.bundle"), say_model
        )


def _export_one(options: ExportOptions, say: Callable[[str], None]) -> ModelReport:
    start = time.monotonic()
    try:
        file = find_trained(find_weights(options.weights, options.model, say)).file
        done = _finished(options, file)
        if done is not None:
            say("up to date")
            return done
        report = export_bundle(replace(options, weights=_resolved(options.weights, file)), say)
    except (ExportError, Error, TrainerError, OSError, ValueError) as error:
        say(f"error: {error}")
        return ModelReport(options.model, str(error), failed=True, seconds=time.monotonic() - start)
    return ModelReport(
        options.model,
        "exported",
        bytes=report.bytes,
        seconds=time.monotonic() - start,
        max_relative_error=max(report.max_relative_error.values()),
    )


def _resolved(weights: Path | str, file: Path) -> Path | str:
    """Downloaded weights by their file, so that they are not looked for twice; a training by its folder."""
    return file if str(weights) == OFFICIAL else weights


def _finished(options: ExportOptions, weights: Path) -> ModelReport | None:
    """The report of a bundle that is there already and would come out the same."""
    try:
        manifest = yaml.safe_load((options.output / MANIFEST).read_text(encoding="utf-8"))
        provenance = manifest["provenance"]
        same = (
            manifest["model"] == options.model
            and tuple(manifest["batch"][key] for key in ("min", "opt", "max")) == options.batch
            and provenance["weights_sha256"] == file_sha256(weights)
            and provenance["tools"] == tool_versions(options.opset)
            and provenance["weights_stored_as"] == ("float16" if options.half_weights else "float32")
            and (options.image_size is None or _input_size(options.model, manifest["input"]) == options.image_size)
            and options.labels is None
        )
        error = max(manifest["verification"]["max_relative_error"].values())
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError):
        return None
    if not same:
        return None
    return ModelReport(options.model, "up to date", bytes=bundle_size(options.output), max_relative_error=float(error))


def _input_size(model: str, section: dict[str, int]) -> tuple[int, int]:
    """As `ExportOptions.image_size`."""
    if find_model(model).resize == "stretch":
        return section["height"], section["width"]
    return section["short_side"], section["long_side"]
