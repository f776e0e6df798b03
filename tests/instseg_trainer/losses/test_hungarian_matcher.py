"""The assignment of least cost, and what the matcher makes of predictions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.losses.hungarian_matcher import HungarianMatcher, cheapest_assignment
from instseg_trainer.losses.query_targets import QueryTargets
from instseg_trainer.models.mask_rtdetr_decoder import QueryPredictions


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (3, 3), (2, 6), (6, 3), (4, 5)])
def test_no_permutation_is_cheaper(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape[0] * 10 + shape[1])
    for _ in range(20):
        # Whole numbers of a small range bring ties, negative ones and zeros.
        cost = rng.integers(-3, 4, shape).astype(np.float32)
        pairs = cheapest_assignment(cost)
        rows, columns = zip(*pairs, strict=True)
        assert list(rows) == sorted(set(rows))
        assert len(pairs) == len(set(columns)) == min(shape)
        small = cost if shape[0] <= shape[1] else cost.T
        best = min(
            sum(small[row, column] for row, column in enumerate(order))
            for order in itertools.permutations(range(small.shape[1]), small.shape[0])
        )
        assert sum(cost[row, column] for row, column in pairs) == best


def test_equal_to_scipy_where_it_is_there() -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="scipy is no dependency")
    rng = np.random.default_rng(0)
    for rows, columns in ((300, 7), (300, 60), (40, 300), (300, 300)):
        cost = rng.normal(size=(rows, columns)).astype(np.float32)
        expected = list(zip(*(index.tolist() for index in optimize.linear_sum_assignment(cost)), strict=True))
        assert cheapest_assignment(cost) == expected


def test_nothing_to_assign() -> None:
    assert cheapest_assignment(np.zeros((5, 0), np.float32)) == []


def test_costs_that_are_not_finite() -> None:
    with pytest.raises(ValueError, match="diverged"):
        cheapest_assignment(np.array([[0.0, np.nan]], np.float32))


def test_every_object_gets_the_query_that_describes_it() -> None:
    masks = np.zeros((3, 32, 32), np.float32)
    masks[0, 4:12, 4:20] = masks[1, 16:30, 2:10] = masks[2, 8:24, 8:24] = 1
    boxes = np.array([[12, 8, 16, 8], [6, 23, 8, 14], [16, 16, 16, 16]], np.float32) / 32
    # The third object is the only one of the last image; the image before it has none.
    targets = QueryTargets([2, 0, 1], paddle.to_tensor([1, 0, 1]), paddle.to_tensor(boxes), paddle.to_tensor(masks))
    shown = [{3: 0, 1: 1}, {}, {2: 2}]  # per image: query -> object
    logits = np.full((3, 5, 2), -3.0, np.float32)
    found = np.full((3, 5, 4), 0.3, np.float32)
    embeddings = np.zeros((3, 5, 3), np.float32)
    for image, queries in enumerate(shown):
        for query, item in queries.items():
            logits[image, query, int(targets.class_ids[item])] = 2.0
            found[image, query] = boxes[item]
            embeddings[image, query, item] = 1.0
    predictions = QueryPredictions(*(paddle.to_tensor(x) for x in (logits, found, embeddings)))
    features = paddle.to_tensor(np.tile(masks[:, ::4, ::4] * 8 - 4, (3, 1, 1, 1)))
    matches = HungarianMatcher(points=500)(predictions, features, targets, paddle.rand)
    assert matches.counts == [2, 0, 1]
    rows = list(zip(matches.image.tolist(), matches.query.tolist(), matches.target.tolist(), strict=True))
    assert rows == [(0, 1, 1), (0, 3, 0), (2, 2, 2)]


def test_no_object_at_all() -> None:
    targets = QueryTargets([0, 0], paddle.zeros([0], "int64"), paddle.zeros([0, 4]), paddle.zeros([0, 8, 8]))
    predictions = QueryPredictions(paddle.zeros([2, 5, 2]), paddle.rand([2, 5, 4]), paddle.zeros([2, 5, 3]))
    matches = HungarianMatcher()(predictions, paddle.zeros([2, 3, 2, 2]), targets, paddle.rand)
    assert matches.counts == [0, 0]
    assert matches.total == 0
