"""Mask-RT-DETR equals the reference: names, intermediates, detections, losses and gradients of all five sizes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.losses.query_targets import QueryTargets
from instseg_trainer.models import build_model
from instseg_trainer.models.denoising import DenoisingSettings
from instseg_trainer.models.detections import Detections
from instseg_trainer.models.mask_rtdetr import MaskRTDETR
from instseg_trainer.models.mask_rtdetr_decoder import mask_logits
from instseg_trainer.targets import Targets
from instseg_trainer.weights import load_weights, read_pdparams, write_pdparams
from tests.reference_kit import IMAGES, ReferenceModel, mask_iou, match_rows

pytestmark = pytest.mark.slow
NAMES = tuple(f"Mask-RT-DETR-{size}" for size in "SMLXH")
QUERIES = 300
# Its gradients are also compared without denoising queries; of the others the losses only, to save minutes.
BOTH_GRADIENTS = ("Mask-RT-DETR-S",)


@dataclass
class Loaded:
    """A model that holds the seeded weights, and those weights to restore it."""

    reference: ReferenceModel
    model: MaskRTDETR
    state: dict[str, np.ndarray]

    def restore(self) -> None:
        load_weights(self.model, self.state, source="seeded weights")
        self.model.eval()


@pytest.fixture(scope="module", params=NAMES)
def loaded(shared: Path, request: pytest.FixtureRequest) -> Loaded:
    reference = ReferenceModel.load(shared, request.param)
    model = build_model(request.param, 80)
    assert isinstance(model, MaskRTDETR)
    result = Loaded(reference, model, reference.seeded_state())
    result.restore()
    return result


def query_order(reference: ReferenceModel, image: str, class_logits: np.ndarray) -> np.ndarray:
    """The place of each of the reference's queries among ours: tokens of nearly the same score swap places."""
    expected = reference.golden[f"{image}/transformer.decoder[1]"].reshape(QUERIES, -1)
    distance = np.abs(expected[:, None] - class_logits.reshape(1, QUERIES, -1)).max(-1)
    order = distance.argmin(axis=1)
    assert sorted(order) == list(range(QUERIES))
    assert (order != np.arange(QUERIES)).sum() <= 10, "more than a few near ties"
    return order


@pytest.fixture(scope="module", params=IMAGES)
def evaluated(loaded: Loaded, request: pytest.FixtureRequest) -> tuple[str, dict[str, float], Detections]:
    """One photo: relative error of every stored tensor, and the detections, of a single forward."""
    image, reference, model = request.param, loaded.reference, loaded.model
    names = reference.tensor_names(image)
    errors: dict[str, float] = {}
    calls: dict[str, int] = {}
    of_queries: dict[str, np.ndarray] = {}

    def check(name: str, tensor: paddle.Tensor) -> None:
        if name in names and tensor.shape[1] == QUERIES:
            of_queries[name] = tensor.numpy()
        elif name in names:
            errors[name] = reference.relative_error(image, name, tensor.numpy())

    def hook_of(name: str) -> object:
        def hook(_layer: object, _inputs: object, output: object) -> None:
            call = calls[name] = calls.get(name, -1) + 1
            if isinstance(output, paddle.Tensor):
                check(f"{name}#{call}" if call else name, output)

        return hook

    def backbone_hook(_layer: object, _inputs: object, output: Sequence[paddle.Tensor]) -> None:
        for index, feature in enumerate(output):
            check(f"backbone[{index}]", feature)

    def neck_hook(_layer: object, _inputs: object, output: tuple[list[paddle.Tensor], paddle.Tensor]) -> None:
        pyramid, mask_features = output
        for index, feature in enumerate([*pyramid, mask_features]):
            check(f"neck[{index}]", feature)

    def model_hook(_layer: object, _inputs: object, output: object) -> None:
        found = output.predictions
        check("transformer.decoder[0]", found.boxes)
        check("transformer.decoder[1]", found.class_logits)
        check("transformer.decoder[2]", mask_logits(found.mask_embeddings, output.mask_features))

    hooks = [layer.register_forward_post_hook(hook_of(name)) for name, layer in model.named_sublayers()]
    hooks.append(model.backbone.register_forward_post_hook(backbone_hook))
    hooks.append(model.neck.register_forward_post_hook(neck_hook))
    hooks.append(model.register_forward_post_hook(model_hook))
    rgb = reference.image_rgb(image)
    pixels, _ = model.input_spec.batch([rgb])
    index = reference.golden[f"{image}/input.image@index"]
    assert np.abs(pixels.ravel()[index] - reference.golden[f"{image}/input.image"]).max() <= 1 / 255 + 1e-6
    (found,) = model.predict(paddle.to_tensor(pixels), [rgb.shape[:2]])
    for hook in hooks:
        hook.remove()
    order = query_order(reference, image, of_queries["transformer.decoder[1]"])
    for name, array in of_queries.items():
        errors[name] = reference.relative_error(image, name, array[:, order])
    return image, errors, found


def test_manifest(loaded: Loaded) -> None:
    parameters = dict(loaded.model.named_parameters())
    actual = [
        (name, list(t.shape), str(t.dtype).removeprefix("paddle."), name in parameters and not t.stop_gradient)
        for name, t in loaded.model.state_dict().items()
    ]
    expected = [(e["name"], e["shape"], e["dtype"], e["trainable"]) for e in loaded.reference.manifest]
    assert actual == expected
    assert not any("alias_of" in e for e in loaded.reference.manifest)


def test_intermediates(loaded: Loaded, evaluated: tuple[str, dict[str, float], Detections]) -> None:
    image, errors, _ = evaluated
    assert set(errors) == set(loaded.reference.tensor_names(image))
    assert len(errors) >= 35
    assert max(errors.values()) < 1e-4, errors


def test_detections(loaded: Loaded, evaluated: tuple[str, dict[str, float], Detections]) -> None:
    image, _, found = evaluated
    rows = loaded.reference.golden[f"{image}/out.bbox"]
    assert len(found.scores) == len(rows) == 100
    assert (np.diff(found.scores) <= 0).all()
    matches = match_rows(rows, found.class_ids, found.scores, found.boxes)
    assert (matches >= 0).all()
    assert np.abs(found.boxes[matches] - rows[:, 2:]).max() <= 0.05
    assert np.abs(found.scores[matches] - rows[:, 1]).max() <= 1e-4
    expected = loaded.reference.masks(image)
    for match, mask in zip(matches, expected):
        # A mask of a few pixels hangs on one of them.
        assert mask_iou(found.masks[match], mask) >= 0.999 or (found.masks[match] ^ mask).sum() <= 2


@pytest.fixture
def training(loaded: Loaded) -> Iterator[MaskRTDETR]:
    """The model in training mode with the kit's numbers for random ones; as before when the test ends."""
    model, pinned = loaded.model, loaded.reference.seeded.pinned_uniform
    default, denoising = model.uniform, model.denoising

    @cache
    def numbers(shape: tuple[int, ...]) -> paddle.Tensor:
        return paddle.to_tensor(pinned(shape))

    model.uniform = lambda shape: numbers(tuple(shape))
    model.train()
    yield model
    model.uniform, model.denoising = default, denoising
    model.clear_gradients()
    loaded.restore()


def compare_gradients(model: MaskRTDETR, expected: dict[str, float | None], without: Sequence[str]) -> None:
    parameters = {name: p for name, p in model.named_parameters() if not p.stop_gradient}
    assert set(parameters) == set(expected) | set(without)
    compared = 0
    for name, norm in expected.items():
        if norm is None or norm < 1e-4:  # zero in theory: a bias ahead of a BatchNorm
            continue
        actual = float(np.linalg.norm(parameters[name].grad.numpy().astype(np.float64)))
        assert actual == pytest.approx(norm, rel=1e-3), name
        compared += 1
    assert compared > 300


def test_training_losses_and_gradients(loaded: Loaded, training: MaskRTDETR) -> None:
    reference, model = loaded.reference, training
    expected = reference.training()
    bare_file = reference.folder / "training" / f"{reference.name}.no_denoising.json"
    bare = json.loads(bare_file.read_text())
    batch = reference.training_batch()
    arrays = (batch.boxes, batch.class_ids, batch.masks(), batch.pad_mask)
    targets = Targets(*(paddle.to_tensor(array) for array in arrays))
    images = paddle.to_tensor(model.input_spec.normalization(batch.images))
    objects = QueryTargets.from_targets(targets, expected["size"], expected["size"])
    # The features are the same with and without denoising: they are computed once.
    features = model.features(images)
    losses = model.feature_loss(*features, objects)
    assert {name: float(value) for name, value in losses.items()} == pytest.approx(expected["losses"], rel=1e-4)
    both = reference.name in BOTH_GRADIENTS
    losses["loss"].backward(retain_graph=both)
    compare_gradients(model, expected["grad_norm"], expected["without_gradient"])
    model.clear_gradients()
    model.denoising = DenoisingSettings(queries=0)
    with paddle.set_grad_enabled(both):
        losses = model.feature_loss(*features, objects)
    assert {name: float(value) for name, value in losses.items()} == pytest.approx(bare["losses"], rel=1e-4)
    if both:
        losses["loss"].backward()
        compare_gradients(model, bare["grad_norm"], bare["without_gradient"])


@pytest.mark.parametrize("loaded", NAMES[:1], indirect=True)
def test_written_weights_are_the_same_bit_for_bit(loaded: Loaded, tmp_path: Path) -> None:
    write_pdparams(tmp_path / "x.pdparams", loaded.model.state_dict())
    arrays = read_pdparams(tmp_path / "x.pdparams")
    assert list(arrays) == [e["name"] for e in loaded.reference.manifest]
    for entry in loaded.reference.manifest:
        assert loaded.reference.seeded.crc32_of(arrays[entry["name"]]) == entry["crc32"], entry["name"]
    again = build_model(loaded.reference.name, 80)
    load_weights(again, arrays, source="x.pdparams")
    for name, tensor in again.state_dict().items():
        assert (tensor.numpy() == arrays[name]).all(), name
