"""What Mask-RT-DETR does beyond its equality with the reference, on a small model without the reference kit."""

from __future__ import annotations

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.losses.mask_rtdetr_loss import MaskRTDETRLossSettings
from instseg_trainer.losses.point_sampling import PointSampling
from instseg_trainer.models import build_model
from instseg_trainer.models.mask_hybrid_encoder import EncoderLayout, NeckLayout
from instseg_trainer.models.mask_rtdetr import MaskRTDETR, MaskRTDETRDecode, MaskRTDETRLayout
from instseg_trainer.models.mask_rtdetr_decoder import DecoderLayout, mask_logits
from instseg_trainer.models.mask_rtdetr_transformer import TransformerLayout, anchor_logits
from instseg_trainer.targets import Targets

SMALL = MaskRTDETRLayout(
    "S",
    learning_rate=0.1,
    neck=NeckLayout(32, mask_channels=(8, 8), prototypes=8, attention=EncoderLayout(heads=2, feedforward=32)),
    transformer=TransformerLayout(queries=20, decoder=DecoderLayout(32, layers=2, heads=2, feedforward=32)),
)
FEW_POINTS = MaskRTDETRLossSettings(points=PointSampling(points=128))


@pytest.fixture(scope="module")
def model() -> MaskRTDETR:
    """In evaluation mode; a test that changes it puts it back."""
    paddle.seed(1)
    model = MaskRTDETR(3, SMALL, loss=FEW_POINTS)
    # A fresh model has zero steps to boxes and one score for all: as if it had learnt something.
    for layer in (model.transformer.score_head, model.transformer.bbox_head.layers[-1]):
        layer.weight.set_value(paddle.randn(layer.weight.shape) * 0.3)
    model.eval()
    return model


def make_targets(counts: list[int], height: int, width: int) -> Targets:
    """Rectangles of falling size, `counts` per image."""
    most = max(counts)
    boxes = np.zeros((len(counts), most, 4), np.float32)
    masks = np.zeros((len(counts), most, height, width), np.uint8)
    class_ids = np.zeros((len(counts), most, 1), np.int64)
    pad_mask = np.zeros((len(counts), most, 1), np.float32)
    for image, count in enumerate(counts):
        for i in range(count):
            x1, y1, x2, y2 = 4 + 3 * i, 6 + 2 * i, width - 5 * i - 2, height - 7 * i - 1
            boxes[image, i] = x1, y1, x2, y2
            masks[image, i, y1:y2, x1:x2] = 1
            class_ids[image, i] = i % 3
            pad_mask[image, i] = 1
    return Targets(*(paddle.to_tensor(x) for x in (boxes, class_ids, masks, pad_mask)))


def test_nothing_found(model: MaskRTDETR) -> None:
    (found,) = model.predict(paddle.zeros([1, 3, 64, 64]), [(50, 70)], score_threshold=1.0)
    assert len(found.class_ids) == len(found.scores) == 0
    assert found.boxes.shape == (0, 4)
    assert found.masks.shape == (0, 50, 70)


def test_every_pair_of_query_and_class_at_most(model: MaskRTDETR) -> None:
    assert model.decode.keep_top_k == 100
    (found,) = model.predict(paddle.rand([1, 3, 64, 64]), [(30, 40)])
    assert len(found.scores) == 20 * 3
    assert found.masks.shape == (60, 30, 40)
    assert found.masks.dtype == bool
    assert found.class_ids.dtype == np.int64
    assert (np.diff(found.scores) <= 0).all()


def test_threshold_keeps_the_best(model: MaskRTDETR) -> None:
    images = paddle.rand([1, 3, 64, 64])
    (every,) = model.predict(images, [(30, 40)])
    (some,) = model.predict(images, [(30, 40)], score_threshold=float(every.scores[7]))
    assert len(some.scores) == int((every.scores > every.scores[7]).sum())
    np.testing.assert_array_equal(some.boxes, every.boxes[: len(some.scores)])
    np.testing.assert_array_equal(some.masks, every.masks[: len(some.scores)])


def test_masks_and_boxes_of_a_query_in_several_classes(model: MaskRTDETR) -> None:
    images = paddle.rand([1, 3, 64, 64])
    (found,) = model.predict(images, [(64, 64)])
    outputs = model(images)
    logits = mask_logits(outputs.predictions.mask_embeddings, outputs.mask_features)[0]
    scores = paddle.nn.functional.sigmoid(outputs.predictions.class_logits)[0].numpy()
    for row in range(0, 60, 7):
        query, class_id = np.unravel_index(np.abs(scores - found.scores[row]).argmin(), scores.shape)
        assert class_id == found.class_ids[row]
        full = paddle.nn.functional.interpolate(logits[query][None, None], [64, 64], mode="bilinear")[0, 0]
        np.testing.assert_array_equal(found.masks[row], full.numpy() > 0)
        cx, cy, w, h = outputs.predictions.boxes[0, query].numpy() * 64
        np.testing.assert_allclose(found.boxes[row], [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], rtol=1e-5)


def test_masks_do_not_depend_on_how_many_are_made_at_once(model: MaskRTDETR, monkeypatch: pytest.MonkeyPatch) -> None:
    images = paddle.rand([1, 3, 64, 64])
    (together,) = model.predict(images, [(30, 40)])
    monkeypatch.setattr("instseg_trainer.models.mask_rtdetr._PIXELS_AT_ONCE", 3 * 30 * 40)
    (apart,) = model.predict(images, [(30, 40)])
    np.testing.assert_array_equal(apart.masks, together.masks)


def test_images_of_a_batch_do_not_see_each_other(model: MaskRTDETR) -> None:
    images = paddle.rand([2, 3, 64, 96])
    sizes = [(50, 70), (20, 90)]
    together = model.predict(images, sizes)
    for index, size in enumerate(sizes):
        (alone,) = model.predict(images[index : index + 1], [size])
        np.testing.assert_allclose(together[index].scores, alone.scores, atol=1e-5)
        np.testing.assert_allclose(together[index].boxes, alone.boxes, atol=1e-2)


def test_padded_images_are_refused(model: MaskRTDETR) -> None:
    with pytest.raises(ValueError, match="stretches"):
        model.predict(paddle.zeros([1, 3, 64, 64]), [(50, 70)], input_sizes=[(64, 60)])


@pytest.mark.parametrize("counts", [[2, 0], [3, 1], [0, 0]])
def test_loss_of_images_with_few_or_no_objects(model: MaskRTDETR, counts: list[int]) -> None:
    model.train()
    try:
        losses = model.loss(paddle.rand([2, 3, 64, 96]), make_targets(counts, 64, 96))
        assert all(np.isfinite(float(value)) for value in losses.values())
        parts = [float(value) for name, value in losses.items() if name != "loss"]
        assert len(parts) == 20
        assert float(losses["loss"]) == pytest.approx(sum(parts), rel=1e-5)
        losses["loss"].backward()
        for name, parameter in model.named_parameters():
            if parameter.stop_gradient:
                continue
            assert parameter.grad is not None, name
            assert np.isfinite(parameter.grad.numpy()).all(), name
        if not any(counts):
            assert all(float(losses[f"loss_{part}"]) == 0 for part in ("bbox", "giou", "mask", "dice", "class_dn"))
            assert float(losses["loss_class"]) > 0
    finally:
        model.clear_gradients()
        model.eval()


def test_more_objects_than_queries(model: MaskRTDETR) -> None:
    targets = make_targets([2], 64, 64)
    many = Targets(
        *(x.tile([1, 15] + [1] * (x.ndim - 2)) for x in (targets.boxes, targets.class_ids, targets.masks)),
        targets.pad_mask.tile([1, 15, 1]),
    )
    assert np.isfinite(float(model.loss(paddle.rand([1, 3, 64, 64]), many)["loss"]))


@pytest.mark.slow
def test_training_teaches() -> None:
    paddle.seed(3)
    model = MaskRTDETR(3, SMALL, loss=FEW_POINTS)
    model.train()
    images, targets = paddle.rand([1, 3, 64, 64]), make_targets([2], 64, 64)
    optimizer = paddle.optimizer.AdamW(2e-3, parameters=model.parameters())
    misses = []
    for _ in range(25):
        losses = model.loss(images, targets)
        losses["loss"].backward()
        optimizer.step()
        optimizer.clear_grad()
        misses.append(sum(float(losses[f"loss_{part}"]) for part in ("bbox", "giou", "mask", "dice")))
    assert np.mean(misses[-3:]) < 0.8 * np.mean(misses[:3]), misses


def test_backbone_statistics_stay_in_training(model: MaskRTDETR) -> None:
    before = {
        name: tensor.numpy().copy()
        for name, tensor in model.state_dict().items()
        if name.endswith("_mean") and not name.startswith("transformer.")
    }
    model.train()
    model.features(paddle.rand([1, 3, 64, 64]))
    model.eval()
    after = model.state_dict()
    for name, mean in before.items():
        assert (after[name].numpy() == mean).all() == name.startswith("backbone."), name
        after[name].set_value(mean)


def test_what_is_frozen_is_an_argument() -> None:
    model = MaskRTDETR(2, SMALL, freeze_stem=False, freeze_norm=False)
    statistics = ("_mean", "_variance")
    assert all(not p.stop_gradient for n, p in model.backbone.named_parameters() if not n.endswith(statistics))
    model = MaskRTDETR(2, SMALL, frozen_stages=1)
    trained = {n for n, p in model.named_parameters() if not p.stop_gradient}
    assert not any(n.startswith(("backbone.stem", "backbone.stages.0")) for n in trained)
    assert any(n.startswith("backbone.stages.1") for n in trained)


def test_learning_rates_of_the_parts() -> None:
    model = build_model("Mask-RT-DETR-S", 2)
    rates = {name: p.optimize_attr["learning_rate"] for name, p in model.named_parameters()}
    assert rates["backbone.stages.0.blocks.0.layers.0.conv.weight"] == 0.1
    assert rates["neck.input_proj.0.0.weight"] == 1.0
    assert rates["transformer.decoder.layers.0.cross_attn.sampling_offsets.weight"] == 1.0


def test_anchor_boxes_without_masks() -> None:
    layout = MaskRTDETRLayout(
        "S", 0.1, SMALL.neck, TransformerLayout(20, mask_enhanced=False, decoder=SMALL.transformer.decoder)
    )
    model = MaskRTDETR(3, layout)
    model.eval()
    (found,) = model.predict(paddle.rand([1, 3, 64, 64]), [(64, 64)])
    # A fresh model does not move its boxes: they are the anchors, of 1/20, 1/10 and 1/5 of the side.
    sides = (found.boxes[:, 2:] - found.boxes[:, :2]) / 64
    assert np.isclose(sides[:, :, None], [0.05, 0.1, 0.2], atol=1e-4).any(-1).all()


def test_anchors_at_the_margin_are_not_chosen() -> None:
    logits, allowed = anchor_logits([(80, 40), (2, 2)], size=0.05, margin=0.01)
    boxes = 1 / (1 + np.exp(-logits[0]))
    grid = allowed[0, : 80 * 40, 0].reshape(80, 40)
    # Half a cell of 1/80 is nearer than 0.01 to the border, half a cell of 1/40 is not.
    assert not grid[[0, -1]].any()
    assert grid[1:-1].all()
    np.testing.assert_allclose(boxes[80 * 40 :, 0], [0.25, 0.75, 0.25, 0.75], rtol=1e-6)
    np.testing.assert_allclose(boxes[80 * 40 :, 1], [0.25, 0.25, 0.75, 0.75], rtol=1e-6)
    assert np.isinf(logits[0, 0]).all()


def test_fused_model_gives_the_same_numbers(model: MaskRTDETR) -> None:
    fused = MaskRTDETR(3, SMALL)
    fused.set_state_dict(model.state_dict())
    fused.eval()
    fused.fuse()
    images = paddle.rand([1, 3, 64, 64])
    with paddle.no_grad():
        for expected, actual in zip(model.features(images)[0], fused.features(images)[0]):
            np.testing.assert_allclose(actual.numpy(), expected.numpy(), atol=1e-4)


def test_default_thresholds() -> None:
    assert MaskRTDETRDecode() == MaskRTDETRDecode(score_threshold=0.0, keep_top_k=100, mask_threshold=0.5)
