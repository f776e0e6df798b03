"""R-CNN models of a few channels: batches, padding, images without objects, nothing found."""

from __future__ import annotations

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.assigners.anchor_assigner import AnchorAssigner
from instseg_trainer.assigners.box_assigner import BoxAssigner
from instseg_trainer.assigners.box_matching import BalancedSampler
from instseg_trainer.data.segmentation import Segmentation
from instseg_trainer.input_spec import InputSpec
from instseg_trainer.models.anchors import AnchorGenerator
from instseg_trainer.models.box_head import BoxHead, TwoFCHead
from instseg_trainer.models.cascade_head import CascadeHead
from instseg_trainer.models.detections import Detections
from instseg_trainer.models.fpn import FPN
from instseg_trainer.models.mask_head import MaskFeat, MaskHead, rows_of_batch
from instseg_trainer.models.mask_rcnn import CascadeMaskRCNN, MaskRCNN
from instseg_trainer.models.roi_extractor import RoIExtractor
from instseg_trainer.models.rpn_head import ProposalLimits, RPNHead
from instseg_trainer.targets import Targets

CLASSES = 3
KINDS = ("fpn", "cascade", "c4")


class Pyramid(paddle.nn.Layer):
    """Maps of stride 4, 8, 16 and 32 with 8 channels, or the one of stride 16."""

    def __init__(self, single: bool) -> None:
        super().__init__()
        self.first = paddle.nn.Conv2D(3, 8, 4, stride=4)
        self.rest = paddle.nn.LayerList([paddle.nn.Conv2D(8, 8, 2, stride=2) for _ in range(2 if single else 3)])
        self.single = single

    def forward(self, images: paddle.Tensor) -> list[paddle.Tensor]:
        maps = [paddle.tanh(self.first(images))]
        for layer in self.rest:
            maps.append(paddle.tanh(layer(maps[-1])))
        return maps[-1:] if self.single else maps


def small_model(kind: str) -> MaskRCNN:
    paddle.seed(11)
    c4 = kind == "c4"
    strides = [16] if c4 else [4, 8, 16, 32, 64]
    anchors = AnchorGenerator([[16, 32, 64]] if c4 else [[8], [16], [32], [64], [128]], strides)
    rpn_head = RPNHead(8, anchors, ProposalLimits(200, 100, 60), AnchorAssigner(BalancedSampler(32, 0.5)))
    assigner = BoxAssigner(CLASSES, BalancedSampler(24, 0.25))
    extractors = [RoIExtractor(size, strides[:4]) for size in ((14, 14) if c4 else (7, 14))]
    if c4:
        res5 = paddle.nn.Sequential(paddle.nn.Conv2D(8, 12, 2, stride=2), paddle.nn.ReLU())
        box_head = BoxHead(res5, 12, CLASSES, extractors[0], assigner, pool=True)
        mask_head = MaskHead(MaskFeat(12, 0, 8), CLASSES, 14, extractors[1], share_box_features=True)
        return MaskRCNN(Pyramid(True), None, rpn_head, box_head, mask_head, InputSpec())
    mask_head = MaskHead(MaskFeat(8, 1, 8), CLASSES, 28, extractors[1], share_box_features=False)
    neck = FPN([8] * 4, 8)
    if kind == "cascade":
        cascade = CascadeHead(8, CLASSES, extractors[0], assigner)
        return CascadeMaskRCNN(Pyramid(False), neck, rpn_head, cascade, mask_head, InputSpec())
    box_head = BoxHead(TwoFCHead(8, 16), 16, CLASSES, extractors[0], assigner)
    return MaskRCNN(Pyramid(False), neck, rpn_head, box_head, mask_head, InputSpec())


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest) -> MaskRCNN:
    return small_model(request.param)


def random_images(count: int, height: int = 128, width: int = 160) -> paddle.Tensor:
    return paddle.to_tensor(np.random.default_rng(1).normal(size=(count, 3, height, width)).astype(np.float32))


def assert_same(a: Detections, b: Detections) -> None:
    np.testing.assert_array_equal(a.class_ids, b.class_ids)
    np.testing.assert_allclose(a.scores, b.scores, atol=1e-5)
    np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-3)
    assert a.masks.shape == b.masks.shape
    assert (a.masks != b.masks).mean() < 1e-3


def test_detections_are_those_of_each_image_alone(model: MaskRCNN) -> None:
    images, originals, sizes = (
        random_images(3),
        [(64, 80), (250, 310), (120, 100)],
        [(128, 160), (125, 155), (120, 100)],
    )
    together = model.predict(images, originals, input_sizes=sizes)
    assert [len(found.scores) for found in together] == [model.decode.keep_top_k] * 3
    for index, found in enumerate(together):
        (alone,) = model.predict(
            images[index : index + 1], originals[index : index + 1], input_sizes=sizes[index : index + 1]
        )
        assert_same(found, alone)
        height, width = originals[index]
        assert found.masks.shape == (len(found.scores), height, width)
        assert found.boxes.min() >= 0 and (found.boxes.max(axis=0) <= [width, height, width, height]).all()
        assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
        assert (np.diff(found.class_ids) >= 0).all()
        for class_id in range(CLASSES):
            assert (np.diff(found.scores[found.class_ids == class_id]) <= 0).all()


def test_nothing_found(model: MaskRCNN) -> None:
    (found,) = model.predict(random_images(1), [(50, 70)], score_threshold=0.99)
    assert len(found.class_ids) == len(found.scores) == 0
    assert found.boxes.shape == (0, 4)
    assert found.masks.shape == (0, 50, 70)


def test_sizes_that_do_not_fit_the_batch_are_refused(model: MaskRCNN) -> None:
    with pytest.raises(ValueError, match="2 images, 1 original and 2 input sizes"):
        model.predict(random_images(2), [(50, 70)])


def targets_of(images: list[list[tuple[int, list[float]]]], bitmaps: bool = False) -> Targets:
    """Per image objects (class, box); their shapes are triangles."""
    count = max(len(objects) for objects in images)
    boxes = np.zeros((len(images), count, 4), np.float32)
    class_ids = np.zeros((len(images), count, 1), np.int64)
    pad_mask = np.zeros((len(images), count, 1), np.float32)
    segments = []
    for row, objects in enumerate(images):
        shapes = []
        for column, (class_id, box) in enumerate(objects):
            boxes[row, column], class_ids[row, column], pad_mask[row, column] = box, class_id, 1
            x1, y1, x2, y2 = box
            shape = Segmentation(polygons=(np.array([[x1, y2], [(x1 + x2) / 2, y1], [x2, y2]], np.float64),))
            shapes.append(Segmentation(bitmap=shape.to_mask(128, 160)) if bitmaps else shape)
        segments.append(shapes)
    masks = paddle.zeros([len(images), count, 128, 160], dtype="uint8")
    return Targets(
        paddle.to_tensor(boxes), paddle.to_tensor(class_ids), masks, paddle.to_tensor(pad_mask), segments=segments
    )


OBJECTS = [(2, [10.0, 20.0, 60.0, 90.0]), (0, [80.0, 30.0, 150.0, 70.0])]


def without_chance(model: MaskRCNN) -> None:
    for assigner in (model.rpn_head.assigner, model.bbox_head.assigner):
        assigner.sampler = BalancedSampler(assigner.sampler.count, assigner.sampler.positive_fraction, random=False)


def gradient_norms(model: MaskRCNN, losses: dict[str, paddle.Tensor]) -> dict[str, float]:
    model.clear_gradients()
    losses["loss"].backward()
    parameters = {name: p for name, p in model.named_parameters() if not p.stop_gradient}
    assert all(p.grad is not None for p in parameters.values())
    return {name: float(p.grad.norm()) for name, p in parameters.items()}


def test_losses_sum_up_and_reach_every_parameter(model: MaskRCNN) -> None:
    losses = model.loss(random_images(2), targets_of([OBJECTS, OBJECTS[:1]]))
    parts = {name: float(value) for name, value in losses.items() if name != "loss"}
    assert float(losses["loss"]) == pytest.approx(sum(parts.values()), rel=1e-5)
    assert all(np.isfinite(value) and value >= 0 for value in parts.values())
    stages = 3 if isinstance(model, CascadeMaskRCNN) else 1
    assert len(parts) == 3 + 2 * stages
    assert parts["loss_mask"] > 0.5
    norms = gradient_norms(model, losses)
    # The stride 64 map has one anchor position at this size, which need not be sampled.
    assert min(norms.values()) > 0


@pytest.mark.parametrize("objects", [[[], []], [OBJECTS, []], [[], OBJECTS]], ids=["none", "first", "second"])
def test_images_without_objects(model: MaskRCNN, objects: list) -> None:
    losses = model.loss(random_images(2), targets_of(objects))
    norms = gradient_norms(model, losses)
    assert all(np.isfinite(norm) for norm in norms.values())
    nothing = not any(objects)
    assert (float(losses["loss_mask"]) == 0) == nothing
    assert (float(losses["loss_rpn_reg"]) == 0) == nothing
    assert float(losses["loss_rpn_cls"]) > 0


def test_the_mask_loss_of_a_batch_is_the_mean_over_its_images(model: MaskRCNN) -> None:
    without_chance(model)
    images = random_images(2)
    # The same number of boxes of objects in both images: the mean over boxes is the mean over images.
    batches = [images, images[:1], images[1:]]
    far = [[OBJECTS[0]], [(1, [70.0, 20.0, 130.0, 100.0])]]
    for head in (model.rpn_head, model.bbox_head):
        count = head.assigner.sampler.count
        head.assigner.sampler = BalancedSampler(count, 1 / count, random=False)
    both, first, second = (
        float(model.loss(batch, targets_of(objects))["loss_mask"])
        for batch, objects in zip(batches, (far, far[:1], far[1:]))
    )
    assert both == pytest.approx((first + second) / 2, rel=1e-4)


def test_bitmaps_teach_what_polygons_teach() -> None:
    model = small_model("fpn")
    without_chance(model)
    images = random_images(1)
    drawn, cut = (model.loss(images, targets_of([OBJECTS], bitmaps)) for bitmaps in (False, True))
    assert float(cut["loss_bbox_cls"]) == pytest.approx(float(drawn["loss_bbox_cls"]))
    assert float(cut["loss_mask"]) == pytest.approx(float(drawn["loss_mask"]), rel=0.05)


def test_padding_of_the_batch_is_not_proposed() -> None:
    model = small_model("fpn")
    proposals = model.rpn_head.propose(model(random_images(1)).rpn, [(100, 120)], model.decode.proposal_limits)
    assert (proposals[0].numpy().max(axis=0) <= [120, 100, 120, 100]).all()


def test_losses_need_the_objects_shapes(model: MaskRCNN) -> None:
    targets = targets_of([OBJECTS])
    targets.segments = None
    with pytest.raises(ValueError, match="segments"):
        model.loss(random_images(1), targets)


def test_rows_of_a_batch_start_after_the_images_before() -> None:
    rows = [paddle.to_tensor(values, dtype="int64") for values in ([0, 2], [], [1])]
    assert rows_of_batch(rows, [5, 3, 4]).tolist() == [0, 2, 9]


def test_alignment_is_switched_for_boxes_and_masks() -> None:
    model = small_model("fpn")
    assert not model.roi_aligned
    model.roi_aligned = True
    assert model.bbox_head.roi_extractor.aligned and model.mask_head.roi_extractor.aligned
