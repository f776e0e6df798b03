"""Gives a bundle an INT8 form of its stage without NNCF: ranges by hand, right for tests/tiny_bundle.py."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import yaml
from openvino import opset13

_LEVELS = 256


def add_int8_stage(bundle: Path, **changes: Any) -> Path:
    """Writes stages/model.int8.xml and .bin, and their entry with these changes; returns the .xml file.

    The inputs of convolutions are rounded to 255 steps of [-1, 1]: weights and activations of the tiny bundle.
    """
    manifest = yaml.safe_load((bundle / "manifest.yaml").read_text())
    (stage,) = manifest["stages"]
    file = bundle / "stages" / "model.int8.xml"
    openvino.save_model(_rounded(bundle / stage["file"]), file, compress_to_fp16=False)
    entry = {
        "precision": "int8",
        "file": "stages/model.int8.xml",
        "sha256": _sha256(file),
        "weights_file": "stages/model.int8.bin",
        "weights_sha256": _sha256(file.with_suffix(".bin")),
        "source_sha256": stage["sha256"],
        **changes,
    }
    stage["typed"] = [entry]
    (bundle / "manifest.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))
    return file


def _rounded(onnx_file: Path) -> openvino.Model:
    model = openvino.Core().read_model(onnx_file)
    low, high = np.float32(-1.0), np.float32(1.0)
    for node in model.get_ops():
        if node.get_type_name() == "Convolution":
            for port in node.inputs():
                rounded = opset13.fake_quantize(port.get_source_output(), low, high, low, high, _LEVELS)
                port.replace_source_output(rounded.output(0))
    return model


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
