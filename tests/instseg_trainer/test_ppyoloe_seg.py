"""PP-YOLOE_seg equals the reference: names, intermediates, detections, losses and gradients."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.models import build_model
from instseg_trainer.models.ppyoloe_seg import PPYOLOESeg
from instseg_trainer.targets import Targets
from instseg_trainer.weights import load_weights, read_pdparams, write_pdparams
from tests.reference_kit import IMAGES, ReferenceModel, mask_iou, match_rows

NAME = "PP-YOLOE_seg-S"
SCORES = "yolo_head[0]"
# Of scores, of which nearly all are nearly 0 and a few 0.07: relative to their mean, the last digit of those few is
# more than what is asked of other tensors. Absolute: 1.3e-6 was seen, with AVX-512. The kit asks for 1e-4.
SCORE_TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def reference(shared: Path) -> ReferenceModel:
    return ReferenceModel.load(shared, NAME)


@pytest.fixture(scope="module")
def model(reference: ReferenceModel) -> PPYOLOESeg:
    model = build_model(NAME, 80)
    load_weights(model, reference.seeded_state(), source="seeded weights")
    model.eval()
    return model


def network_input(rgb: np.ndarray, size: int) -> np.ndarray:
    resized = cv2.resize(rgb, (size, size), interpolation=cv2.INTER_CUBIC)
    return (resized.astype(np.float32) * np.float32(1 / 255)).transpose(2, 0, 1)[None]


def test_manifest(reference: ReferenceModel, model: PPYOLOESeg) -> None:
    state = model.state_dict()
    parameters = dict(model.named_parameters())
    actual = [
        (
            name,
            list(t.shape),
            str(t.dtype).removeprefix("paddle."),
            name in parameters and not t.stop_gradient,
        )
        for name, t in state.items()
    ]
    expected = [(e["name"], e["shape"], e["dtype"], e["trainable"]) for e in reference.manifest]
    assert actual == expected


@pytest.mark.slow
@pytest.mark.parametrize("image", IMAGES)
def test_intermediates(reference: ReferenceModel, model: PPYOLOESeg, image: str) -> None:
    captured: dict[str, np.ndarray] = {}
    hooks = []
    for name, layer in model.named_sublayers():

        def keep(_layer: object, _inputs: object, output: object, name: str = name) -> None:
            if isinstance(output, paddle.Tensor):
                captured[name] = output.numpy()

        hooks.append(layer.register_forward_post_hook(keep))
    images = paddle.to_tensor(network_input(reference.image_rgb(image), 640))
    index = reference.golden[f"{image}/input.image@index"]
    assert np.abs(images.numpy().ravel()[index] - reference.golden[f"{image}/input.image"]).max() <= 1 / 255 + 1e-6
    with paddle.no_grad():
        features = model.backbone(images)
        neck = model.neck(features)
        outputs = model.yolo_head(neck)
        distances = model.yolo_head.expected_distances(outputs.distance_logits)
    for hook in hooks:
        hook.remove()
    captured |= {f"backbone[{i}]": f.numpy() for i, f in enumerate(features)}
    captured |= {f"neck[{i}]": f.numpy() for i, f in enumerate(neck)}
    captured |= {
        "yolo_head[0]": paddle.nn.functional.sigmoid(outputs.class_logits).transpose([0, 2, 1]).numpy(),
        "yolo_head[1]": distances.numpy(),
        "yolo_head[2]": outputs.mask_coefficients.transpose([0, 2, 1]).numpy(),
        "yolo_head[3]": outputs.prototypes.numpy(),
        "yolo_head[4]": (outputs.anchor_points / outputs.strides).numpy(),
        "yolo_head[5]": outputs.strides.numpy(),
    }
    names = reference.tensor_names(image)
    assert len(names) >= 16
    errors = {name: reference.relative_error(image, name, captured[name]) for name in names if name != SCORES}
    assert max(errors.values()) < 1e-4, errors
    assert reference.absolute_error(image, SCORES, captured[SCORES]) < SCORE_TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("image", IMAGES)
def test_detections(reference: ReferenceModel, model: PPYOLOESeg, image: str) -> None:
    rgb = reference.image_rgb(image)
    images = paddle.to_tensor(network_input(rgb, 640))
    (found,) = model.predict(images, [rgb.shape[:2]])
    rows = reference.golden[f"{image}/out.bbox"]
    assert len(found.scores) == len(rows)
    matches = match_rows(rows, found.class_ids, found.scores, found.boxes)
    assert (matches >= 0).all()
    assert np.abs(found.boxes[matches] - rows[:, 2:]).max() <= 0.05
    assert np.abs(found.scores[matches] - rows[:, 1]).max() <= 1e-4
    ious = [mask_iou(found.masks[m], e) for m, e in zip(matches, reference.masks(image))]
    # The mask of an instance of a few pixels hangs on one of them.
    assert np.mean(np.asarray(ious) >= 0.999) >= 0.97, sorted(ious)[:8]
    assert min(ious) >= 0.98


def test_nothing_found() -> None:
    model = build_model("PP-YOLOE_seg-N", 3)
    model.eval()
    (found,) = model.predict(paddle.zeros([1, 3, 64, 64]), [(50, 70)], score_threshold=0.9)
    assert len(found.class_ids) == len(found.scores) == 0
    assert found.boxes.shape == (0, 4)
    assert found.masks.shape == (0, 50, 70)


@pytest.mark.slow
def test_training_losses_and_gradients(reference: ReferenceModel) -> None:
    training = reference.training()
    model = build_model(NAME, 80)
    load_weights(model, reference.seeded_state(), source="seeded weights")
    model.train()
    batch = reference.training_batch()
    arrays = (batch.boxes, batch.class_ids, batch.masks(), batch.pad_mask)
    targets = Targets(*(paddle.to_tensor(array) for array in arrays))
    losses = model.loss(paddle.to_tensor(model.input_spec.normalization(batch.images)), targets)
    for name, expected in training["losses"].items():
        assert float(losses[name]) == pytest.approx(expected, rel=1e-4), name
    losses["loss"].backward()
    parameters = {n: p for n, p in model.named_parameters() if not p.stop_gradient}
    assert set(parameters) == set(training["grad_norm"]) | set(training["without_gradient"])
    compared = 0
    for name, expected in training["grad_norm"].items():
        if expected < 1e-4:  # zero in theory: a bias ahead of a BatchNorm
            continue
        norm = float(np.linalg.norm(parameters[name].grad.numpy().astype(np.float64)))
        assert norm == pytest.approx(expected, rel=1e-3), name
        compared += 1
    assert compared > 200


@pytest.mark.slow
def test_fused_model_gives_the_same_numbers(reference: ReferenceModel, model: PPYOLOESeg) -> None:
    fused = build_model(NAME, 80)
    load_weights(fused, reference.seeded_state(), source="seeded weights")
    fused.eval()
    fused.fuse()
    images = paddle.to_tensor(network_input(reference.image_rgb("a"), 320))
    with paddle.no_grad():
        plain, folded = model.stage_outputs(images), fused.stage_outputs(images)
    for name, expected in vars(plain).items():
        error = float((getattr(folded, name) - expected).abs().max())
        if name == "scores":
            assert error < SCORE_TOLERANCE
        else:
            assert error / float(expected.abs().mean() + expected.std()) < 1e-3, name


def test_written_weights_hold_the_reference_names(reference: ReferenceModel, model: PPYOLOESeg, tmp_path: Path) -> None:
    write_pdparams(tmp_path / "x.pdparams", model.state_dict())
    arrays = read_pdparams(tmp_path / "x.pdparams")
    assert list(arrays) == [e["name"] for e in reference.manifest]
    for entry in reference.manifest:
        assert reference.seeded.crc32_of(arrays[entry["name"]]) == entry["crc32"], entry["name"]
    assert [p.name for p in tmp_path.iterdir()] == ["x.pdparams"]
