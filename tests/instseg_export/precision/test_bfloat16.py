"""The float32 graph that rounds as bfloat16 does."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

from instseg_export.precision.bfloat16 import bfloat16_graph, to_bfloat16
from tests.instseg_export.precision.graphs import graph, run

VALUES = np.asarray([[1.0, 1.00390625, 1.01171875, -3.14159265, 1e-20, 255.6, 0.0]], np.float32)


def test_rounding_keeps_eight_bits_halves_to_even() -> None:
    expected = np.asarray([[1.0, 1.0, 1.015625, -3.140625, 1e-20, 256.0, 0.0]], np.float32)
    found = to_bfloat16(VALUES)
    assert found == pytest.approx(expected, rel=2**-9)
    np.testing.assert_array_equal(found[0, [0, 1, 2, 3, 5, 6]], expected[0, [0, 1, 2, 3, 5, 6]])
    np.testing.assert_array_equal(to_bfloat16(found), found)


def test_inputs_weights_and_results_before_the_last_product_are_rounded() -> None:
    weights = np.eye(7, dtype=np.float32) * np.float32(1.3)
    nodes = [
        helper.make_node("Mul", ["x", "third"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "weights"], ["product"]),
        helper.make_node("Add", ["product", "third"], ["y"]),
    ]
    third = np.asarray([1 / 3], np.float32)
    model = graph(nodes, {"x": [1, 7]}, {"y": [1, 7]}, {"third": third, "weights": weights})
    (found,) = run(bfloat16_graph(model), x=VALUES)
    scaled = to_bfloat16(to_bfloat16(VALUES) * third)
    # The sum after the product is exact, as is its constant.
    expected = to_bfloat16(scaled @ to_bfloat16(weights)) + third
    np.testing.assert_array_equal(found, expected)
    assert (found != run(model, x=VALUES)[0]).any()


def test_what_makes_indices_is_exact() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["position"]),
        helper.make_node("Cast", ["position"], ["index"], to=7),
        helper.make_node("Cast", ["index"], ["float"], to=1),
        helper.make_node("MatMul", ["float", "weights"], ["y"]),
    ]
    constants = {"scale": np.asarray([257.0], np.float32), "weights": np.eye(1, dtype=np.float32)}
    model = graph(nodes, {"x": [1, 1]}, {"y": [1, 1]}, constants)
    exact = bfloat16_graph(model)
    casts = [node for node in exact.graph.node if node.op_type == "Cast" and node.input[0] == "position"]
    assert len(casts) == 1, "the position is not rounded before it becomes an index"
    (found,) = run(exact, x=np.asarray([[1.0]], np.float32))
    assert found[0, 0] == to_bfloat16(np.asarray([257.0], np.float32))[0]
