"""The stages of every family: what their graphs hold, and what the manifest says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("paddle", reason="needs the [train] extra")
onnx = pytest.importorskip("onnx", reason="needs the [export] extra")
pytest.importorskip("paddle2onnx", reason="needs the [export] extra")

import instseg_rt
from instseg_export.paddle_to_onnx import check_stage, tensor_shape
from instseg_export.stages import family_stages
from instseg_rt.models import find_model
from instseg_trainer.models import build_model
from tests.long_tests import with_long_ones
from tests.reference_kit import EXPORTED_MODELS, OTHER_MODELS

BundleOf = Callable[[str], Path]

STAGES = {
    "PP-YOLOE_seg-S": ["model"],
    "Mask-RT-DETR-S": ["model"],
    "SOLOv2": ["model"],
    "MaskRCNN-ResNet50-FPN": ["features", "box_head", "mask_head"],
    "MaskRCNN-ResNet50": ["features", "box_head", "mask_head"],
    "Cascade-MaskRCNN-ResNet50-FPN": ["features", "box_head_0", "box_head_1", "box_head_2", "mask_head"],
}


@pytest.mark.slow
@pytest.mark.parametrize("model", with_long_ones(EXPORTED_MODELS, OTHER_MODELS))
def test_graphs_and_manifest(seeded_bundle_of: BundleOf, model: str) -> None:
    bundle = seeded_bundle_of(model)
    manifest = yaml.safe_load((bundle / "manifest.yaml").read_text())
    names = [entry["name"] for entry in manifest["stages"]]
    assert names == list(find_model(model).stages)
    if model in STAGES:
        assert names == STAGES[model]
    outputs = []
    for entry in manifest["stages"]:
        graph = onnx.load(bundle / entry["file"])
        check_stage(graph)
        assert graph.opset_import[0].version == 17
        for kind, values in (("inputs", graph.graph.input), ("outputs", graph.graph.output)):
            assert [(v.name, tensor_shape(v)) for v in values] == [(t["name"], t["shape"]) for t in entry[kind]]
            assert all(t["shape"][0] in ("batch", "rois") for t in entry[kind])
        outputs += [t["name"] if len(names) == 1 else f"{entry['name']}.{t['name']}" for t in entry["outputs"]]
    errors = manifest["verification"]["max_relative_error"]
    assert list(errors) == outputs
    assert 0 < max(errors.values()) < 1e-3
    info = instseg_rt.load_bundle(bundle)
    assert (info.model, info.family, len(info.labels)) == (model, find_model(model).family, 80)


@pytest.mark.slow
def test_index_arithmetic_is_of_integers(seeded_bundle_of: BundleOf) -> None:
    """Indices that pass through floats are wrong in half precision: 8400 cells have no number of their own there."""
    graph = onnx.shape_inference.infer_shapes(
        onnx.load(seeded_bundle_of("Mask-RT-DETR-S") / "stages" / "model.onnx")
    ).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    integers = {onnx.TensorProto.INT32, onnx.TensorProto.INT64}
    gathers = [node for node in graph.node if node.op_type == "Gather"]
    assert len(gathers) >= 7  # six layers, the choice of queries
    largest = []
    for gather in gathers:
        # Back from the indices up to where they leave the floats: there they may be rows and columns of one map.
        open_names, seen = [gather.input[1]], set()
        while open_names:
            name = open_names.pop()
            node = producers.get(name)
            if node is None or name in seen:
                continue
            seen.add(name)
            if node.op_type == "Cast" and types.get(node.input[0]) not in integers:
                source = producers[node.input[0]]
                assert source.op_type in ("Clip", "Min"), (gather.name, source.op_type)
                largest.append(source.name)
                continue
            if node.op_type in ("TopK", "Shape", "Range"):
                continue
            open_names += [i for i in node.input if i]
    assert len(largest) == 6 * 2


@pytest.mark.slow
def test_sizes_are_no_products(seeded_bundle_of: BundleOf) -> None:
    """OpenVINO takes a size that is converted and multiplied for a rounded value, and then loads no INT8 stage."""
    graph = onnx.load(seeded_bundle_of("SOLOv2") / "stages" / "model.onnx").graph
    producers = {output: node for node in graph.node for output in node.output}
    resizes = [node for node in graph.node if node.op_type == "Resize"]
    assert len(resizes) == 16
    for resize in resizes:
        open_names = list(resize.input[3:])
        assert open_names
        while open_names:
            node = producers.get(open_names.pop())
            if node is None or node.op_type == "Shape":
                continue
            assert node.op_type != "Mul", (resize.name, node.name)
            open_names += node.input


@pytest.mark.parametrize("model", ["MaskRCNN-ResNet50", "MaskRCNN-ResNet50-FPN", "Cascade-MaskRCNN-ResNet50-FPN"])
def test_decode_of_regions(model: str) -> None:
    built = build_model(model, 3)
    decode = family_stages("mask_rcnn").decode(built)
    pyramid = model != "MaskRCNN-ResNet50"
    assert decode["anchor_strides"] == ([4, 8, 16, 32, 64] if pyramid else [16])
    assert decode["feature_strides"] == ([4, 8, 16, 32] if pyramid else [16])
    assert decode["anchor_sizes"] == [32, 64, 128, 256, 512]
    assert decode["rpn_pre_nms_top_n"] == (1000 if pyramid else 6000)
    heads = 3 if model.startswith("Cascade") else 1
    assert decode["delta_weights"] == [w * (1 + head) for head in range(heads) for w in (10, 10, 5, 5)]
    assert decode["roi_aligned"] is False
    built.roi_aligned = True
    assert family_stages("mask_rcnn").decode(built)["roi_aligned"] is True
    assert yaml.safe_load(yaml.safe_dump(decode)) == decode


@pytest.mark.slow
def test_any_size_and_any_number_of_rois(seeded_bundle_of: BundleOf) -> None:
    """Sizes that are no multiple of 32 too: images of C4 models are not padded."""
    import onnxruntime

    stages = seeded_bundle_of("MaskRCNN-ResNet50") / "stages"

    def run(name: str, **inputs: Any) -> dict[str, np.ndarray]:
        session = onnxruntime.InferenceSession(stages / f"{name}.onnx", providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))

    rng = np.random.default_rng(2)
    for batch, height, width in ((1, 97, 130), (2, 64, 51)):
        found = run("features", image=rng.standard_normal((batch, 3, height, width), np.float32))
        expected = (batch, 1024, -(-height // 16), -(-width // 16))
        assert found["feature_0"].shape == expected
        assert found["rpn_logits_0"].shape == (batch, 15, *expected[2:])
    found = run("mask_head", roi_features=rng.standard_normal((3, 1024, 14, 14), np.float32))
    assert found["mask_logits"].shape == (3, 80, 14, 14)
