"""PaddleX's Python interface: `create_model` and `create_pipeline`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from instseg_rt.closing import Closing
from instseg_rt.converted import PaddleWeights, converted_bundle
from instseg_rt.errors import InvalidArgumentError
from instseg_rt.model_files import find_model_files
from instseg_rt.paddlex_options import PipelineConfig, check_options, read_pipeline_config
from instseg_rt.predictor import Predictor, check_batch_size, check_threshold
from instseg_rt.result import Result

_logger = logging.getLogger("instseg_rt")


class Model(Closing):
    """A model as PaddleX's `create_model` gives it; see there.

    predictor: what runs it, for all that PaddleX's interface does not have.
    """

    def __init__(self, predictor: Predictor, batch_size: int = 1) -> None:
        check_batch_size(batch_size)
        self.predictor = predictor
        self.batch_size = batch_size

    @property
    def model_name(self) -> str:
        return self.predictor.info.model

    @property
    def model_dir(self) -> Path:
        """The bundle that is run."""
        return self.predictor.info.path

    def predict(self, input: Any, batch_size: int | None = None, threshold: float | None = None) -> Iterator[Result]:
        """A generator with one Result per image of `input`, in order.

        input: path or URL of an image, folder, numpy array (BGR), list of these, and more (see
        `instseg_rt.sources`). batch_size: images per inference; None takes the model's. threshold: instances with
        score > threshold are kept; None takes the model's. Raises as `Predictor.predict`.
        """
        return self.predictor.predict(input, self.batch_size if batch_size is None else batch_size, threshold)

    __call__ = predict

    def close(self) -> None:
        self.predictor.close()


class Pipeline(Closing):
    """A pipeline as PaddleX's `create_pipeline` gives it; see there. model: what it runs."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def predict(self, input: Any, threshold: float | None = None) -> Iterator[Result]:
        """As `Model.predict`, in batches of the configuration's size."""
        return self.model.predict(input, threshold=threshold)

    __call__ = predict

    def close(self) -> None:
        self.model.close()


def create_model(
    model_name: str,
    model_dir: str | os.PathLike[str] | None = None,
    device: str | None = None,
    threshold: float | None = None,
    batch_size: int = 1,
    *,
    backend: str | None = None,
    precision: str = "auto",
    threads: int | None = None,
    contexts: int = 1,
    **paddlex_options: Any,
) -> Model:
    """PaddleX's call: `create_model("PP-YOLOE_seg-S").predict("photo.jpg")`.

    model_name: see `instseg models`. model_dir: a bundle; the output folder of a training, ours or PaddleX's, its
    `best_model` or `best_model/inference`; a `.pdparams` file. None: the bundle of this name in the package, else
    PaddleX's official weights, which are downloaded once. Paddle weights are converted to a bundle in the cache folder,
    once, which needs the extra `export` and takes a minute or so; the logger `instseg_rt` tells of it.

    threshold, batch_size: of calls that give none. device, backend, precision, threads, contexts: as those of
    `Predictor`. PaddleX's other options are refused, with what to use in their place.

    Raises `InvalidArgumentError` for unknown names and options, and weights of another model; `UnsupportedError`
    where something needed is not installed; otherwise as `Predictor`.
    """
    known = ("device", "threshold", "batch_size", "backend", "precision", "threads", "contexts")
    check_options("create_model", paddlex_options, known)
    check_threshold(threshold)
    check_batch_size(batch_size)
    files = find_model_files(model_name, model_dir)
    bundle = converted_bundle(files, _logger.info) if isinstance(files, PaddleWeights) else files
    predictor = Predictor(
        bundle,
        device=device or "cpu",
        backend=backend,
        precision=precision,
        threshold=threshold,
        threads=threads,
        contexts=contexts,
    )
    found = predictor.info.model
    if found != model_name:
        predictor.close()
        raise InvalidArgumentError(f"{bundle}: a bundle of {found}, not of {model_name}")
    return Model(predictor, batch_size)


def create_pipeline(
    pipeline: str | os.PathLike[str] | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    device: str | None = None,
    backend: str | None = None,
    precision: str = "auto",
    threads: int | None = None,
    contexts: int = 1,
    **paddlex_options: Any,
) -> Pipeline:
    """PaddleX's call: `create_pipeline("instance_segmentation").predict("photo.jpg")`.

    pipeline: "instance_segmentation", which is PaddleX's default configuration of it (see
    `paddlex_options.PipelineConfig`), or the path of a configuration in PaddleX's YAML. config: such a configuration as
    a dictionary, in place of that. The other arguments, and what is raised: as those of `create_model`.
    """
    check_options(
        "create_pipeline", paddlex_options, ("config", "device", "backend", "precision", "threads", "contexts")
    )
    chosen: PipelineConfig = read_pipeline_config(pipeline, config)
    model = create_model(
        chosen.model_name,
        chosen.model_dir,
        device,
        chosen.threshold,
        chosen.batch_size,
        backend=backend,
        precision=precision,
        threads=threads,
        contexts=contexts,
    )
    return Pipeline(model)
