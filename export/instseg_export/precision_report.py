"""What the command line shows of a comparison of two precisions, and the images that it is made on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from instseg_rt.cli.console import stdout_console, table

if TYPE_CHECKING:
    from .precision.accuracy import Accuracy
    from .precision.detections import Agreement

MOST_IMAGES = 16


def comparison_images(folder: Path, option: str) -> list[NDArray[np.uint8]]:
    """BGR; raises `ExportError` naming the option where there are none, `IoError` for one that cannot be read."""
    # ONNX is not there where only engines are built.
    from .precision.calibration import image_files, read_image

    return [read_image(file) for file in image_files(folder, option, MOST_IMAGES)]


def print_agreement(every: Agreement, confident: Agreement) -> None:
    for name, found in (("all detections", every), ("above the threshold", confident)):
        if found.expected:
            stdout_console().print(
                f"{name}: {found.matched} of {found.expected} found ({found.share:.1%}), mask IoU "
                f"{found.mask_iou_mean:.4f}, boxes within {found.box_pixels_p95:.2f} px (95%)"
            )


def print_accuracy(dataset: Path, accuracy: Mapping[str, Accuracy]) -> None:
    rows = [(name, f"{ap.mask_ap:.4f}", f"{ap.mask_ap50:.4f}") for name, ap in accuracy.items()]
    stdout_console().print(table(f"{dataset}", ("precision", "mask AP", "mask AP50"), rows, right=(1, 2)))
