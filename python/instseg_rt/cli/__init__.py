"""The command `instseg`: one module per subcommand, loaded when it is the one that runs."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

EXIT_OK, EXIT_ERROR, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130

_EPILOG = """\
examples:
  instseg demo                                  a rendered scene through the embedded model
  instseg predict model.bundle photo.jpg        what is in a photo
  instseg predict model.bundle frames/ --save-path out --format json,img
  instseg predict -c PP-YOLOE_seg-S -o KEY=VALUE …    PaddleX's spelling, of export, train and evaluate too
  instseg benchmark model.bundle                how long a call takes, stage by stage
  instseg inspect model.bundle                  what a bundle holds
  instseg COMMAND --help                        options and examples of a command
"""


@dataclass(frozen=True, slots=True)
class Command:
    """A subcommand: `module` has `add_arguments(parser)` and `run(args) -> int`, by these or other names."""

    name: str
    help: str
    module: str
    add_arguments: str = "add_arguments"
    run: str = "run"
    extra: str | None = None  # optional dependencies that it needs: pip install 'instseg-rt[extra]'
    errors: tuple[str, ...] = ()  # module:class of the errors that it raises for user mistakes, beside ours


_PROJECT_ERRORS = (
    "instseg_export.errors:ExportError",
    "instseg_trainer.errors:TrainerError",
)

COMMANDS = (
    Command("predict", "run a bundle on images, videos, folders or URLs", "instseg_rt.cli.predict"),
    Command("demo", "one image through the embedded model: table, picture, JSON", "instseg_rt.cli.demo"),
    Command("benchmark", "latency, throughput and accuracy of bundles", "instseg_rt.cli.benchmark"),
    Command("inspect", "show what a bundle holds", "instseg_rt.cli.inspect"),
    Command("models", "list the models of this version", "instseg_rt.cli.models"),
    Command("doctor", "show the installation, and why parts of it cannot be used", "instseg_rt.cli.doctor"),
    Command(
        "check-dataset",
        "check a data set; convert LabelMe's files, or split it anew",
        "instseg_trainer.dataset_tools.cli",
        "add_check_dataset_arguments",
        "run_check_dataset",
        extra="train",
        errors=("instseg_trainer.errors:TrainerError",),
    ),
    Command(
        "train",
        "train a model on a COCO data set",
        "instseg_trainer.cli",
        "add_train_arguments",
        "run_train",
        extra="train",
        errors=_PROJECT_ERRORS,
    ),
    Command(
        "evaluate",
        "mask and box AP of trained weights",
        "instseg_trainer.cli",
        "add_evaluate_arguments",
        "run_evaluate",
        extra="train",
        errors=("instseg_trainer.errors:TrainerError",),
    ),
    Command(
        "export",
        "Paddle weights -> ONNX -> bundle, verified",
        "instseg_export.cli",
        extra="export",
        errors=(*_PROJECT_ERRORS, "builtins:ValueError"),
    ),
    Command(
        "make-dataset",
        "render a data set of 3-D scenes with exact masks",
        "instseg_rt.scenes.cli",
        errors=("instseg_rt.scenes.dataset:SceneDatasetError",),
    ),
)


# Subcommands that read a configuration where `-c` is among their arguments, as PaddleX's do.
CONFIGURED = (
    Command(
        "predict",
        "run Predict.model_dir of a configuration on Predict.input",
        "instseg_trainer.cli",
        "add_predict_arguments",
        "run_predict",
        errors=_PROJECT_ERRORS,
    ),
    Command(
        "export",
        "make the bundle of Export.weight_path of a configuration",
        "instseg_trainer.cli",
        "add_export_arguments",
        "run_export",
        extra="export",
        errors=_PROJECT_ERRORS,
    ),
)

_MAIN_PROGRAM = Command(
    "main.py",
    "what Global.mode of a configuration says",
    "instseg_trainer.cli",
    "add_main_arguments",
    "run_main",
    extra="train,export",
    errors=_PROJECT_ERRORS,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 1 error, 2 wrong usage, 130 interrupted."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    chosen = _chosen(arguments)
    return _guarded("instseg", chosen, lambda: _parse_and_run(_build_parser(chosen), arguments))


def run_main_program(arguments: Sequence[str] | None = None) -> int:
    """The program `main.py` at the root of the repository; exit codes as of `main`."""

    def run() -> int:
        parser = argparse.ArgumentParser(prog=_MAIN_PROGRAM.name)
        _add_arguments(parser, _MAIN_PROGRAM)
        return _parse_and_run(parser, sys.argv[1:] if arguments is None else arguments)

    return _guarded(_MAIN_PROGRAM.name, _MAIN_PROGRAM, run)


def _chosen(arguments: Sequence[str]) -> Command | None:
    name = arguments[0] if arguments else None
    configured = any(text in ("-c", "--config") or text.startswith("--config=") for text in arguments[1:])
    return next(
        (command for command in ((*CONFIGURED,) if configured else ()) + COMMANDS if command.name == name), None
    )


def _parse_and_run(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    parsed = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = parsed.run
    return run(parsed)


def _guarded(program: str, command: Command | None, run: Callable[[], int]) -> int:
    """What `run` returns; errors that are the user's are a line on stderr and an exit code."""
    # OpenCV's own log lines would stand beside the one line that says what is wrong.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        return run()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout (`head`) is gone: no more output, and no complaint from the interpreter's last
        # flush.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_ERROR
    except Exception as error:
        message = _message(error, command)
        if message is None:
            raise
        print(f"{program}: error: {' '.join(message.split())}", file=sys.stderr)
        return EXIT_ERROR


def _build_parser(chosen: Command | None) -> argparse.ArgumentParser:
    """The parser; only the chosen command gets its options, since building them may load large packages."""
    parser = argparse.ArgumentParser(
        prog="instseg",
        description="Instance segmentation: train, export, and run models on images.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        subparser = subparsers.add_parser(
            command.name,
            help=command.help,
            description=f"{command.help[0].upper()}{command.help[1:]}.",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if chosen is not None and command.name == chosen.name:
            _add_arguments(subparser, chosen)
    return parser


def _add_arguments(parser: argparse.ArgumentParser, command: Command) -> None:
    module = importlib.import_module(command.module)
    getattr(module, command.add_arguments)(parser)
    parser.set_defaults(run=getattr(module, command.run))


class _Version(argparse.Action):
    """Prints the version of the C++ core, which is that of the package."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        core = importlib.import_module("instseg_rt._core")
        print(f"instseg-rt {core.version()}")
        parser.exit()


def _message(error: Exception, command: Command | None) -> str | None:
    """What to tell the user; None for what is a fault of the program."""
    if isinstance(error, MemoryError):
        return "out of memory: use smaller images or a smaller --batch-size"
    if isinstance(error, ModuleNotFoundError) and command is not None and command.extra:
        return f"{command.name} needs more packages ({error.name}): pip install 'instseg-rt[{command.extra}]'"
    if isinstance(error, ImportError):
        return f"the installation is incomplete: {error}; `instseg doctor` shows what is there"
    if isinstance(error, OSError):  # a full disk, a folder that may not be written to
        return str(error)
    for kind in ("instseg_rt.errors:Error", *(command.errors if command else ())):
        module_name, class_name = kind.split(":")
        module = sys.modules.get(module_name)  # an error of a module that was never loaded cannot have been raised
        if module is not None and isinstance(error, getattr(module, class_name)):
            return str(error)
    return None
