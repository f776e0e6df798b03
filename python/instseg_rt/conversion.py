"""The process in which Paddle weights are converted to a bundle; `instseg_rt.converted` starts it.

It is one of its own because of what Paddle does to the one that imports it: it sets signal handlers, the root logger
and the number of threads, and stays in memory.

    python -m instseg_rt.conversion REPORT_FD REQUEST

REQUEST: JSON with `model`, `file`, `description` and `output`. What happens is written to the file descriptor as lines
of JSON: ["say", line], and at a failure [code of the error's class, message].
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from instseg_rt.errors import Error, InternalError, InvalidArgumentError, IoError, UnsupportedError
from instseg_rt.official_weights import OFFICIAL

if TYPE_CHECKING:
    from instseg_export.exporter import ExportOptions

# Modules of the errors that are one line about what was given.
_USER_ERRORS = ("instseg_export.errors", "instseg_trainer.errors")


def convert(model: str, file: Path | None, description: Path | None, output: Path, say: Callable[[str], None]) -> None:
    """Write the bundle `output` of the weights; the arguments are those of `PaddleWeights`.

    Raises as `converted_bundle`.
    """
    with _export_errors(model):
        from instseg_trainer.runtime import prepare_cpu

        prepare_cpu()
        from instseg_export.exporter import ExportOptions, export_bundle

        say(f"{model}: converting Paddle weights, once")
        options = ExportOptions(model, file or OFFICIAL, output)
        if description is not None:
            options = _described(options, description)
        export_bundle(options, say)


def _described(options: ExportOptions, description: Path) -> ExportOptions:
    """With the labels and the input size of PaddleX's `inference.yml`."""
    from instseg_export.trained import read_inference

    labels, image_size = read_inference(description, options.model)
    categories = [{"id": i, "name": name} for i, name in zip(labels.category_ids, labels.names, strict=True)]
    file = options.output.with_name(f"{options.output.name}.categories.json")
    file.write_text(json.dumps({"categories": categories}), encoding="utf-8")
    return replace(options, labels=file, image_size=image_size)


@contextmanager
def _export_errors(model: str) -> Iterator[None]:
    """Turns the export's errors into this package's."""
    try:
        yield
    except Error:
        raise
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"{model}: Paddle weights are converted by packages that are not installed ({error.name}): pip install "
            "'instseg-rt[export]', or give a bundle that `instseg export` made elsewhere as model_dir"
        ) from error
    except OSError as error:
        raise IoError(f"{model}: {error}") from error
    except Exception as error:
        if type(error).__module__ in _USER_ERRORS or isinstance(error, ValueError):
            raise InvalidArgumentError(_one_line(error)) from error
        raise InternalError(f"{model}: the conversion failed: {type(error).__name__}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def main(report_fd: int, request: str) -> int:
    with os.fdopen(report_fd, "w", encoding="utf-8", buffering=1) as report:

        def write(kind: str, text: str) -> None:
            print(json.dumps([kind, text]), file=report)

        asked = json.loads(request)
        paths = {name: asked[name] and Path(asked[name]) for name in ("file", "description", "output")}
        try:
            convert(asked["model"], **paths, say=lambda line: write("say", line))
        except Error as error:
            traceback.print_exc()
            write(error.code or InternalError.code or "", str(error))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2]))
