"""Parts of the R-CNN models: boxes, anchors, matching, sampling, targets, RoIAlign, losses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")
mask_tools = pytest.importorskip("pycocotools.mask")

from instseg_trainer.assigners.anchor_assigner import AnchorAssigner, AnchorTargets
from instseg_trainer.assigners.box_assigner import BoxAssigner, RoITargets
from instseg_trainer.assigners.box_matching import IGNORED, NEGATIVE, POSITIVE, BalancedSampler, match_boxes
from instseg_trainer.assigners.image_objects import ImageObjects, split_objects
from instseg_trainer.assigners.mask_targets import draw_mask_targets
from instseg_trainer.boxes import clip_boxes, decode_boxes, encode_boxes, has_area
from instseg_trainer.data.segmentation import Segmentation
from instseg_trainer.losses.rcnn_loss import box_loss, mask_loss, rpn_loss
from instseg_trainer.models.anchors import AnchorGenerator
from instseg_trainer.models.mask_paste import paste_masks
from instseg_trainer.models.roi_extractor import RoIExtractor
from instseg_trainer.targets import Targets


def tensor(values: object, dtype: str = "float32") -> paddle.Tensor:
    return paddle.to_tensor(np.asarray(values), dtype=dtype)


def objects_of(boxes: list[list[float]], class_ids: list[int]) -> ImageObjects:
    return ImageObjects(tensor(np.reshape(boxes, (-1, 4))), tensor(class_ids, "int64"))


def test_encoded_boxes_decode_to_their_targets() -> None:
    boxes, targets = tensor([[0, 0, 10, 20], [5, 5, 9, 11]]), tensor([[2, 1, 8, 30], [0, 0, 40, 3]])
    weights = (10.0, 10.0, 5.0, 5.0)
    deltas = encode_boxes(boxes, targets, weights)
    # Centre from (5, 10) to (5, 15.5), sides from (10, 20) to (6, 29).
    expected = [0.0, 10 * 5.5 / 20, 5 * np.log(0.6), 5 * np.log(1.45)]
    np.testing.assert_allclose(deltas.numpy()[0], expected, rtol=1e-6)
    np.testing.assert_allclose(decode_boxes(deltas, boxes, weights).numpy()[:, 0], targets.numpy(), atol=1e-5)


def test_decoded_boxes_of_several_classes_stay_apart_and_do_not_overflow() -> None:
    deltas = tensor([[0, 0, 0, 0, 1, 0, 100, 0]])
    boxes = decode_boxes(deltas, tensor([[10, 10, 20, 20]]), (1.0, 1.0, 1.0, 1.0)).numpy()
    np.testing.assert_allclose(boxes[0, 0], [10, 10, 20, 20])
    np.testing.assert_allclose(boxes[0, 1], [25 - 312.5, 10, 25 + 312.5, 20], rtol=1e-5)


def test_clipped_boxes_end_at_the_image() -> None:
    clipped = clip_boxes(tensor([[-5, 3, 50, 70], [60, 1, 70, 2]]), (40, 30))
    np.testing.assert_array_equal(clipped.numpy(), [[0, 3, 30, 40], [30, 1, 30, 2]])
    np.testing.assert_array_equal(has_area(clipped).numpy(), [True, False])


def test_anchors_go_row_by_row_with_the_ratios_innermost() -> None:
    generator = AnchorGenerator([[32, 64]], [16])
    (anchors,) = generator([(2, 3)])
    assert generator.num_anchors == 6
    assert anchors.shape == [36, 4]
    values = anchors.numpy()
    # 32 pixels in the ratio 0.5: width 45.25, height 22.63.
    np.testing.assert_allclose(values[0], [-22.6274, -11.3137, 22.6274, 11.3137], rtol=1e-5)
    np.testing.assert_allclose(values[4], [-32, -32, 32, 32])
    np.testing.assert_allclose(values[6] - values[0], [16, 0, 16, 0], atol=1e-5)
    np.testing.assert_allclose(values[18] - values[0], [0, 16, 0, 16], atol=1e-5)
    sides = values[:, 2:] - values[:, :2]
    np.testing.assert_allclose(sides.prod(axis=1).reshape(-1, 2, 3)[0], [[1024] * 3, [4096] * 3], rtol=1e-5)
    with pytest.raises(ValueError, match="anchor sizes"):
        AnchorGenerator([[32]], [16, 32])


def test_boxes_match_the_object_they_overlap_most() -> None:
    boxes = tensor([[0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4], [90, 90, 99, 99], [21, 20, 30, 30]])
    objects = tensor([[0, 0, 10, 10], [20, 20, 30, 30]])
    matches = match_boxes(boxes, objects, 0.5, 0.45)
    assert matches.labels.tolist() == [POSITIVE, POSITIVE, NEGATIVE, NEGATIVE, POSITIVE]
    assert matches.object_index.tolist() == [0, 0, 0, 0, 1]
    assert match_boxes(boxes, objects, 0.95, 0.45).labels.tolist() == [POSITIVE, IGNORED, NEGATIVE, NEGATIVE, IGNORED]
    best = match_boxes(boxes, objects, 0.95, 0.95, keep_best=True)
    assert best.labels.tolist() == [POSITIVE, NEGATIVE, NEGATIVE, NEGATIVE, POSITIVE]


def test_an_object_far_from_all_boxes_matches_none() -> None:
    matches = match_boxes(tensor([[0, 0, 5, 5]]), tensor([[50, 50, 60, 60]]), 0.7, 0.3, keep_best=True)
    assert matches.labels.tolist() == [NEGATIVE]


def test_without_objects_everything_is_negative() -> None:
    matches = match_boxes(tensor([[0, 0, 5, 5]] * 3), paddle.zeros([0, 4]), 0.7, 0.3, keep_best=True)
    assert matches.labels.tolist() == [NEGATIVE] * 3
    assert matches.object_index.tolist() == [0] * 3


def test_a_sampler_without_chance_takes_the_first() -> None:
    labels = tensor([0, 1, -1, 1, 0, 1, 0, 0], "int32")
    positive, negative = BalancedSampler(4, 0.5, random=False)(labels)
    assert positive.tolist() == [1, 3]
    assert negative.tolist() == [0, 4]
    # Negatives take the places that positives leave.
    positive, negative = BalancedSampler(6, 0.75, random=False)(labels)
    assert (positive.tolist(), negative.tolist()) == ([1, 3, 5], [0, 4, 6])
    positive, negative = BalancedSampler(100, 0.5, random=False)(labels)
    assert (len(positive), len(negative)) == (3, 4)


def test_a_random_sample_is_fair_and_balanced() -> None:
    paddle.seed(3)
    labels = np.full(60, IGNORED)
    labels[5:25], labels[30:58] = POSITIVE, NEGATIVE
    sampler, rounds = BalancedSampler(16, 0.25), 400
    counts = np.zeros(60)
    for _ in range(rounds):
        positive, negative = (chosen.numpy() for chosen in sampler(tensor(labels, "int32")))
        assert len(positive) == 4 and len(negative) == 12
        assert (labels[positive] == POSITIVE).all() and (labels[negative] == NEGATIVE).all()
        assert len(np.unique(positive)) == 4 and len(np.unique(negative)) == 12
        counts[positive] += 1
        counts[negative] += 1
    # Every candidate is drawn as often as the others: 4 / 20 and 12 / 28 of the rounds, within 6 standard deviations.
    for kind, share in ((POSITIVE, 4 / 20), (NEGATIVE, 12 / 28)):
        deviation = np.sqrt(rounds * share * (1 - share))
        assert np.abs(counts[labels == kind] - rounds * share).max() < 6 * deviation


def test_anchor_targets_count_through_the_batch() -> None:
    anchors = tensor([[0, 0, 10, 10], [40, 40, 50, 50], [0, 0, 10, 9]])
    images = [objects_of([], []), objects_of([[0, 0, 10, 10]], [4])]
    targets = AnchorAssigner(BalancedSampler(4, 0.5, random=False))(anchors, images)
    assert targets.positive.tolist() == [3, 5]
    assert targets.negative.tolist() == [0, 1, 2, 4]
    np.testing.assert_allclose(targets.deltas.numpy()[0], 0, atol=1e-6)
    np.testing.assert_allclose(targets.deltas.numpy()[1], [0, 0.5 / 9, 0, np.log(10 / 9)], rtol=1e-5)
    nothing = AnchorAssigner(BalancedSampler(4, 0.5))(anchors, images[:1])
    assert len(nothing.positive) == 0
    assert nothing.deltas.shape == [0, 4]


def test_sampled_boxes_know_their_objects() -> None:
    assigner = BoxAssigner(3, BalancedSampler(4, 0.5, random=False))
    proposals = [tensor([[50, 50, 60, 60], [0, 0, 10, 8]]), tensor([[1, 2, 3, 4]])]
    images = [objects_of([[0, 0, 10, 10], [30, 30, 40, 40]], [2, 1]), objects_of([], [])]
    targets = assigner.sample(proposals, images)
    assert targets.class_ids[0].tolist() == [2, 2, 3]
    assert targets.object_index[0].tolist()[:2] == [0, 0]
    # Positives first; the objects' own boxes are candidates.
    np.testing.assert_array_equal(targets.rois[0].numpy(), [[0, 0, 10, 8], [0, 0, 10, 10], [50, 50, 60, 60]])
    np.testing.assert_array_equal(targets.object_boxes[0].numpy()[0], [0, 0, 10, 10])
    assert targets.class_ids[1].tolist() == [3]
    assert [rows.tolist() for rows in targets.foreground(3)] == [[0, 1], []]


def test_matched_boxes_keep_their_order_and_a_stricter_threshold_drops_objects() -> None:
    assigner = BoxAssigner(3)
    images = [objects_of([[0, 0, 10, 10]], [1])]
    rois = [tensor([[50, 50, 60, 60], [0, 0, 10, 6.5]])]
    assert assigner.match(rois, images, 0.6).class_ids[0].tolist() == [3, 1]
    assert assigner.match(rois, images, 0.7).class_ids[0].tolist() == [3, 3]
    np.testing.assert_array_equal(assigner.match(rois, images, 0.7).rois[0].numpy(), rois[0].numpy())


def test_objects_of_a_batch_are_split_without_the_padding() -> None:
    boxes = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    shape = Segmentation(polygons=(np.zeros((3, 2)),))
    targets = Targets(
        tensor(boxes),
        tensor([[[1], [2], [0]], [[0], [0], [0]]], "int64"),
        paddle.zeros([2, 3, 1, 1], dtype="uint8"),
        tensor([[[1], [1], [0]], [[0], [0], [0]]]),
        segments=[[shape, shape], []],
    )
    first, second = split_objects(targets)
    np.testing.assert_array_equal(first.boxes.numpy(), boxes[0, :2])
    assert first.class_ids.tolist() == [1, 2]
    assert len(second) == 0 and second.boxes.shape == [0, 4]
    targets.segments = [[shape], []]
    with pytest.raises(ValueError, match="2 objects and 1 shapes"):
        split_objects(targets)


def test_polygons_are_stretched_into_the_box_and_drawn(star: Callable[..., np.ndarray]) -> None:
    rng = np.random.default_rng(5)
    parts = (star((60.0, 40.0), 25.0, 5, rng), star((100.0, 60.0), 12.0, 4, rng))
    rois = np.array([[35, 15, 120, 80], [50.5, 30.25, 70, 44], [0, 0, 200, 160], [60, 40, 60.05, 90]], np.float32)
    masks = draw_mask_targets([Segmentation(polygons=parts)], np.zeros(4, np.int64), rois, 28)
    for mask, (x1, y1, x2, y2) in zip(masks, rois.astype(np.float64)):
        scale = 28 / max(x2 - x1, 0.1), 28 / max(y2 - y1, 0.1)
        moved = [((part - (x1, y1)) * scale).ravel() for part in parts]
        expected = mask_tools.decode(mask_tools.merge(mask_tools.frPyObjects(moved, 28, 28)))
        np.testing.assert_array_equal(mask, expected)
    assert masks[0].any() and masks[1].any()


def test_polygons_are_not_moved_off_the_ties_of_the_drawing_grid() -> None:
    # 28 cells of 320 pixels: whole coordinates fall between two points of the grid, in float64 exactly.
    polygon = np.array([[40, 60], [150, 40], [190, 150], [120, 230], [50, 180]], np.float64)
    roi = np.array([0, 0, 202.76212, 320], np.float32)
    moved = polygon * (28 / float(roi[2]), 28 / 320)
    expected = mask_tools.decode(mask_tools.frPyObjects([moved.ravel()], 28, 28))[..., 0]
    (mask,) = draw_mask_targets([Segmentation(polygons=(polygon,))], np.zeros(1, np.int64), roi[None], 28)
    np.testing.assert_array_equal(mask, expected)
    in_float32 = polygon * (np.float32(28) / roi[2:])
    other = mask_tools.decode(mask_tools.frPyObjects([in_float32.ravel()], 28, 28))[..., 0]
    assert (mask != other).any()


def test_bitmaps_give_the_targets_of_their_polygons(star: Callable[..., np.ndarray]) -> None:
    rng = np.random.default_rng(6)
    shapes = [Segmentation(polygons=(star((60.0, 50.0), radius, 5, rng),)) for radius in (40.0, 30.0)]
    bitmaps = [Segmentation(bitmap=shape.to_mask(100, 120)) for shape in shapes]
    index = np.array([1, 0, 1])
    rois = np.array([[20, 10, 100, 95], [10, 20, 118, 80], [45.5, 30, 80, 90]], np.float32)
    drawn, cut = draw_mask_targets(shapes, index, rois, 28), draw_mask_targets(bitmaps, index, rois, 28)
    for a, b in zip(drawn.astype(bool), cut.astype(bool)):
        assert (a & b).sum() / (a | b).sum() > 0.9
    # Exact where the cells are pixels, and nothing is set outside of the image.
    square = np.zeros((20, 20), np.uint8)
    square[5:15, 8:20] = 1
    (cells,) = draw_mask_targets(
        [Segmentation(bitmap=square)], np.zeros(1, np.int64), np.array([[4, 2, 32, 30]], np.float32), 28
    )
    expected = np.zeros((28, 28), np.uint8)
    expected[3:13, 4:16] = 1
    np.testing.assert_array_equal(cells, expected)


def test_pasted_masks_are_bilinear_samples() -> None:
    rng = np.random.default_rng(7)
    probabilities = rng.random((5, 28, 28), dtype=np.float32)
    boxes = np.array(
        [[10, 20, 90, 70], [0, 0, 120, 100], [-20, 40.5, 30.25, 130], [50, 50, 50.4, 51], [119, 99, 140, 180]],
        np.float32,
    )
    height, width = 100, 120
    x = (np.arange(width, dtype=np.float32) + 0.5 - boxes[:, :1]) / (boxes[:, 2:3] - boxes[:, :1]) * 2 - 1
    y = (np.arange(height, dtype=np.float32) + 0.5 - boxes[:, 1:2]) / (boxes[:, 3:4] - boxes[:, 1:2]) * 2 - 1
    grid = np.stack(
        [np.broadcast_to(x[:, None], (5, height, width)), np.broadcast_to(y[:, :, None], (5, height, width))], -1
    )
    sampled = paddle.nn.functional.grid_sample(
        tensor(probabilities[:, None]), tensor(grid), align_corners=False
    ).numpy()[:, 0]
    for threshold in (0.5, 0.1):
        pasted = paste_masks(probabilities, boxes, height, width, threshold)
        certain = np.abs(sampled - threshold) > 1e-5
        assert certain.mean() > 0.999
        np.testing.assert_array_equal(pasted[certain], (sampled >= threshold)[certain])


def test_roi_features_of_a_ramp_are_its_values() -> None:
    ramp = np.broadcast_to(np.arange(32, dtype=np.float32), (1, 1, 32, 32))
    rois = [tensor([[16, 16, 48, 48]])]
    # Cells of two pixels, centres at 17, 19, ... pixels of stride 1; a map's value i stands for pixel i + 0.5 if
    # aligned, for pixel i otherwise.
    for aligned, shift in ((True, 0.5), (False, 0.0)):
        cut = RoIExtractor(16, [2], aligned)([tensor(ramp)], rois).numpy()[0, 0]
        np.testing.assert_allclose(cut, np.broadcast_to((np.arange(16) * 2 + 17) / 2 - shift, (16, 16)), rtol=1e-5)


def test_large_boxes_are_cut_from_coarse_maps_in_the_order_given() -> None:
    strides = (4, 8, 16, 32)
    maps = [paddle.full([2, 1, 512 // stride, 512 // stride], float(stride)) for stride in strides]
    for index, level in enumerate(maps):
        level[1] = level[1] + 100.0
        assert level.shape[2] == 512 // strides[index]
    sides = [500, 60, 230, 120, 20, 460]
    rois = [tensor([[0, 0, side, side] for side in sides]), tensor([[0, 0, 300, 300]])]
    cut = RoIExtractor(7, strides)([*maps, paddle.zeros([2, 1, 8, 8])], rois).numpy()
    assert cut.shape == (7, 1, 7, 7)
    assert cut.mean(axis=(1, 2, 3)).tolist() == [32, 4, 16, 8, 4, 32, 116]
    # Maps that no box chooses.
    assert RoIExtractor(7, strides)(maps, [rois[0][1:2], rois[1][:0]]).shape == [1, 1, 7, 7]


def test_rpn_loss_is_divided_by_the_number_asked_for() -> None:
    scores = tensor([0.0, 2.0, 5.0, 0.0])
    deltas = paddle.zeros([4, 4])
    scores.stop_gradient = deltas.stop_gradient = False
    targets = AnchorTargets(tensor([1], "int64"), tensor([3], "int64"), tensor([[1, -2, 0, 0.5]]))
    losses = rpn_loss(scores, deltas, targets, 256)
    assert float(losses["loss_rpn_cls"]) == pytest.approx((np.log1p(np.exp(-2)) + np.log(2)) / 256)
    assert float(losses["loss_rpn_reg"]) == pytest.approx(3.5 / 256)
    nothing = AnchorTargets(paddle.zeros([0], dtype="int64"), tensor([0, 3], "int64"), paddle.zeros([0, 4]))
    losses = rpn_loss(scores, deltas, nothing, 256)
    assert float(losses["loss_rpn_reg"]) == 0
    paddle.add_n(list(losses.values())).backward()
    assert deltas.grad is not None and not deltas.grad.any()


@pytest.mark.parametrize("agnostic", [True, False])
def test_box_loss_takes_the_deltas_of_the_objects_class(agnostic: bool) -> None:
    rois = tensor([[0, 0, 10, 10], [0, 0, 20, 20], [5, 5, 9, 9]])
    targets = RoITargets(
        [rois[:2], rois[2:]], [tensor([3, 1], "int64"), tensor([3], "int64")], [], [rois[:2], rois[2:]]
    )
    deltas = np.zeros((3, 4 if agnostic else 12), np.float32)
    deltas[1] = [1, 2, 3, 4] if agnostic else [9] * 4 + [1, 2, 3, 4] + [9] * 4
    losses = box_loss(paddle.zeros([3, 4]), tensor(deltas), targets, 3, (10.0, 10.0, 5.0, 5.0))
    assert float(losses["loss_bbox_cls"]) == pytest.approx(np.log(4), rel=1e-6)
    assert float(losses["loss_bbox_reg"]) == pytest.approx(10 / 3, rel=1e-6)


def test_mask_loss_sees_only_the_objects_class() -> None:
    logits = paddle.full([2, 3, 2, 2], 50.0)
    logits[0, 1], logits[1, 2] = 0.0, -1.0
    masks = np.zeros((2, 2, 2), np.uint8)
    masks[1, 0] = 1
    expected = (np.log(2) + (np.log1p(np.exp(1)) + np.log1p(np.exp(-1))) / 2) / 2
    assert float(mask_loss(logits, tensor([1, 2], "int64"), tensor(masks, "uint8"))) == pytest.approx(
        expected, rel=1e-6
    )
