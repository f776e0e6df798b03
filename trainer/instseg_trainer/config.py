"""Configuration: `configs/defaults.yaml`, the file of a model's family over it, the model's file over both, and
KEY=VALUE overrides over all; checked by key and type.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from .errors import ConfigError


@dataclass(frozen=True)
class GlobalConfig:
    model: str
    mode: Literal["check_dataset", "train", "evaluate", "export", "predict"]
    dataset_dir: str | None
    device: str
    output: str


@dataclass(frozen=True)
class ConvertConfig:
    enable: bool
    src_dataset_type: str | None


@dataclass(frozen=True)
class SplitConfig:
    enable: bool
    train_percent: int | None
    val_percent: int | None


@dataclass(frozen=True)
class CheckDatasetConfig:
    convert: ConvertConfig
    split: SplitConfig


@dataclass(frozen=True)
class TrainConfig:
    num_classes: int | None
    epochs_iters: int
    batch_size: int
    learning_rate: float
    pretrain_weight_path: str | None
    warmup_steps: int
    resume_path: str | None
    log_interval: int
    eval_interval: int


@dataclass(frozen=True)
class EvaluateConfig:
    weight_path: str
    log_interval: int


@dataclass(frozen=True)
class ExportConfig:
    weight_path: str


@dataclass(frozen=True)
class KernelOptionConfig:
    run_mode: Literal["paddle", "trt_fp32", "trt_fp16"]


@dataclass(frozen=True)
class PredictConfig:
    batch_size: int
    model_dir: str | None
    input: str | list[str] | None
    kernel_option: KernelOptionConfig


@dataclass(frozen=True)
class ParameterGroupConfig:
    """Settings of the parameters whose names one of the regular expressions `params` is found in; None: unchanged."""

    params: list[str]
    learning_rate_factor: float | None = None
    weight_decay: float | None = None


@dataclass(frozen=True)
class OptimizerConfig:
    type: Literal["momentum", "adamw"]
    momentum: float
    weight_decay: float
    decay_vectors: bool | None
    gradient_clip: float
    parameter_groups: list[ParameterGroupConfig]


@dataclass(frozen=True)
class ScheduleConfig:
    type: Literal["cosine", "piecewise", "constant"]
    warmup_start_factor: float
    cosine_epochs_factor: float
    min_learning_rate_factor: float
    milestones: list[float]
    gamma: float


@dataclass(frozen=True)
class EarlyStopConfig:
    patience: int
    min_delta: float


@dataclass(frozen=True)
class RecipeConfig:
    image_size: list[int] | None
    seed: int
    workers: int
    accumulate: int
    amp: Literal["none", "bfloat16", "float16"]
    early_stop: EarlyStopConfig
    checkpoint_interval: int
    evaluation_batch_size: int
    freeze: list[str]
    unfreeze: list[str]
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    kept_epochs: int
    static_graph: bool
    bundle: bool
    event_log: Literal["none", "tensorboard"]
    use_ema: bool
    ema_decay: float
    ema_decay_type: Literal["threshold", "exponential", "normal"]
    augmentation: list[Any]


@dataclass(frozen=True)
class Config:
    """Field names are the keys of the YAML (`Global.model`, `Train.batch_size`, …)."""

    Global: GlobalConfig
    CheckDataset: CheckDatasetConfig
    Train: TrainConfig
    Evaluate: EvaluateConfig
    Export: ExportConfig
    Predict: PredictConfig
    Recipe: RecipeConfig


def configs_folder() -> Path:
    """The folder with `defaults.yaml` and `instance_segmentation/`: in the installed package, or in the source tree."""
    here = Path(__file__).resolve().parent
    for folder in (here / "configs", here.parents[1] / "configs"):
        if (folder / "defaults.yaml").is_file():
            return folder
    raise ConfigError(f"the shipped configurations are missing (looked in {here / 'configs'}): reinstall instseg-rt")


def find_config(name: str) -> Path:
    """A file, or a name or path whose last part is a shipped configuration (`PP-YOLOE_seg-S`,
    `any/PP-YOLOE_seg-S.yaml`).
    """
    path = Path(name)
    if path.is_file():
        return path
    folder = configs_folder() / "instance_segmentation"
    stem = path.name.removesuffix(".yaml").removesuffix(".yml")
    shipped = folder / f"{stem}.yaml"
    if shipped.is_file():
        return shipped
    known = sorted(p.stem for p in folder.glob("*.yaml"))
    near = difflib.get_close_matches(stem, known, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(
        f"{name}: no such file and no shipped configuration of that name{hint} (shipped: {', '.join(known)})"
    )


def load_config(name: str, overrides: Sequence[str] = ()) -> Config:
    """`overrides` are KEY=VALUE with dotted keys; VALUE is YAML, and `None` is null, as PaddleX reads it.

    Raises `ConfigError` naming the file and the key.
    """
    merged = _read(configs_folder() / "defaults.yaml")
    path = find_config(name)
    for layer, content in _layers(path):
        _merge(merged, content, str(layer), "")
    overridden: dict[str, str] = {}
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ConfigError(f"override {text!r}: expected KEY=VALUE, such as Train.batch_size=4")
        try:
            parsed = None if value == "None" else yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"override {text!r}: the value is not valid YAML") from error
        tree: Any = parsed
        for part in reversed(key.split(".")):
            tree = {part: tree}
        overridden[key] = f"override {text!r}"
        _merge(merged, tree, overridden[key], "")
    return _build(Config, merged, str(path), "", overridden)


def _layers(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """A file's content, after that of the file its `base` names (relative to it), after that one's base, …

    PaddleX's files have neither a base nor a recipe: theirs is the shipped configuration of their model.
    """
    layers: list[tuple[Path, dict[str, Any]]] = []
    following: Path | None = path
    while following is not None:
        current = following
        if any(current.resolve() == seen.resolve() for seen, _ in layers):
            raise ConfigError(f"{path}: its base files lead back to {current}")
        content = _read(current)
        base = content.pop("base", None)
        if base is not None and not isinstance(base, str):
            raise ConfigError(f"{current}: base: expected the name of a file, found {base!r}")
        layers.append((current, content))
        following = current.parent / base if base is not None else _shipped_base(current, content)
    return layers[::-1]


def _shipped_base(path: Path, content: Mapping[str, Any]) -> Path | None:
    section = content.get("Global")
    model = section.get("model") if isinstance(section, Mapping) else None
    folder = configs_folder()
    if "Recipe" in content or not isinstance(model, str) or path.resolve().is_relative_to(folder.resolve()):
        return None
    shipped = folder / "instance_segmentation" / f"{model}.yaml"
    return shipped if shipped.is_file() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: expected keys and values, found {type(content).__name__}")
    return content


def _merge(base: dict[str, Any], over: Mapping[str, Any], source: str, prefix: str) -> None:
    for key, value in over.items():
        _known_key(key, list(base), source, prefix)
        if isinstance(base[key], dict):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{source}: {prefix}{key} is a section with keys, found {value!r}")
            _merge(base[key], value, source, f"{prefix}{key}.")
        else:
            base[key] = value


def _build(
    cls: Any, values: Mapping[str, Any], source: str, prefix: str, overridden: Mapping[str, str] | None = None
) -> Any:
    """overridden: of the keys that do not come from `source`, where they do."""
    overridden = overridden or {}
    hints = typing.get_type_hints(cls)
    fields = dataclasses.fields(cls)
    for key in values:
        _known_key(key, [item.name for item in fields], source, prefix)
    arguments: dict[str, Any] = {}
    for item in fields:
        kind, key = hints[item.name], f"{prefix}{item.name}"
        if item.name not in values:
            if item.default is dataclasses.MISSING:
                raise ConfigError(f"{source}: {key} is missing")
            continue
        value = values[item.name]
        if dataclasses.is_dataclass(kind):
            arguments[item.name] = _build(kind, value, source, f"{key}.", overridden)
        else:
            arguments[item.name] = _checked(kind, value, overridden.get(key, source), key)
    return cls(**arguments)


def _known_key(key: object, known: Sequence[str], source: str, prefix: str) -> None:
    if key in known:
        return
    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.5)
    hint = f"; did you mean {prefix}{near[0]}?" if near else f" (known: {', '.join(prefix + k for k in known)})"
    raise ConfigError(f"{source}: unknown key {prefix}{key}{hint}")


def _checked(kind: Any, value: Any, source: str, key: str) -> Any:
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value in choices:
            return value
        raise ConfigError(f"{source}: {key}: expected {' or '.join(choices)}, found {value!r}")
    options = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    for option in options:
        if dataclasses.is_dataclass(option) and isinstance(value, Mapping):
            return _build(option, value, source, f"{key}.")
        origin = typing.get_origin(option) or option
        if origin is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        # YAML 1.1 reads 1e-3 as text.
        if origin is float and isinstance(value, str):
            try:
                return float(value)
            except ValueError:
                continue
        if origin is list and isinstance(value, list):
            inner = typing.get_args(option)[0]
            return [value_ if inner is Any else _checked(inner, value_, source, f"{key}[]") for value_ in value]
        if origin is not float and isinstance(value, origin) and not (origin is int and isinstance(value, bool)):
            return value
    names = " or ".join("null" if o is type(None) else getattr(o, "__name__", str(o)) for o in options)
    raise ConfigError(f"{source}: {key}: expected {names}, found {value!r}")


def dataset_folder(config: Config) -> str:
    """`Global.dataset_dir`. Raises `ConfigError` where it is null or no folder."""
    if config.Global.dataset_dir is None:
        raise ConfigError("Global.dataset_dir: expected the data set's folder (-o Global.dataset_dir=DIR)")
    if not Path(config.Global.dataset_dir).is_dir():
        raise ConfigError(f"Global.dataset_dir: there is no folder {config.Global.dataset_dir}")
    return config.Global.dataset_dir


def to_yaml(config: Config) -> str:
    return yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, allow_unicode=True)
