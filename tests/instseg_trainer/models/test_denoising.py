"""Denoising queries: who is in them, how noisy they are, who sees them."""

from __future__ import annotations

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.losses.query_targets import QueryTargets
from instseg_trainer.models.denoising import DenoisingQueries, DenoisingSettings, make_denoising_queries

CLASSES = 10


def targets_of(counts: list[int]) -> QueryTargets:
    total = sum(counts)
    rng = np.random.default_rng(0)
    boxes = rng.uniform(0.2, 0.6, (total, 4)).astype(np.float32)
    return QueryTargets(
        counts,
        paddle.to_tensor(rng.integers(0, CLASSES, total)),
        paddle.to_tensor(boxes),
        paddle.zeros([total, 4, 4]),
    )


def made(counts: list[int], settings: DenoisingSettings | None = None) -> tuple[QueryTargets, DenoisingQueries]:
    targets = targets_of(counts)
    queries = make_denoising_queries(targets, CLASSES, settings or DenoisingSettings(), paddle.rand)
    assert queries is not None
    return targets, queries


@pytest.mark.parametrize(("counts", "settings"), [([0, 0], DenoisingSettings()), ([2], DenoisingSettings(queries=0))])
def test_none(counts: list[int], settings: DenoisingSettings) -> None:
    assert make_denoising_queries(targets_of(counts), CLASSES, settings, paddle.rand) is None


def test_groups_show_every_object_once() -> None:
    targets, queries = made([3, 1, 0], DenoisingSettings(queries=10, label_noise=0.0, box_noise=0.0))
    assert (queries.groups, queries.group_size, queries.count) == (3, 3, 9)
    own = targets.class_ids.numpy()
    np.testing.assert_array_equal(queries.class_ids[0].numpy(), np.tile(own[:3], 3))
    np.testing.assert_array_equal(queries.class_ids[1].numpy(), np.tile([own[3], CLASSES, CLASSES], 3))
    assert (queries.class_ids[2].numpy() == CLASSES).all()
    np.testing.assert_array_equal(queries.boxes[0, 3:6].numpy(), targets.boxes[:3].numpy())
    assert (queries.boxes[2].numpy() == 0).all()
    matches = queries.matches
    assert matches.counts == [9, 3, 0]
    np.testing.assert_array_equal(matches.query.numpy(), [*range(9), 0, 3, 6])
    np.testing.assert_array_equal(matches.target.numpy(), [*[0, 1, 2] * 3, 3, 3, 3])


def test_one_group_at_least() -> None:
    _, queries = made([12], DenoisingSettings(queries=10))
    assert (queries.groups, queries.count) == (1, 12)


def test_noise_has_the_distribution_it_is_meant_to_have() -> None:
    paddle.seed(7)
    targets, queries = made([4, 4, 0], DenoisingSettings(queries=40000))
    own = np.tile(targets.class_ids.numpy().reshape(2, 4), (1, 10000))
    found = queries.class_ids[:2].numpy()
    assert (found < CLASSES).all()
    # A quarter is drawn anew, a tenth of these again as what they were.
    assert (found != own).mean() == pytest.approx(0.25 * 0.9, abs=0.01)
    drawn = np.bincount(found[found != own], minlength=CLASSES) / (found != own).sum()
    assert (drawn > 0.05).all()
    assert (queries.class_ids[2].numpy() == CLASSES).all()
    boxes = np.tile(targets.boxes.numpy().reshape(2, 4, 4), (1, 10000, 1))
    moved = queries.boxes[:2].numpy() - boxes
    share = moved / np.concatenate([boxes[..., 2:] / 2, boxes[..., 2:]], axis=-1)
    assert np.abs(share).max() <= 1 + 1e-5
    # Uniform in -1..1 for each coordinate: mean 0, standard deviation 1 / sqrt(3), independent of each other.
    assert np.abs(share.mean((0, 1))).max() < 0.01
    np.testing.assert_allclose(share.reshape(-1, 4).std(0), 3**-0.5, atol=0.01)
    assert np.abs(np.corrcoef(share.reshape(-1, 4).T) - np.eye(4)).max() < 0.02


def test_largest_draw_is_still_a_class() -> None:
    almost_one = np.float32(1 - 2**-24)
    targets = targets_of([3])
    queries = make_denoising_queries(
        targets,
        100003,
        DenoisingSettings(queries=3, label_noise=2.0),
        lambda shape: paddle.full(shape, float(almost_one)),
    )
    assert queries is not None
    assert (queries.class_ids.numpy() == 100002).all()


def test_only_the_own_group_sees_denoising_queries() -> None:
    _, queries = made([2, 1], DenoisingSettings(queries=6))
    bias = queries.attention_bias(4).numpy()
    assert bias.shape == (10, 10)
    for looking in range(10):
        for seen in range(10):
            visible = seen >= 6 or (looking < 6 and looking // 2 == seen // 2)
            assert bias[looking, seen] == (0 if visible else -np.inf), (looking, seen)
