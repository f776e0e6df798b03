"""How the outputs of a graph are compared with Paddle's."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_export.errors import ExportError
from instseg_export.output_errors import (
    errors_beside_flips,
    errors_of_matched_rows,
    largest_errors,
    relative_error,
)


def test_relative_error() -> None:
    assert relative_error(np.float32([1.0, 2.1]), np.float32([1.0, 2.0])) == pytest.approx(0.05, rel=1e-5)
    assert relative_error(np.zeros(3, np.float32), np.zeros(3, np.float32)) == 0


def test_each_output_has_its_scale() -> None:
    expected = {"a": np.float32([100.0, 1.0]), "b": np.float32([1.0])}
    actual = {"a": np.float32([100.0, 2.0]), "b": np.float32([1.5])}
    assert largest_errors(actual, expected) == pytest.approx({"a": 0.01, "b": 0.5})


PER_ROW = ("logits", "boxes")


def outputs_and_permutation() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Outputs of two images with 40 rows, and the same with the rows in another order."""
    rng = np.random.default_rng(5)
    outputs = {
        "logits": rng.normal(size=(2, 40, 3)).astype(np.float32),
        "boxes": rng.uniform(size=(2, 40, 4)).astype(np.float32),
        "features": rng.normal(size=(2, 5)).astype(np.float32),
    }
    order = np.argsort(rng.uniform(size=(2, 40)), axis=1)
    permuted = {name: np.stack([outputs[name][image][order[image]] for image in range(2)]) for name in PER_ROW}
    return outputs, {**permuted, "features": outputs["features"]}


def test_order_of_rows_does_not_count() -> None:
    expected, actual = outputs_and_permutation()
    assert set(errors_of_matched_rows(actual, expected, PER_ROW).values()) == {0.0}


def test_a_wrong_value_of_a_row_counts() -> None:
    expected, actual = outputs_and_permutation()
    actual["boxes"] = actual["boxes"] + np.float32(0.01)
    actual["features"] = actual["features"] * np.float32(1.5)
    errors = errors_of_matched_rows(actual, expected, PER_ROW)
    assert errors["logits"] == 0
    assert errors["boxes"] == pytest.approx(0.01 / expected["boxes"].max(), rel=1e-3)
    assert errors["features"] == pytest.approx(0.5)


def test_one_row_without_counterpart_is_left_out() -> None:
    expected, actual = outputs_and_permutation()
    actual["logits"][1, 7] = 9
    assert set(errors_of_matched_rows(actual, expected, PER_ROW).values()) == {0.0}


def test_many_rows_without_counterpart_are_an_error() -> None:
    expected, actual = outputs_and_permutation()
    actual["logits"][:, :5] = 9
    with pytest.raises(ExportError, match="only 70 of 80 rows of logits have a counterpart"):
        errors_of_matched_rows(actual, expected, PER_ROW)


def test_flips_are_left_out_unless_many() -> None:
    rng = np.random.default_rng(6)
    scores = rng.uniform(0.1, 1, size=(1, 5000)).astype(np.float32)
    actual = scores.copy()
    actual[0, 3] = 0
    assert errors_beside_flips({"scores": actual}, {"scores": scores}, "scores") == {"scores": 0.0}
    actual[0, 4] += 0.5
    assert errors_beside_flips({"scores": actual}, {"scores": scores}, "scores")["scores"] > 0.4
    actual[0, :50] = 0
    with pytest.raises(ExportError, match="50 of 5000 values of scores are 0 on one side"):
        errors_beside_flips({"scores": actual}, {"scores": scores}, "scores")
