"""What is said to PaddleX's interface: options of its calls, and the configuration of a pipeline."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from instseg_rt.errors import InvalidArgumentError
from instseg_rt.files import read_bytes
from instseg_rt.suggest import did_you_mean

PIPELINE_NAME = "instance_segmentation"
_SUBMODULE = "InstanceSegmentation"

_RUNTIME = "backend, precision, threads and contexts say how a model is run"
_NO_PADDLE = f"no Paddle is used at run time: {_RUNTIME}"
# Options of PaddleX that mean nothing here, and what is there in their place.
_INSTEAD = {
    "use_hpip": f"every model is run by the native runtime: {_RUNTIME}",
    "hpi_config": _RUNTIME,
    "hpi_params": _RUNTIME,
    "pp_option": _NO_PADDLE,
    "engine": "use backend='openvino' or backend='onnxruntime'",
    "engine_config": _RUNTIME,
    "genai_config": "leave it out: no model of instance segmentation has a use for it",
    "img_size": "the input size is part of a bundle: `instseg export --image-size` makes one with another",
}


@dataclass(frozen=True, slots=True)
class PipelineConfig:
    """`SubModules.InstanceSegmentation` of a pipeline; the defaults are PaddleX's."""

    model_name: str = "Mask-RT-DETR-S"
    model_dir: str | None = None
    batch_size: int = 1
    threshold: float | None = 0.5


def check_options(call: str, given: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raises `InvalidArgumentError` for an option that is unknown, or PaddleX's and asks for something.

    call: the name of the function, for the message. known: its own options.
    """
    for name, value in given.items():
        if name not in _INSTEAD:
            hint = did_you_mean(name, [*known, *_INSTEAD])
            raise InvalidArgumentError(f"{call}: unknown option {name!r}{hint}")
        if value:  # None, False and {} ask for nothing
            raise InvalidArgumentError(f"{call}: {name}={value!r} is not an option here: {_INSTEAD[name]}")


def read_pipeline_config(
    pipeline: str | os.PathLike[str] | None, config: Mapping[str, Any] | None = None
) -> PipelineConfig:
    """The configuration that `create_pipeline` is asked for.

    Raises `InvalidArgumentError` for another pipeline, and for keys and values that are none of a configuration;
    `IoError` for a file that cannot be read.
    """
    if pipeline is None and config is None:
        raise InvalidArgumentError(f"create_pipeline: expected {PIPELINE_NAME!r}, or a configuration")
    if config is not None:
        return _parse(config, "config", None if pipeline is None else os.fspath(pipeline))
    name = os.fspath(pipeline or "")
    if name.endswith((".yaml", ".yml")):
        return _parse(_read(Path(name)), name, None)
    if name != PIPELINE_NAME:
        hint = did_you_mean(name, [PIPELINE_NAME])
        raise InvalidArgumentError(
            f"create_pipeline: unknown pipeline {name!r}{hint} ({PIPELINE_NAME} is the only one; a path of a "
            "configuration ends with .yaml)"
        )
    return PipelineConfig()


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(read_bytes(path))
    except yaml.YAMLError as error:
        raise InvalidArgumentError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error


def _parse(config: Any, where: str, expected_name: str | None) -> PipelineConfig:
    """where: the file, or `config`, for messages."""
    name = _section(config, where, ("pipeline_name", "SubModules")).get("pipeline_name")
    if name != PIPELINE_NAME or expected_name not in (None, name):
        raise InvalidArgumentError(
            f"{where}: pipeline_name: expected {expected_name or PIPELINE_NAME!r}, found {name!r}"
        )
    submodules = _section(config.get("SubModules"), f"{where}: SubModules", (_SUBMODULE,))
    values_of = f"{where}: SubModules.{_SUBMODULE}"
    keys = [field.name for field in fields(PipelineConfig)]
    values = dict(_section(submodules.get(_SUBMODULE), values_of, ("module_name", *keys)))
    if values.get("module_name", PIPELINE_NAME) != PIPELINE_NAME:
        raise InvalidArgumentError(
            f"{values_of}.module_name: expected {PIPELINE_NAME!r}, found {values['module_name']!r}"
        )
    if not isinstance(values.get("model_name"), str):
        raise InvalidArgumentError(
            f"{values_of}.model_name: expected the name of a model, found {values.get('model_name')!r}"
        )
    return PipelineConfig(**{key: values[key] for key in keys if key in values})


def _section(content: Any, where: str, keys: tuple[str, ...]) -> Mapping[str, Any]:
    """A section with no other keys than these, but for options of PaddleX that ask for nothing."""
    if not isinstance(content, Mapping):
        raise InvalidArgumentError(
            f"{where}: expected the keys {', '.join(keys)}, found {'nothing' if content is None else repr(content)}"
        )
    check_options(where, {str(key): value for key, value in content.items() if key not in keys}, keys)
    return content
