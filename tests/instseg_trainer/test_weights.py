"""`.pdparams` files: what is read, what is refused, and how names are matched."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.errors import WeightsError
from instseg_trainer.models import build_model
from instseg_trainer.weights import load_weights, other_class_count, read_pdparams, write_pdparams


class _RunsCode:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_reads_arrays_of_every_pickle_protocol(tmp_path: Path, protocol: int) -> None:
    arrays = OrderedDict(a=np.arange(6, dtype=np.float32).reshape(2, 3), b=np.float32([1.5]), c=np.array(3, np.int64))
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps(arrays, protocol))
    found = read_pdparams(tmp_path / "w.pdparams")
    assert list(found) == ["a", "b", "c"]
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_reads_numpy_1_module_names(tmp_path: Path) -> None:
    data = pickle.dumps({"a": np.ones(3, np.float32)}, 2)
    assert b"numpy._core.multiarray" in data or b"numpy.core.multiarray" in data
    (tmp_path / "w.pdparams").write_bytes(data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    np.testing.assert_array_equal(read_pdparams(tmp_path / "w.pdparams")["a"], np.ones(3))


def test_round_trip_through_paddle(tmp_path: Path) -> None:
    state = {"x.weight": paddle.rand([4, 3]), "x.bias": paddle.zeros([4])}
    write_pdparams(tmp_path / "w.pdparams", state)
    ours = read_pdparams(tmp_path / "w.pdparams")
    theirs = paddle.load(str(tmp_path / "w.pdparams"))
    assert list(ours) == list(state)
    for name, tensor in state.items():
        np.testing.assert_array_equal(ours[name], tensor.numpy())
        np.testing.assert_array_equal(theirs[name].numpy(), tensor.numpy())


@pytest.mark.parametrize("nested", [False, True])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path, nested: bool) -> None:
    marker = tmp_path / "ran"
    bomb = _RunsCode(f"touch {marker}")
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps({"a": [bomb]} if nested else bomb))
    with pytest.raises(WeightsError, match=r"w\.pdparams: refused as a weights file: it asks for (posix|nt)\.system"):
        read_pdparams(tmp_path / "w.pdparams")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"not a pickle at all", "refused as a weights file"),
        (pickle.dumps({"a": np.ones(100)})[:-50], "refused as a weights file"),
        (pickle.dumps([1, 2]), "expected a dictionary of arrays by name, found list"),
        (pickle.dumps({"a": "text"}), "entry 'a': expected an array of numbers, found str"),
        (pickle.dumps({1: np.ones(2)}), "entry 1: expected an array"),
        (pickle.dumps({"a": np.array(["x", None], dtype=object)}), "entry 'a': expected an array of numbers"),
    ],
)
def test_what_is_no_weights_file(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "w.pdparams").write_bytes(data)
    with pytest.raises(WeightsError, match=message):
        read_pdparams(tmp_path / "w.pdparams")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="No such file"):
        read_pdparams(tmp_path / "w.pdparams")


def test_big_parameters_are_joined(tmp_path: Path) -> None:
    content = {
        "a@@.0": np.arange(3, dtype=np.float32),
        "a@@.1": np.arange(3, 6, dtype=np.float32),
        "UnpackBigParamInfor@@": {"a": {"OriginShape": (2, 3), "slices": ["a@@.0", "a@@.1"]}},
        "StructuredToParameterName@@": {"a": "linear_0.w_0"},
    }
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps(content, 2))
    found = read_pdparams(tmp_path / "w.pdparams")
    np.testing.assert_array_equal(found["a"], np.arange(6, dtype=np.float32).reshape(2, 3))
    assert list(found) == ["a"]


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return {name: t.numpy() for name, t in build_model("PP-YOLOE_seg-N", 4).state_dict().items()}


def test_another_class_count_skips_the_classifier_and_says_which(arrays: dict[str, np.ndarray]) -> None:
    model = build_model("PP-YOLOE_seg-N", 7)
    with pytest.raises(
        WeightsError,
        match=r"6 tensors have another shape.*pred_cls\.0\.weight: expected \[7, 192, 3, 3\], found \[4, ",
    ):
        load_weights(model, arrays, source="w.pdparams")
    report = load_weights(model, arrays, source="w.pdparams", any_classes=True, strict=False)
    assert len(report.skipped_classifier) == 6
    assert all("pred_cls" in name for name in report.skipped_classifier)
    np.testing.assert_array_equal(
        model.backbone.stem.conv1.conv.weight.numpy(), arrays["backbone.stem.conv1.conv.weight"]
    )
    assert "6 of another class count (4) start anew: yolo_head.pred_cls.0.weight" in report.summary()


def test_missing_and_unexpected_names_are_listed(arrays: dict[str, np.ndarray]) -> None:
    model = build_model("PP-YOLOE_seg-N", 4)
    before = model.state_dict()["neck.fpn_routes.0.conv.weight"].numpy().copy()
    changed = dict(arrays)
    del changed["yolo_head.proto.upsample.bias"]
    changed["extra.weight"] = np.ones(3, np.float32)
    with pytest.raises(
        WeightsError,
        match=r"1 missing in the file: yolo_head\.proto\.upsample\.bias; 1 not of this model: extra\.weight",
    ):
        load_weights(model, changed, source="w.pdparams")
    np.testing.assert_array_equal(model.state_dict()["neck.fpn_routes.0.conv.weight"].numpy(), before)


def test_a_wrong_shape_leaves_the_model_unchanged(arrays: dict[str, np.ndarray]) -> None:
    model = build_model("PP-YOLOE_seg-N", 4)
    before = model.backbone.stem.conv1.conv.weight.numpy().copy()
    changed = dict(arrays) | {"yolo_head.proto.upsample.bias": np.ones(3, np.float32)}
    with pytest.raises(WeightsError, match=r"upsample\.bias: expected \[64\], found \[3\]"):
        load_weights(model, changed, source="w.pdparams")
    np.testing.assert_array_equal(model.backbone.stem.conv1.conv.weight.numpy(), before)


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(WeightsError, match="holds none of the model's"):
        load_weights(build_model("PP-YOLOE_seg-N", 4), {"conv1.weight": np.ones(3, np.float32)}, source="w.pdparams")


class Tensors(paddle.nn.Layer):
    """A model of nothing but tensors, by their full names."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], num_classes: int = 80) -> None:
        super().__init__()
        self.num_classes = num_classes
        for name, shape in shapes.items():
            layer: paddle.nn.Layer = self
            *path, last = name.split(".")
            for part in path:
                if part not in layer._sub_layers:
                    layer.add_sublayer(part, paddle.nn.Layer())
                layer = layer._sub_layers[part]
            layer.add_parameter(last, layer.create_parameter(list(shape), default_initializer=_ZEROS))


_ZEROS = paddle.nn.initializer.Constant(0.0)


def test_a_backbone_alone_loads_into_the_backbone() -> None:
    model = Tensors({
        "backbone.conv1.weight": (4, 3),
        "backbone.res2.weight": (2,),
        "neck.conv.weight": (5,),
        "head.fc.weight": (6,),
    })  # fmt: skip
    arrays = {
        "conv1.weight": np.ones((4, 3), np.float32),
        "res2.weight": np.ones(2, np.float32),
        "fc.weight": np.ones(6, np.float32),
        "fc.bias": np.ones(6, np.float32),
    }
    with pytest.raises(WeightsError, match=r"2 missing in the file: neck\.conv\.weight, head\.fc\.weight"):
        load_weights(model, arrays, source="w.pdparams")
    assert not model.state_dict()["backbone.conv1.weight"].numpy().any()
    report = load_weights(model, arrays, source="w.pdparams", strict=False, any_classes=True)
    assert report.loaded == report.renamed == ["backbone.conv1.weight", "backbone.res2.weight"]
    assert report.missing == ["neck.conv.weight", "head.fc.weight"]
    assert report.unexpected == ["fc.weight", "fc.bias"]
    assert "2 tensors loaded, 2 of them from the names of a backbone alone; 2 missing" in report.summary()
    state = model.state_dict()
    assert state["backbone.conv1.weight"].numpy().all()
    assert not state["head.fc.weight"].numpy().any()


def test_the_full_name_comes_before_the_backbone_alone() -> None:
    model = Tensors({"backbone.conv1.weight": (2,)})
    arrays = {"conv1.weight": np.zeros(2, np.float32), "backbone.conv1.weight": np.ones(2, np.float32)}
    report = load_weights(model, arrays, source="w.pdparams")
    assert report.renamed == []
    assert report.unexpected == ["conv1.weight"]
    assert model.state_dict()["backbone.conv1.weight"].numpy().all()


@pytest.mark.parametrize("name", ["res5.res5a.weight", "backbone.res5.res5a.weight"])
def test_res5_of_a_c4_model_is_in_its_head(name: str) -> None:
    model = Tensors({"backbone.res4.weight": (2,), "bbox_head.head.res5.res5a.weight": (3,)})
    report = load_weights(model, {name: np.ones(3, np.float32)}, source="w.pdparams", strict=False)
    assert report.loaded == report.renamed == ["bbox_head.head.res5.res5a.weight"]
    assert report.unexpected == []


def test_a_backbone_of_another_width_is_refused() -> None:
    model = Tensors({"backbone.conv1.weight": (4, 3), "backbone.res2.weight": (2,)})
    arrays = {"conv1.weight": np.ones((8, 3), np.float32), "res2.weight": np.ones(2, np.float32)}
    with pytest.raises(WeightsError, match=r"backbone\.conv1\.weight: expected \[4, 3\], found \[8, 3\]"):
        load_weights(model, arrays, source="w.pdparams", strict=False, any_classes=True)


def test_a_tensor_of_two_names_may_come_under_either() -> None:
    model = Tensors({"a.weight": (2,)})
    model.add_sublayer("b", model._sub_layers["a"])
    assert list(model.state_dict()) == ["a.weight", "b.weight"]
    for name in ("a.weight", "b.weight"):
        assert load_weights(model, {name: np.ones(2, np.float32)}, source="w.pdparams").loaded == [name]


CLASSIFIERS = {
    "PP-YOLOE_seg-S": r"yolo_head\.pred_cls\.\d\.",
    "SOLOv2": r"solov2_head\.(bbox_head\.)?solo_cate\.",
    "MaskRCNN-ResNet50": r"bbox_head\.bbox_(score|delta)\.|mask_head\.mask_fcn_logits\.",
    "MaskRCNN-ResNet50-FPN": r"bbox_head\.bbox_(score|delta)\.|mask_head\.mask_fcn_logits\.",
    "Cascade-MaskRCNN-ResNet50-FPN": r"bbox_head\.bbox_score_stage\d\.|mask_head\.mask_fcn_logits\.",
    "Mask-RT-DETR-S": r"transformer\.(denoising_class_embed|score_head)\.",
}


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("classes", [1, 3, 256])
def test_classifiers_of_every_family(shared: Path, name: str, classes: int) -> None:
    """Exactly the layers of the manifest that know the class count are skipped, whatever it is in the file."""
    manifest = json.loads((shared / "reference" / "models" / f"{name}.manifest.json").read_text())["state"]
    heads = [e for e in manifest if not e["name"].startswith(("backbone.", "neck."))]
    shapes = {e["name"]: tuple(e["shape"]) for e in heads}
    of_another_count = {80: classes, 81: classes + 1, 320: 4 * classes}
    arrays, expected = {}, []
    for tensor, shape in shapes.items():
        found = shape
        if re.match(CLASSIFIERS[name], tensor):
            found = tuple(of_another_count.get(side, side) for side in shape)
            expected.append(tensor)
        arrays[tensor] = np.broadcast_to(np.float32(1), found)
    with paddle.LazyGuard():
        model = Tensors(shapes)
    with pytest.raises(WeightsError, match=f"{len(expected)} tensors have another shape"):
        load_weights(model, arrays, source="w.pdparams")
    pairs = {tensor: (shapes[tensor], arrays[tensor].shape) for tensor in expected}
    assert all(ours != theirs for ours, theirs in pairs.values())
    assert other_class_count(pairs.values(), 80) == classes


@pytest.mark.parametrize(
    "shapes",
    [
        [((80, 256), (3, 256)), ((81,), (3,))],  # 3 classes and 2
        [((80, 256), (3, 128))],  # two sides
        [((80, 256), (80, 128))],  # another side
        [((80,), (3, 1))],
        [((80,), (3,)), ((64, 3), (32, 3))],  # one explained, one not
        [((320,), (10,))],
    ],
)
def test_no_class_count_explains_the_shapes(shapes: list[tuple[tuple[int, ...], tuple[int, ...]]]) -> None:
    assert other_class_count(shapes, 80) is None
