"""`.pdparams` files: what is read, what is refused, and how names are matched."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.errors import WeightsError
from instseg_trainer.models import build_model
from instseg_trainer.weights import load_weights, read_pdparams, write_pdparams


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
    assert "6 of another class count start anew: yolo_head.pred_cls.0.weight" in report.summary()


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
