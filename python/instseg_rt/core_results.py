"""From the results of the C++ runtime to those of the package."""

from __future__ import annotations

from dataclasses import dataclass

from instseg_rt import _core
from instseg_rt.result import Result, Timings
from instseg_rt.sources import SourceImage


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a bundle says of all its results: see `Result`."""

    names: tuple[str, ...]
    category_ids: tuple[int, ...]
    family: str


def make_result(core: _core.Result, source: SourceImage, model: ModelFacts) -> Result:
    """source: of the image, without pixels on a GPU."""
    return Result(
        core.boxes,
        core.scores,
        core.class_ids,
        core.masks,
        names=model.names,
        orig_shape=(core.height, core.width),
        category_ids=model.category_ids,
        family=model.family,
        source=source,
        timings=make_timings(core.timings, source),
    )


def make_timings(core: _core.Timings, source: SourceImage) -> Timings:
    """Those of the call, and of reading the image."""
    return Timings(
        decode_ms=source.decode_ms,
        preprocess_ms=core["preprocess_ms"],
        inference_ms=core["inference_ms"],
        postprocess_ms=core["postprocess_ms"],
        total_ms=core["total_ms"],
        batch_size=core["batch"],
    )
