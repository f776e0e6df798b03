"""The R-CNN models equal the reference: names, intermediates, detections, losses and gradients."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.data.segmentation import Segmentation
from instseg_trainer.input_spec import InputSpec
from instseg_trainer.models import build_model, mask_head
from instseg_trainer.models.detections import Detections
from instseg_trainer.models.mask_rcnn import FeatureOutputs, MaskRCNN
from instseg_trainer.targets import Targets
from instseg_trainer.weights import load_weights, read_pdparams, write_pdparams
from tests.instseg_trainer.golden_pixels import TIE, distance_to_tie, exact_cubic, golden_pixels
from tests.instseg_trainer.rcnn_recorder import Recorder
from tests.long_tests import LONG_TESTS, LONG_TESTS_WANTED, on_request
from tests.reference_kit import IMAGES, ReferenceModel, match_rows

C4 = "MaskRCNN-ResNet50"
ALIGNED_TOO = "MaskRCNN-ResNet50-FPN"
CASCADE = "Cascade-MaskRCNN-ResNet50-FPN"
NAMES = (
    ALIGNED_TOO,
    C4,
    "MaskRCNN-ResNet50-vd-FPN",
    "MaskRCNN-ResNet101-FPN",
    "MaskRCNN-ResNet101-vd-FPN",
    "MaskRCNN-ResNeXt101-vd-FPN",
    CASCADE,
    "Cascade-MaskRCNN-ResNet50-vd-SSLDv2-FPN",
)
# One of each kind; the others differ in their backbone.
ALWAYS_COMPUTED = (ALIGNED_TOO, C4, CASCADE)
COMPUTED = [name if name in ALWAYS_COMPUTED else pytest.param(name, marks=on_request) for name in NAMES]


@dataclass
class Subject:
    """A model with seeded weights, its goldens, and the features it has computed of an image."""

    reference: ReferenceModel
    model: MaskRCNN
    features: dict[str, FeatureOutputs]


@pytest.fixture(scope="module", params=COMPUTED)
def subject(request: pytest.FixtureRequest, shared: Path) -> Iterator[Subject]:
    reference = ReferenceModel.load(shared, request.param)
    with paddle.LazyGuard():  # the weights come from the kit
        model = build_model(request.param, 80)
    assert isinstance(model, MaskRCNN)
    load_weights(model, reference.seeded_state(), source="seeded weights")
    # No random choice of anchors and boxes, as in the goldens; it only matters to the losses.
    for assigner in (model.rpn_head.assigner, model.bbox_head.assigner):
        assigner.sampler = dataclasses.replace(assigner.sampler, random=False)
    model.eval()
    yield Subject(reference, model, {})


@pytest.mark.parametrize("name", NAMES)
def test_manifest(name: str, shared: Path) -> None:
    manifest = ReferenceModel.load(shared, name).manifest
    with paddle.LazyGuard():  # only names, shapes and types are looked at
        model = build_model(name, 80)
    parameters = dict(model.named_parameters())
    actual = [
        (key, list(t.shape), str(t.dtype).removeprefix("paddle."), key in parameters and not t.stop_gradient)
        for key, t in model.state_dict().items()
    ]
    assert actual == [(e["name"], e["shape"], e["dtype"], e["trainable"]) for e in manifest]
    assert not any(e.get("alias_of") for e in manifest)


def golden_input(spec: InputSpec, rgb: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """What `spec.batch` gives of an image, but from the goldens' pixels."""
    height, width = spec.resized(*rgb.shape[:2])
    resized = dataclasses.replace(spec, height=height, width=width, resize="stretch")
    return resized.batch([golden_pixels(rgb, height, width)])


@pytest.mark.parametrize("image", IMAGES)
def test_input(image: str, shared: Path) -> None:
    """Ours differs from the goldens' by single levels only, and only where the exact value is halfway between two."""
    reference = ReferenceModel.load(shared, ALIGNED_TOO)
    with paddle.LazyGuard():  # only its input is looked at
        spec = build_model(ALIGNED_TOO, 80).input_spec
    rgb = reference.image_rgb(image)
    exact = exact_cubic(rgb, *spec.resized(*rgb.shape[:2]))
    golden, _ = golden_input(spec, rgb)
    description = json.loads((reference.folder / "models" / f"{ALIGNED_TOO}.golden.json").read_text())
    expected = description["images"][image]["tensors"]["input.image"]
    assert list(golden.shape) == expected["shape"]
    # Every level of every pixel is in these.
    assert golden.mean(dtype=np.float64) == pytest.approx(expected["mean"], rel=1e-13)
    assert golden.std(dtype=np.float64) == pytest.approx(expected["std"], rel=1e-13)
    height, width, _ = exact.shape
    difference = np.abs(spec(rgb) - golden[0, :, :height, :width])
    level = 1 / 255 / min(spec.normalization.std)
    assert difference.max() <= 1.001 * level
    assert (distance_to_tie(exact).transpose(2, 0, 1)[difference > 0] < TIE).all()


def record(subject: Subject, recorder: Recorder) -> Detections:
    """One prediction, every tensor compared on the way; the features of an image are computed once."""
    model, image = subject.model, recorder.image
    rgb = subject.reference.image_rgb(image)
    spec = model.input_spec
    pixels, sizes = golden_input(spec, rgb)
    recorder.see("input.image", paddle.to_tensor(pixels))
    images = paddle.to_tensor(pixels)
    with recorder.following(model), paddle.no_grad():
        if image not in subject.features:
            subject.features[image] = model(images)
        features = subject.features[image]
        recorder.see_anchors(model, [(int(level.shape[2]), int(level.shape[3])) for level in features.rpn.scores])
        model.forward = lambda _images: features
        try:
            (found,) = model.predict(images, [rgb.shape[:2]], input_sizes=sizes)
        finally:
            del model.forward
    return found


def check_tensors(recorder: Recorder, names: list[str]) -> None:
    """All of the goldens called `names` were met, nearly all of their rows found, and their values are equal."""
    # The number of proposals is the number of their rows.
    assert set(names) - {"rpn_head[1]"} <= set(recorder.errors)
    assert recorder.errors.pop("input.image").max() == 0
    # Where sums are taken in the reference's order, which depends on the processor, all is equal to the last bit, and
    # the proposals show it. Elsewhere the limit is the one that the kit's README measured and asks for.
    limit = 1e-4 if recorder.errors["rpn_head[0]"].max() == 0 else 1e-3
    different = {name: errors.max() for name, errors in recorder.errors.items() if errors.max() > limit}
    assert not different
    assert min(recorder.compared.values()) >= 0.99, recorder.compared


def check_detections(reference: ReferenceModel, image: str, found: Detections) -> None:
    rows, masks = reference.golden[f"{image}/out.bbox"], reference.masks(image)
    # Where nothing was found, the reference gives one row of score 0.
    rows, masks = rows[rows[:, 1] > 0], masks[rows[:, 1] > 0]
    assert len(found.scores) == len(rows)
    if not len(rows):
        return
    matches = match_rows(rows, found.class_ids, found.scores, found.boxes)
    assert (matches >= 0).all()
    moved = np.abs(found.boxes[matches] - rows[:, 2:]).max(axis=1)
    changed = np.abs(found.scores[matches] - rows[:, 1])
    # In the IoU of a small mask one pixel is much.
    areas = masks.sum(axis=(1, 2))
    wrong = np.asarray([np.sum(found.masks[m] != mask) for m, mask in zip(matches, masks)])
    assert moved.max() <= 0.02, np.sort(moved)[-8:]
    assert changed.max() <= 1e-4, np.sort(changed)[-8:]
    assert (wrong <= np.maximum(4, 1e-3 * areas)).all(), (wrong, areas)


@pytest.mark.slow
@pytest.mark.parametrize("image", IMAGES)
def test_intermediates_and_detections(subject: Subject, image: str) -> None:
    recorder = Recorder(subject.reference, image)
    found = record(subject, recorder)
    names = subject.reference.tensor_names(image)
    if not len(found.scores):
        # Nothing was found: the reference goes on with a made-up row.
        names = [name for name in names if name != "bbox_after_nms" and not name.startswith("mask_head")]
    check_tensors(recorder, names)
    check_detections(subject.reference, image, found)


@pytest.mark.slow
@pytest.mark.parametrize("image", IMAGES)
def test_half_pixel_alignment(subject: Subject, image: str) -> None:
    if subject.reference.name != ALIGNED_TOO:
        pytest.skip(f"there are goldens of {ALIGNED_TOO} only")
    path = subject.reference.folder / "models" / f"{ALIGNED_TOO}.roi_aligned.golden.npz"
    with np.load(path) as file:
        reference = dataclasses.replace(subject.reference, golden=dict(file))
    recorder = Recorder(reference, image)
    subject.model.roi_aligned = True
    try:
        found = record(subject, recorder)
    finally:
        subject.model.roi_aligned = False
    later = ("bbox_", "mask_head", "rpn_head[0]")
    check_tensors(recorder, [name for name in reference.tensor_names(image) if name.startswith(later)])
    check_detections(reference, image, found)


def training_inputs(reference: ReferenceModel, model: MaskRCNN) -> tuple[paddle.Tensor, Targets]:
    batch = reference.training_batch()
    targets = Targets(
        paddle.to_tensor(batch.boxes),
        paddle.to_tensor(batch.class_ids),
        paddle.zeros([*batch.class_ids.shape[:2], 1, 1], dtype="uint8"),
        paddle.to_tensor(batch.pad_mask),
        segments=[[Segmentation(polygons=(polygon,)) for polygon in shapes] for shapes in batch.polygons],
    )
    return paddle.to_tensor(model.input_spec.normalization(batch.images)), targets


@pytest.mark.slow
def test_training_losses_and_gradients(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    reference, model = subject.reference, subject.model
    if reference.name == C4 and not LONG_TESTS_WANTED:
        pytest.skip(f"takes five minutes on two cores; {LONG_TESTS}=1 runs it")
    subject.features.clear()
    training = reference.training()
    images, targets = training_inputs(reference, model)
    index = np.asarray(training["input"]["index"])
    np.testing.assert_allclose(images.numpy().ravel()[index], training["input"]["value"], atol=1e-6)
    if reference.name == C4:
        # The reference takes the second image's mask features from the first image's boxes (its batches are of one).
        monkeypatch.setattr(mask_head, "rows_of_batch", lambda rows, counts: paddle.concat(rows))
    model.train()
    losses = model.loss(images, targets)
    assert set(losses) == set(training["losses"])
    for name, expected in training["losses"].items():
        assert float(losses[name]) == pytest.approx(expected, rel=1e-4), name
    # Of one box a unit of Cascade's last head is 4e-5 from zero: sums in another order can put it on the other side,
    # and the norms of fc6 and fc7 differ by 3.4e-3.
    same_sums = all(float(losses[name]) == expected for name, expected in training["losses"].items() if name != "loss")
    limit = 1e-3 if same_sums or reference.name != CASCADE else 4e-3
    losses["loss"].backward()
    parameters = {name: p for name, p in model.named_parameters() if not p.stop_gradient}
    assert set(parameters) == set(training["grad_norm"]) | set(training["without_gradient"])
    wrong = {}
    for name, expected in training["grad_norm"].items():
        norm = float(np.linalg.norm(parameters[name].grad.numpy().astype(np.float64)))
        if expected >= 1e-4 and norm != pytest.approx(expected, rel=limit):  # below: zero in theory
            wrong[name] = (norm, expected)
    model.clear_gradients()
    model.eval()
    assert not wrong
    assert sum(expected >= 1e-4 for expected in training["grad_norm"].values()) > 50


@pytest.mark.slow
def test_written_weights_hold_the_reference_names(subject: Subject, tmp_path: Path) -> None:
    if subject.reference.name not in (ALIGNED_TOO, C4):
        pytest.skip("two of the models are enough")
    write_pdparams(tmp_path / "x.pdparams", subject.model.state_dict())
    arrays = read_pdparams(tmp_path / "x.pdparams")
    assert list(arrays) == [e["name"] for e in subject.reference.manifest]
    for entry in subject.reference.manifest:
        assert subject.reference.seeded.crc32_of(arrays[entry["name"]]) == entry["crc32"], entry["name"]
