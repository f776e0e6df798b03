"""What PaddleX's modes do, one function each: they take a configuration, print what came of it, leave their files in
`Global.output`, and return the exit code.

`main.py` chooses by `Global.mode`; `instseg train`, `evaluate`, `export` and `predict` with `-c` are the same
functions. What a mode needs is imported by its function: running a bundle needs no Paddle.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .config import Config, dataset_folder
from .errors import ConfigError
from .files import write_text
from .runtime import launched_processes, parse_devices, prepare_cpu

if TYPE_CHECKING:
    from instseg_export.exporter import ExportOptions

    from .engine.train_result import TrainingResult

_BEST = "best_model"
_BUNDLE = "bundle"
_MANIFEST = "manifest.yaml"
_INFERENCE = "inference"
_EXPORT_PACKAGES = ("paddle2onnx", "onnx", "onnxslim", "onnxruntime")


def run_mode(config: Config, threads: int | None = None) -> int:
    """Does what `Global.mode` says; returns the exit code. threads: of the CPU; None takes all cores."""
    modes: dict[str, Callable[[Config, int | None], int]] = {
        "check_dataset": check_dataset,
        "train": train,
        "evaluate": evaluate,
        "export": export,
        "predict": predict,
    }
    return modes[config.Global.mode](config, threads)


def check_dataset(config: Config, _threads: int | None = None) -> int:
    """Returns 1 for a data set with problems, which are printed."""
    from .dataset_tools import check_dataset as check

    return check(config)


def train(config: Config, threads: int | None = None) -> int:
    """Trains, and makes of the best weights a static graph, and a bundle where the extra `[export]` is installed, as
    far as `Recipe.static_graph` and `Recipe.bundle` say so.
    """
    devices = parse_devices(config.Global.device)
    if len(devices.numbers) > 1 and launched_processes() == 1:
        numbers = ",".join(map(str, devices.numbers))
        raise ConfigError(
            f"Global.device: {config.Global.device} is a process for each GPU: start them with "
            f"`python -m paddle.distributed.launch --devices {numbers} main.py` and the same arguments"
        )
    prepare_cpu(threads)
    from .engine.trainer import Trainer
    from .runtime import set_device

    set_device(config.Global.device)
    trainer = Trainer(config)
    result, output, is_main = trainer.run(), trainer.output, trainer.world.is_main
    labels = trainer.train_set.labels
    del trainer  # its memory is the export's
    if is_main:
        print(f"best mask AP {result.best_ap:.4f} (epoch {result.best_epoch}): {result.best_weights}")
        if config.Recipe.static_graph:
            _trace(config, output, labels, result)
        if config.Recipe.bundle:
            _export_best(config.Global.model, output, result)
    return 0


def _trace(config: Config, output: Path, labels: tuple[str, ...], result: TrainingResult) -> None:
    import paddle

    from .engine.saved_models import saved_epochs
    from .engine.train_result import write_train_result
    from .static_graph import save_trained_graphs

    paddle.set_device("cpu")
    epochs = [output / f"epoch_{number}" / f"epoch_{number}.pdparams" for number in saved_epochs(output)]
    save_trained_graphs(config, labels, [result.best_weights, *epochs], _say)
    write_train_result(output, config.Global.model, result, done=True)
    print(f"static graph: {result.best_weights.parent / _INFERENCE}")


def _no_bundle() -> str | None:
    """Why no bundle can be made; None: it can."""
    missing = [name for name in _EXPORT_PACKAGES if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    return f"no bundle: {missing[0]} is not installed: pip install 'instseg-rt[export]', then `instseg export`"


def _export_best(model: str, output: Path, result: TrainingResult) -> None:
    reason = _no_bundle()
    if reason is not None:
        _say(reason)
        return
    import paddle

    from instseg_export.exporter import ExportOptions, export_bundle

    from .engine.train_result import write_train_result

    paddle.set_device("cpu")
    bundle = result.best_weights.parent / _BUNDLE
    report = export_bundle(ExportOptions(model, output, bundle), _say)
    write_train_result(output, model, result, done=True)
    print(f"bundle, {report.bytes / 1e6:.1f} MB: {bundle}")


def evaluate(
    config: Config, threads: int | None = None, *, bundle: Path | None = None, detections: Path | None = None
) -> int:
    """Evaluates `Evaluate.weight_path`, or `bundle`, on the data set's val part; see `evaluate_subject`.

    Prints the metrics and writes `evaluate_result.json`: PaddleX's `done_flag` and `metrics.AP` (of masks), and all of
    COCO's figures. detections: a file that gets the detections as COCO results.
    """
    dataset_dir = dataset_folder(config)
    prepare_cpu(threads)
    from .data import CocoDataset
    from .engine.evaluate_subject import evaluate_subject

    dataset = CocoDataset(dataset_dir, "annotations/instance_val.json", allow_empty=True)
    subject = str(bundle or config.Evaluate.weight_path)
    metrics, evaluator = evaluate_subject(config, subject, dataset)
    output = Path(config.Global.output)
    output.mkdir(parents=True, exist_ok=True)
    result = {
        "done_flag": True,
        "metrics": {"AP": metrics.mask.ap},
        "subject": subject,
        "images": len(dataset),
        **metrics.as_dict(),
    }
    write_text(output / "evaluate_result.json", json.dumps(result, indent=2) + "\n")
    if detections is not None:
        evaluator.save(detections)
    print(f"{subject} on {len(dataset)} images")
    print(metrics)
    return 0


def export(config: Config, _threads: int | None = None) -> int:
    """Makes of `Export.weight_path` the static graph in `Global.output`, as PaddleX does, and the bundle
    `Global.output`/bundle, as far as `Recipe.static_graph` and `Recipe.bundle` say so.
    """
    parse_devices(config.Global.device)  # a wrong one is an error here too; the export computes on the CPU
    prepare_cpu()
    output = Path(config.Global.output)
    output.mkdir(parents=True, exist_ok=True)
    if config.Recipe.static_graph:
        import paddle

        from .static_graph.export import export_static_graph

        paddle.set_device("cpu")
        print(f"static graph: {export_static_graph(config, _say)}")
    if not config.Recipe.bundle:
        return 0
    reason = _no_bundle()
    if reason is not None:
        _say(reason)
        return 0 if config.Recipe.static_graph else 1
    from instseg_export.cli import export_one

    return export_one(_export_options(config, output / _BUNDLE))


def _export_options(config: Config, bundle: Path) -> ExportOptions:
    from instseg_export.exporter import ExportOptions
    from instseg_export.trained import find_trained
    from instseg_rt.official_weights import find_weights

    model, weights = config.Global.model, config.Export.weight_path
    options = ExportOptions(model, weights, bundle)
    trained = find_trained(find_weights(weights, model, _say))
    size = config.Recipe.image_size
    if size is None or trained.config is not None or trained.inference is not None:
        return options  # the export takes the size that the weights were trained at
    height, width = size
    return dataclasses.replace(options, image_size=(height, width))


def predict(config: Config, threads: int | None = None) -> int:
    """Runs `Predict.model_dir` on `Predict.input`; pictures and PaddleX's JSON go to `Global.output`."""
    settings = config.Predict
    if settings.input is None:
        raise ConfigError("Predict.input: expected an image, folder, pattern or address (-o Predict.input=photo.jpg)")
    run_mode = settings.kernel_option.run_mode
    if run_mode != "paddle":
        raise ConfigError(
            f"Predict.kernel_option.run_mode: {run_mode}: only paddle is taken here; "
            "`instseg predict BUNDLE --device gpu:0` runs a bundle's TensorRT engines (docs/tensorrt.md)"
        )
    device = parse_devices(config.Global.device).first
    from instseg_rt import create_model
    from instseg_rt.cli.predict import ResultFiles, report

    folder = None
    if settings.model_dir is not None:
        given = Path(settings.model_dir)
        folder = find_runnable(given)
        if folder != given:
            _say(f"Predict.model_dir: {given}: runs {folder}")
    output = Path(config.Global.output)
    with create_model(
        config.Global.model, folder, device=device, batch_size=settings.batch_size, threads=threads
    ) as model:
        count = report(model.predict(settings.input), ResultFiles(output))
    print(f"results of {count} images: {output}")
    return 0


def find_runnable(path: Path) -> Path:
    """What `Predict.model_dir` means to `create_model`: the bundle in a training's or an export's output folder.

    A training leaves its static graph in `best_model/inference`, for PaddleX, and the same model in
    `best_model/bundle`: the one is taken for the other, or else the weights beside it, which are converted. Other paths
    are returned as they are.
    """
    places = [path, path / _BEST / _BUNDLE]
    if not (path / _BEST).is_dir():  # beside a training's best model, a bundle may be one of other weights
        places.append(path / _BUNDLE)
    if path.name == _INFERENCE:
        places.append(path.parent / _BUNDLE)
    found = next((place for place in places if (place / _MANIFEST).is_file()), None)
    if found is None and not path.exists() and (path.parent / f"{_BEST}.pdparams").is_file():
        found = path.parent
    return path if found is None else found


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
