"""Runs a PaddleX model for `instseg benchmark`, in the Python of PaddleX's environment, which has no instseg_rt.

    python paddlex_worker.py MODEL_FOLDER MODEL_NAME THRESHOLD

Each line of stdin is a request, {"image": path, "masks": whether to send them}; each line of stdout an answer: first
{"version": …}, then {"ms": …, "instances": […]}, or {"error": text}. An instance has class_id, score, box (None of
SOLOv2) and, where asked for, its mask: {"left", "top", "height", "width", "bits"}, the bits row by row in base64.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

# The folder of this file has modules of other purposes, whose names PaddleX's own imports must not find.
_HERE = Path(__file__).resolve().parent
sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != _HERE]


def main() -> None:
    # What PaddleX prints goes to stderr: stdout has the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    folder, name, threshold = sys.argv[1], sys.argv[2], float(sys.argv[3])
    try:
        import paddlex

        model = paddlex.create_model(model_name=name, model_dir=folder, device="cpu")
        answer({"version": paddlex.__version__})
        for line in sys.stdin:
            request = json.loads(line)
            start = time.perf_counter()
            (result,) = model.predict(request["image"], batch_size=1, threshold=threshold)
            milliseconds = (time.perf_counter() - start) * 1e3
            answer({"ms": milliseconds, "instances": describe(result, request["masks"])})
    except KeyboardInterrupt:
        pass
    except Exception as error:
        answer({"error": " ".join(f"{type(error).__name__}: {error}".split())})
        raise SystemExit(1) from error


def describe(result: Any, with_masks: bool) -> list[dict[str, Any]]:
    instances = []
    for box, mask in zip(result["boxes"], result["masks"]):
        corners = box.get("coordinate")
        instance: dict[str, Any] = {
            "class_id": int(box["cls_id"] if "cls_id" in box else box["class_id"]),
            "score": float(box["score"]),
            "box": None if corners is None else [float(value) for value in corners],
        }
        if with_masks:
            instance["mask"] = pack(mask, corners)
        instances.append(instance)
    return instances


def pack(mask: Any, corners: Any) -> dict[str, Any]:
    """Masks with a box are cropped to it, rounded to whole pixels."""
    import numpy

    bits = numpy.asarray(mask) > 0
    left, top = (0, 0) if corners is None else (round(float(value)) for value in corners[:2])
    height, width = bits.shape
    data = base64.b64encode(numpy.packbits(bits).tobytes()).decode("ascii")
    return {"left": max(left, 0), "top": max(top, 0), "height": height, "width": width, "bits": data}


if __name__ == "__main__":
    main()
