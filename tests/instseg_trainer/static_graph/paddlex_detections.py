"""A program for a Python with PaddleX, which has nothing of this project: detections of a static graph to a file.

python paddlex_detections.py MODEL FOLDER THRESHOLD OUTPUT.npz IMAGE
"""

from __future__ import annotations

import sys

import numpy as np


def main() -> None:
    import paddlex

    name, folder, threshold, output, image = sys.argv[1:]
    model = paddlex.create_model(name, model_dir=folder, device="cpu")
    (result,) = model.predict(image, threshold=float(threshold))
    found = result["boxes"]
    numbers = {
        # SOLOv2 has no boxes in PaddleX, and another name of the class.
        "class_ids": np.array([box.get("cls_id", box.get("class_id")) for box in found], np.int64),
        "scores": np.array([box["score"] for box in found], np.float32),
        "boxes": np.array([box["coordinate"] for box in found if "coordinate" in box], np.float32).reshape(-1, 4),
        "labels": np.array([box["label"] for box in found], np.str_),
    }
    masks = {f"mask_{index}": np.asarray(mask, bool) for index, mask in enumerate(result["masks"])}
    np.savez(output, **numbers, **masks)


if __name__ == "__main__":
    main()
