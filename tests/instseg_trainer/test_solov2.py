"""SOLOv2 equals the reference: names, intermediates, detections, losses and gradients; and its parts on their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.assigners.solov2_targets import BACKGROUND, SOLOv2TargetAssigner
from instseg_trainer.losses.solov2_loss import SOLOv2Loss
from instseg_trainer.models import build_model
from instseg_trainer.models.solov2 import SOLOv2, SOLOv2StageOutputs
from instseg_trainer.models.solov2_head import points_nms, with_coordinates
from instseg_trainer.models.solov2_postprocess import SOLOv2Decode, decode_image, matrix_nms, tight_boxes
from instseg_trainer.targets import Targets
from instseg_trainer.weights import load_weights, read_pdparams, write_pdparams
from tests.reference_kit import IMAGES, ReferenceModel, mask_iou

NAME = "SOLOv2"


@pytest.fixture(scope="module")
def reference(shared: Path) -> ReferenceModel:
    return ReferenceModel.load(shared, NAME)


@pytest.fixture(scope="module")
def model(reference: ReferenceModel) -> SOLOv2:
    model = build_model(NAME, 80)
    load_weights(model, reference.seeded_state(), source="seeded weights")
    model.eval()
    return model


@dataclass
class Forward:
    """One golden image through the network, once for all checks."""

    outputs: SOLOv2StageOutputs
    captured: dict[str, paddle.Tensor]
    input_size: tuple[int, int]
    original: tuple[int, int]


@pytest.fixture(scope="module")
def forward(reference: ReferenceModel, model: SOLOv2) -> Callable[[str], Forward]:
    done: dict[str, Forward] = {}

    def run(image: str) -> Forward:
        if image in done:
            return done[image]
        captured: dict[str, paddle.Tensor] = {}
        hooks = [
            layer.register_forward_post_hook(lambda _layer, _in, out, name=name: captured.update({name: out}))
            for name, layer in (("backbone.conv1", model.backbone.conv1), ("mask_head", model.mask_head))
        ]
        for name, layer in (("backbone", model.backbone), ("neck", model.neck)):

            def keep(_layer: object, _in: object, out: list[paddle.Tensor], name: str = name) -> None:
                captured.update({f"{name}[{i}]": tensor for i, tensor in enumerate(out)})

            hooks.append(layer.register_forward_post_hook(keep))
        rgb = reference.image_rgb(image)
        pixels, (size,) = model.input_spec.batch([rgb])
        index = reference.golden[f"{image}/input.image@index"]
        assert np.abs(pixels.ravel()[index] - reference.golden[f"{image}/input.image"]).max() <= 1e-5
        assert size == tuple(reference.golden[f"{image}/input.im_shape"][0])
        with paddle.no_grad():
            outputs = model.stage_outputs(paddle.to_tensor(pixels))
        for hook in hooks:
            hook.remove()
        done[image] = Forward(outputs, captured, size, rgb.shape[:2])
        return done[image]

    return run


def test_manifest(reference: ReferenceModel) -> None:
    with paddle.LazyGuard():  # names and shapes only
        model = build_model(NAME, 80)
    state = model.state_dict()
    actual = [(n, list(t.shape), str(t.dtype).removeprefix("paddle."), not t.stop_gradient) for n, t in state.items()]
    expected = [(e["name"], e["shape"], e["dtype"], e["trainable"]) for e in reference.manifest]
    assert actual == expected
    first: dict[int, str] = {}
    aliases = {name: first.setdefault(id(tensor), name) for name, tensor in state.items()}
    assert {n: a for n, a in aliases.items() if n != a} == {
        e["name"]: e["alias_of"] for e in reference.manifest if e.get("alias_of")
    }


@pytest.mark.slow
@pytest.mark.parametrize("image", IMAGES)
def test_intermediates(reference: ReferenceModel, forward: Callable[[str], Forward], image: str) -> None:
    ran = forward(image)
    captured = dict(ran.captured)
    start = 0
    for level, size in enumerate(SOLOv2Decode().grid_sizes):
        cells = slice(start, start + size * size)
        captured[f"solov2_head[{level}]"] = ran.outputs.scores[:, cells]
        captured[f"solov2_head[{level + 5}]"] = ran.outputs.kernels[:, cells].transpose([0, 2, 1])
        start += size * size
    names = reference.tensor_names(image)
    assert len(names) == 21
    errors = {name: reference.relative_error(image, name, captured[name].numpy()) for name in names}
    assert max(errors.values()) < 1e-4, errors


@pytest.mark.slow
@pytest.mark.parametrize("image", IMAGES)
def test_detections(
    reference: ReferenceModel,
    model: SOLOv2,
    forward: Callable[[str], Forward],
    image: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = forward(image)
    monkeypatch.setattr(model, "stage_outputs", lambda images: ran.outputs)
    height, width = (4 * side for side in ran.outputs.mask_features.shape[2:])
    images = paddle.zeros([1, 3, height, width])
    (found,) = model.predict(images, [ran.original], input_sizes=[ran.input_size])
    golden = reference.golden
    class_ids, scores = golden[f"{image}/out.cate_label"], golden[f"{image}/out.cate_score"]
    shape = golden[f"{image}/out.segm.shape"]
    masks = np.unpackbits(golden[f"{image}/out.segm.packed"], count=int(np.prod(shape))).reshape(shape).astype(bool)
    # The last row of the reference is made up.
    assert scores[-1] == 0
    class_ids, scores, masks = class_ids[:-1], scores[:-1], masks[:-1]
    assert len(found.scores) == len(scores)
    matches = []
    for class_id, score in zip(class_ids, scores):
        distance = np.where(found.class_ids == class_id, np.abs(found.scores - score), np.inf)
        distance[matches] = np.inf
        matches.append(int(distance.argmin()))
        assert distance[matches[-1]] <= 1e-4
    ious = [mask_iou(found.masks[row], mask) for row, mask in zip(matches, masks)]
    assert min(ious) >= 0.999
    np.testing.assert_array_equal(found.boxes, tight_boxes(found.masks))
    assert np.abs(found.boxes[matches] - tight_boxes(masks)).max() <= 1
    assert (np.diff(found.scores) <= 0).all()


@pytest.mark.slow
def test_training_losses_and_gradients(reference: ReferenceModel, model: SOLOv2) -> None:
    training = reference.training()
    batch = reference.training_batch()
    arrays = (batch.boxes, batch.class_ids, batch.masks(), batch.pad_mask)
    targets = Targets(*(paddle.to_tensor(array) for array in arrays))
    pixels = model.input_spec.normalization(batch.images)
    difference = pixels.ravel()[training["input"]["index"]] - np.float32(training["input"]["value"])
    assert np.abs(difference).max() <= 1e-5
    model.train()  # nothing here depends on it but the flag itself: norms are frozen or GroupNorm
    losses = model.loss(paddle.to_tensor(pixels), targets)
    model.eval()
    for name, expected in training["losses"].items():
        assert float(losses[name]) == pytest.approx(expected, rel=1e-4), name
    losses["loss"].backward()
    parameters = {n: p for n, p in model.named_parameters() if not p.stop_gradient}
    assert set(parameters) == set(training["grad_norm"])
    for name, expected in training["grad_norm"].items():
        norm = float(np.linalg.norm(parameters[name].grad.numpy().astype(np.float64)))
        assert expected < 1e-4 or norm == pytest.approx(expected, rel=1e-3), name
    model.clear_gradients()


@pytest.mark.slow
def test_written_weights_hold_the_reference_names(reference: ReferenceModel, model: SOLOv2, tmp_path: Path) -> None:
    write_pdparams(tmp_path / "x.pdparams", model.state_dict())
    arrays = read_pdparams(tmp_path / "x.pdparams")
    assert list(arrays) == [e["name"] for e in reference.manifest]
    for entry in reference.manifest:
        assert reference.seeded.crc32_of(arrays[entry["name"]]) == entry["crc32"], entry["name"]


def test_points_nms_keeps_the_largest_of_each_corner() -> None:
    scores = paddle.to_tensor([[[[3.0, 2.0, 5.0], [4.0, 1.0, 6.0], [4.0, 7.0, 0.0]]]])
    expected = [[[[3.0, 0.0, 5.0], [4.0, 0.0, 6.0], [4.0, 7.0, 0.0]]]]
    np.testing.assert_array_equal(points_nms(scores).numpy(), expected)


def test_coordinates() -> None:
    found = with_coordinates(paddle.zeros([2, 1, 3, 5])).numpy()
    np.testing.assert_array_equal(found[1, 1], np.tile(np.float32([-1, -0.5, 0, 0.5, 1]), (3, 1)))
    np.testing.assert_array_equal(found[1, 2], np.tile(np.float32([[-1], [0], [1]]), (1, 5)))
    assert (with_coordinates(paddle.zeros([1, 1, 1, 1])).numpy()[0, 1:] == -1).all()


def test_matrix_nms_by_hand() -> None:
    """Equal masks of one class lower each other; another class and a mask apart do not take part."""
    masks = np.zeros((5, 20), np.float32)
    masks[0, :10] = masks[1, :10] = masks[2, :10] = 1
    masks[3, 5:15] = 1
    masks[4, 15:] = 1
    class_ids = paddle.to_tensor([1, 1, 2, 1, 1])
    scores = np.float32([0.9, 0.8, 0.7, 0.6, 0.5])
    found = matrix_nms(paddle.to_tensor(masks), class_ids, paddle.to_tensor(scores), 2.0).numpy()
    third = np.exp(-2 / 9)  # IoU 5 / 15 with the first; the second, wholly covered itself, adds nothing
    np.testing.assert_allclose(found, scores * np.float32([1, np.exp(-2), 1, third, 1]), rtol=1e-6)


SMALL = SOLOv2Decode(grid_sizes=(2,), minimum_areas=(3,), nms_top_k=3, keep_top_k=2)


def small_image() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of four cells and two classes, kernels, and features of which channel k is object k on 8 x 8 cells."""
    features = np.full((4, 8, 8), -10, np.float32)
    features[0, :4, :4] = features[1, 4:, 2:7] = features[2, 0, 6:] = features[3, 5:, 5:] = 10
    return np.zeros((4, 2), np.float32), np.eye(4, dtype=np.float32), features


def decoded(scores: np.ndarray, decode: SOLOv2Decode = SMALL) -> tuple[list[int], np.ndarray]:
    _, kernels, features = small_image()
    found = decode_image(
        paddle.to_tensor(scores), paddle.to_tensor(kernels), paddle.to_tensor(features), (32, 32), (32, 32), decode
    )
    np.testing.assert_array_equal(found.scores, np.sort(found.scores)[::-1])
    return list(found.class_ids), found.boxes


def test_nothing_above_the_threshold() -> None:
    scores, kernels, features = small_image()
    scores[:] = 0.1
    found = decode_image(*(paddle.to_tensor(a) for a in (scores, kernels, features)), (30, 28), (50, 70), SMALL)
    assert len(found.class_ids) == len(found.scores) == len(found.boxes) == 0
    assert found.masks.shape == (0, 50, 70)


def test_masks_too_small_are_no_detections() -> None:
    scores, _, _ = small_image()
    scores[2, 0] = 0.9  # two cells of mask, three are too few
    class_ids, boxes = decoded(scores)
    assert class_ids == []
    assert boxes.shape == (0, 4)


def test_limits_before_and_after_matrix_nms() -> None:
    scores, _, _ = small_image()
    scores[0, 0], scores[1, 1], scores[3, 1] = 0.5, 0.9, 0.8
    class_ids, boxes = decoded(scores)
    assert class_ids == [1, 1]
    np.testing.assert_array_equal(boxes[0], [8, 16, 28, 32])
    assert decoded(scores, SOLOv2Decode(grid_sizes=(2,), minimum_areas=(3,), nms_top_k=1))[0] == [1]
    assert len(decoded(scores, SOLOv2Decode(grid_sizes=(2,), minimum_areas=(3,)))[0]) == 3
    assert decoded(scores, SOLOv2Decode(grid_sizes=(2,), minimum_areas=(3,), update_threshold=0.95))[0] == []


def test_cut_of_the_padding() -> None:
    scores, kernels, features = small_image()
    scores[0, 0] = scores[3, 0] = 0.9
    found = decode_image(*(paddle.to_tensor(a) for a in (scores, kernels, features)), (20, 16), (40, 32), SMALL)
    # The second object lies in the padding: nothing of it is left.
    assert found.masks.shape == (1, 40, 32)
    np.testing.assert_array_equal(found.boxes, [[0, 0, 32, 32]])


def test_prediction_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image with its own outputs, size inside the padded input and original size."""
    with paddle.LazyGuard():  # its layers are not called
        model = SOLOv2(2)
    model.decode = SMALL
    scores, kernels, features = small_image()
    both = np.stack([scores, scores])
    both[0, 0, 0], both[1, 1, 1] = 0.9, 0.4
    outputs = SOLOv2StageOutputs(
        *(paddle.to_tensor(a) for a in (both, np.stack([kernels] * 2), np.stack([features] * 2)))
    )
    monkeypatch.setattr(model, "stage_outputs", lambda images: outputs)
    images, originals = paddle.zeros([2, 3, 32, 32]), [(32, 16), (64, 64)]
    first, second = model.predict(images, originals, input_sizes=[(32, 16), (32, 32)])
    assert (first.masks.shape, second.masks.shape) == ((1, 32, 16), (1, 64, 64))
    assert (list(first.class_ids), list(second.class_ids)) == ([0], [1])
    np.testing.assert_array_equal(second.boxes, [[16, 32, 56, 64]])
    np.testing.assert_allclose([*first.scores, *second.scores], [0.9, 0.4], rtol=1e-3)
    _, unpadded = model.predict(images, originals)
    np.testing.assert_array_equal(unpadded.masks, second.masks)
    first, second = model.predict(images, originals, score_threshold=0.5)
    assert (len(first.scores), len(second.scores)) == (1, 0)
    with pytest.raises(ValueError, match="argument 2 is longer"):
        model.predict(images, originals, input_sizes=[(32, 16)])


def square(left: int, top: int, right: int, bottom: int, size: int = 320) -> np.ndarray:
    mask = np.zeros((size, size), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def test_cells_that_answer_for_an_object() -> None:
    assigner = SOLOv2TargetAssigner((10, 4), ((1, 96), (48, 2048)))
    # 60 pixels: in both ranges. Centre 100, 164, reach 6: columns 94..106, rows 158..170 of 32 pixels in grid 10.
    box = (70, 134, 130, 194)
    found = assigner(np.float32([box]), np.array([7]), square(*box)[None])
    grid, coarse = found.class_ids[:100].reshape(10, 10), found.class_ids[100:].reshape(4, 4)
    assert sorted(zip(*np.nonzero(grid != BACKGROUND))) == [(4, 2), (4, 3), (5, 2), (5, 3)]
    assert sorted(zip(*np.nonzero(coarse != BACKGROUND))) == [(1, 1), (2, 1)]
    assert set(found.class_ids) == {BACKGROUND, 7}
    assert list(found.cells) == [42, 43, 52, 53, 105, 109]
    assert list(found.objects) == [0] * 6
    assert found.num_positive_cells == 6
    # Its sides run through the middle of 4 x 4 blocks, whose middle pixels decide: half of them in it rounds up, the
    # quarter at the corners does not.
    assert found.masks.shape == (1, 80, 80)
    assert found.masks[0].sum() == 16 * 16 - 4


def test_two_objects_of_one_cell_and_a_vanished_one() -> None:
    assigner = SOLOv2TargetAssigner((4,), ((1, 2048),))
    boxes = np.float32([(20, 20, 60, 60), (25, 25, 55, 55), (100, 100, 140, 140)])
    masks = np.stack([square(*(int(v) for v in box)) for box in boxes[:2]] + [np.zeros((320, 320), np.uint8)])
    found = assigner(boxes, np.array([3, 5, 6]), masks)
    assert list(found.cells) == [0, 0]
    assert list(found.objects) == [0, 1]
    assert found.num_positive_cells == 1
    assert found.class_ids[0] == 5
    assert (found.class_ids[1:] == BACKGROUND).all()


def test_objects_at_the_border_stay_inside_the_grid() -> None:
    assigner = SOLOv2TargetAssigner((40,), ((1, 2048),))
    box = (318, 0, 320, 320)
    found = assigner(np.float32([box]), np.array([0]), square(*box)[None])
    assert {int(cell) % 40 for cell in found.cells} == {39}
    assert sorted(int(cell) // 40 for cell in found.cells) == [18, 19, 20]


def test_grids_and_ranges_must_fit() -> None:
    with pytest.raises(ValueError, match="2 grids, but 5 ranges"):
        SOLOv2TargetAssigner((4, 2))


@pytest.mark.parametrize("objects", [0, 1])
def test_images_without_objects(objects: int) -> None:
    """A batch whose second image, or both, show nothing: finite losses, and a gradient for every output."""
    criterion = SOLOv2Loss(3, (40, 36, 24, 16, 12))
    cells = sum(size * size for size in (40, 36, 24, 16, 12))
    paddle.seed(1)
    outputs = [paddle.randn(shape) for shape in ([2, cells, 3], [2, cells, 4], [2, 4, 16, 16])]
    for tensor in outputs:
        tensor.stop_gradient = False
    boxes, masks = np.zeros((2, objects, 4), np.float32), np.zeros((2, objects, 64, 64), np.uint8)
    pad_mask = np.zeros((2, objects, 1), np.float32)
    if objects:
        boxes[0, 0], masks[0, 0], pad_mask[0, 0] = (8, 8, 40, 40), square(8, 8, 40, 40, 64), 1
    class_ids = np.zeros((2, objects, 1), np.int64)
    targets = Targets(*(paddle.to_tensor(a) for a in (boxes, class_ids, masks, pad_mask)))
    losses = criterion(*outputs, targets)
    assert np.isfinite(float(losses["loss"]))
    assert float(losses["loss"]) == pytest.approx(float(losses["loss_ins"]) + float(losses["loss_cate"]))
    assert (float(losses["loss_ins"]) > 0) == bool(objects)
    losses["loss"].backward()
    gradients = [tensor.grad.numpy() for tensor in outputs]
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert gradients[0][1].any()
    assert gradients[1][0].any() == bool(objects)
    assert not gradients[1][1].any()
