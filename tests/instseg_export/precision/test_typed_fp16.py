"""A float32 graph -> a typed float16 one."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

pytest.importorskip("onnxruntime", reason="needs the [export] extra")

from instseg_export.errors import ExportError
from instseg_export.precision.islands import Island
from instseg_export.precision.rounded import rounded_graph
from instseg_export.precision.typed_fp16 import to_typed_fp16
from tests.instseg_export.precision.graphs import graph, product_types, run, type_of

node = helper.make_node
random = np.random.default_rng(0)
CONV_WEIGHT = random.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32)
IMAGE = random.normal(size=(2, 3, 16, 20)).astype(np.float32)


def island(**selectors: object) -> Island:
    return Island("test", "", "", **selectors)  # type: ignore[arg-type]


def conv_graph(*tail: onnx.NodeProto, constants: dict[str, np.ndarray] | None = None) -> onnx.ModelProto:
    """A convolution x -> c, and what comes after, to y."""
    nodes = [node("Conv", ["x", "w"], ["c"], pads=[1] * 4), *tail]
    shape = ["n", 8, "h", "w_"]
    return graph(nodes, {"x": ["n", 3, "h", "w_"]}, {"y": shape}, {"w": CONV_WEIGHT, **(constants or {})})


def test_inputs_and_outputs_stay_float32() -> None:
    typed = to_typed_fp16(conv_graph(node("Relu", ["c"], ["y"])), [])
    assert type_of(typed.model, "x") == type_of(typed.model, "y") == "FLOAT"
    assert product_types(typed.model) == ["FLOAT16"]
    assert (typed.half_nodes, typed.float_nodes) == (2, {})
    y = run(typed.model, x=IMAGE)[0]
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, run(conv_graph(node("Relu", ["c"], ["y"])), x=IMAGE)[0], atol=5e-3)


def test_an_output_that_is_read_inside_stays_float16_there() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["y"], pads=[1] * 4),
        node("Relu", ["y"], ["r"]),
        node("Conv", ["r", "v"], ["z"]),
    ]
    constants = {"w": CONV_WEIGHT, "v": random.normal(size=(2, 8, 1, 1)).astype(np.float32)}
    outputs = {"y": ["n", 8, 16, 20], "z": ["n", 2, 16, 20]}
    typed = to_typed_fp16(graph(nodes, {"x": ["n", 3, 16, 20]}, outputs, constants), []).model
    assert type_of(typed, "y") == type_of(typed, "z") == "FLOAT"
    assert type_of(typed, "r") == "FLOAT16"
    assert [value.name for value in typed.graph.output] == ["y", "z"]
    assert [array.dtype for array in run(typed, x=IMAGE)] == [np.float32] * 2


def test_scales_of_a_resize_stay_float32() -> None:
    model = conv_graph(
        node("Resize", ["c", "", "scales"], ["y"], mode="linear"),
        constants={"scales": np.array([1, 1, 2, 2], np.float32)},
    )
    typed = to_typed_fp16(model, []).model
    types = {tensor.name: tensor.data_type for tensor in typed.graph.initializer}
    assert types["scales"] == TensorProto.FLOAT
    assert types["w_fp16"] == TensorProto.FLOAT16
    assert run(typed, x=IMAGE)[0].shape == (2, 8, 32, 40)


def test_casts_and_constants_of_shape_take_the_new_type() -> None:
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.5])
    model = conv_graph(
        node("Shape", ["c"], ["s"]),
        node("ConstantOfShape", ["s"], ["half"], value=value),
        node("Greater", ["c", "zero"], ["g"]),
        node("Cast", ["g"], ["positive"], to=TensorProto.FLOAT),
        node("Mul", ["positive", "half"], ["y"]),
        constants={"zero": np.array(0, np.float32)},
    )
    typed = to_typed_fp16(model, []).model
    assert type_of(typed, "positive") == type_of(typed, "half") == "FLOAT16"
    found, expected = run(typed, x=IMAGE)[0], run(model, x=IMAGE)[0]
    assert set(np.unique(found)) == {0.0, 0.5}
    assert np.mean(found == expected) > 0.99  # a sum near 0 may have the other sign


def test_an_index_is_computed_in_float32() -> None:
    """2049.0 + 0.5 is no float16."""
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("Add", ["r", "offset"], ["position"]),
        node("Floor", ["position"], ["whole"]),
        node("Cast", ["whole"], ["index"], to=TensorProto.INT64),
        node("Sub", ["position", "whole"], ["part"]),
        node("Gather", ["table", "index"], ["found"], axis=0),
        node("Mul", ["found", "part"], ["y"]),
    ]
    table = np.arange(4000, dtype=np.float32) % 7
    constants = {"offset": np.array(2049.5, np.float32), "table": table}
    model = graph(nodes, {"x": ["n"]}, {"y": ["n"]}, constants)
    x = np.array([0.0, 1.0, 2.0, 5.0], np.float32)
    typed = to_typed_fp16(model, [island(indices=True)])
    assert type_of(typed.model, "position") == type_of(typed.model, "part") == "FLOAT"
    assert typed.float_nodes == {"test": 4}
    expected = run(model, x=x)[0]
    assert np.array_equal(run(rounded_graph(typed.model), x=x)[0], expected)
    assert not np.array_equal(run(rounded_graph(to_typed_fp16(model, []).model), x=x)[0], expected)


def test_what_counts_is_float32_from_its_limits_on() -> None:
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Cast", ["shape"], ["sizes"], to=TensorProto.FLOAT),
        node("Squeeze", ["sizes"], ["size"]),
        node("Range", ["zero", "size", "one"], ["count"]),
        node("Div", ["count", "size"], ["part"]),
        node("Mul", ["x", "part"], ["y"]),
    ]
    constants = {"zero": np.array(0, np.float32), "one": np.array(1, np.float32)}
    model = graph(nodes, {"x": ["n"]}, {"y": ["n"]}, constants)
    typed = to_typed_fp16(model, [island(indices=True)]).model
    assert {type_of(typed, name) for name in ("sizes", "size", "count", "part")} == {"FLOAT"}
    x = np.linspace(0, 1, 3000, dtype=np.float32)
    np.testing.assert_allclose(run(rounded_graph(typed), x=x)[0], run(model, x=x)[0], atol=1e-3)
    # Without the island the limit is rounded: 3001 is no float16.
    with pytest.raises(Exception, match="3000"):
        run(rounded_graph(to_typed_fp16(model, []).model), x=np.linspace(0, 1, 3001, dtype=np.float32))


def test_values_that_are_compared_are_rounded_on_both_sides_or_on_none() -> None:
    model = conv_graph(
        node("Sigmoid", ["c"], ["s"]),
        node("MaxPool", ["s"], ["m"], kernel_shape=[3, 3], pads=[1] * 4),
        node("Equal", ["s", "m"], ["e"]),
        node("Cast", ["e"], ["keep"], to=TensorProto.FLOAT),
        node("Mul", ["s", "keep"], ["y"]),
    )
    expected = run(model, x=IMAGE)[0]
    for islands in ([], [island(outputs=("y",))], [island(outputs=("y",), convolutions=1)]):
        found = run(rounded_graph(to_typed_fp16(model, islands).model), x=IMAGE)[0]
        assert 0.9 * (expected > 0).sum() < (found > 0).sum() < 1.5 * (expected > 0).sum()
    assert np.array_equal(found > 0, expected > 0)


def test_an_island_before_an_output_holds_as_many_convolutions_as_it_says() -> None:
    nodes = [
        node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "v"], ["c"]),
        node("Sigmoid", ["c"], ["y"]),
    ]
    constants = {"w": CONV_WEIGHT, "v": random.normal(size=(2, 8, 1, 1)).astype(np.float32)}
    model = graph(nodes, {"x": ["n", 3, 16, 20]}, {"y": ["n", 2, 16, 20]}, constants)
    types = [
        product_types(to_typed_fp16(model, [island(outputs=("y",), convolutions=count)]).model) for count in range(3)
    ]
    assert types == [["FLOAT16", "FLOAT16"], ["FLOAT16", "FLOAT"], ["FLOAT", "FLOAT"]]


def test_matrix_products_are_in_no_island_before_an_output() -> None:
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Sigmoid", ["m"], ["y"])]
    model = graph(nodes, {"x": ["n", 4]}, {"y": ["n", 4]}, {"w": np.eye(4, dtype=np.float32)})
    assert product_types(to_typed_fp16(model, [island(outputs=("y",), convolutions=5)]).model) == ["FLOAT16"]


@pytest.mark.parametrize(("value", "said"), [(1e6, "constant k reaches 1e+06"), (1e-9, "constant k has 1e-09")])
def test_a_constant_that_float16_cannot_hold_keeps_its_node_in_float32(value: float, said: str) -> None:
    model = conv_graph(node("Mul", ["c", "k"], ["y"]), constants={"k": np.array(value, np.float32)})
    typed = to_typed_fp16(model, [])
    assert typed.float_nodes == {said: 1}
    np.testing.assert_allclose(run(typed.model, x=IMAGE)[0], run(model, x=IMAGE)[0], atol=5e-3 * value)


def test_weights_that_float16_would_lose_stay_float32() -> None:
    model = conv_graph(node("Relu", ["c"], ["y"]))
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(CONV_WEIGHT * np.float32(1e-6), "w"))
    assert product_types(to_typed_fp16(model, []).model) == ["FLOAT"]


def test_a_tensor_that_was_seen_beyond_the_range_stays_float32() -> None:
    typed = to_typed_fp16(conv_graph(node("Relu", ["c"], ["y"])), [], {"c": 40000.0})
    assert typed.float_nodes == {"c reaches 4e+04": 2}


def test_weights_that_are_stored_as_float16_are_taken_as_they_are() -> None:
    nodes = [
        node("Cast", ["w_half"], ["w"], to=TensorProto.FLOAT),
        node("Conv", ["x", "w"], ["y"], pads=[1] * 4),
    ]
    constants = {"w_half": CONV_WEIGHT.astype(np.float16)}
    model = graph(nodes, {"x": ["n", 3, 16, 20]}, {"y": ["n", 8, 16, 20]}, constants)
    typed = to_typed_fp16(model, []).model
    assert product_types(typed) == ["FLOAT16"]
    assert [n.op_type for n in typed.graph.node] == ["Cast", "Conv", "Cast"]


def test_a_float16_graph_is_refused() -> None:
    typed = to_typed_fp16(conv_graph(node("Relu", ["c"], ["y"])), []).model
    with pytest.raises(ExportError, match="expected a float32 graph"):
        to_typed_fp16(typed, [])


def test_rounded_graph_rounds_every_result() -> None:
    """The typed graph itself is run without the roundings in between: see `rounded`."""
    nodes, weights = [], {}
    for index in range(4):
        weights[f"w{index}"] = random.normal(0, 1 / 8, (64, 64)).astype(np.float16).astype(np.float32)
        nodes.append(node("MatMul", [f"x{index}", f"w{index}"], [f"x{index + 1}"]))
    x = random.normal(size=(5, 64)).astype(np.float32)
    model = graph(nodes, {"x0": ["n", 64]}, {"x4": ["n", 64]}, weights)
    expected = x.astype(np.float16).astype(np.float32)
    for weight in weights.values():
        expected = (expected @ weight).astype(np.float16).astype(np.float32)
    found = run(rounded_graph(to_typed_fp16(model, []).model), x0=x)[0]
    assert np.mean(found == expected) > 0.95  # sums in another order may fall on the other side


def test_rounded_graph_shows_overflow() -> None:
    model = conv_graph(node("Relu", ["c"], ["y"]))
    typed = to_typed_fp16(model, []).model
    assert np.isfinite(run(rounded_graph(typed), x=IMAGE)[0]).all()
    assert not np.isfinite(run(rounded_graph(typed), x=IMAGE * 1e5)[0]).all()
