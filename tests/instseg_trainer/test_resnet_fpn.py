"""ResNet and FPN equal the reference in every model that has them: names, what learns, and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.input_spec import IMAGENET_NORMALIZATION, InputSpec
from instseg_trainer.models.fpn import FPN
from instseg_trainer.models.resnet import BlockOptions, Bottleneck, Res5Head, ResNet
from tests.reference_kit import ReferenceModel


@dataclass
class Case:
    """One model's backbone and neck; no `fpn` in C4."""

    name: str
    backbone: dict[str, Any]
    fpn: bool = True
    learning_rates: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)


SSLD_RATES = (0.05, 0.05, 0.1, 0.15)
CASES = [
    Case("MaskRCNN-ResNet50", {"return_stages": [2], "num_stages": 3}, fpn=False),
    Case("MaskRCNN-ResNet50-FPN", {}),
    Case("MaskRCNN-ResNet50-vd-FPN", {"variant": "d"}),
    Case("MaskRCNN-ResNet101-FPN", {"depth": 101}),
    Case("MaskRCNN-ResNet101-vd-FPN", {"depth": 101, "variant": "d"}),
    Case("MaskRCNN-ResNeXt101-vd-FPN", {"depth": 101, "variant": "d", "groups": 64, "base_width": 4}),
    Case("Cascade-MaskRCNN-ResNet50-FPN", {}),
    Case("Cascade-MaskRCNN-ResNet50-vd-SSLDv2-FPN", {"variant": "d", "learning_rates": SSLD_RATES},
         learning_rates=SSLD_RATES),
    Case("SOLOv2", {}),
]  # fmt: skip
NUMBERS = [
    c for c in CASES if c.name in {"MaskRCNN-ResNet50", "MaskRCNN-ResNet50-vd-FPN", "MaskRCNN-ResNeXt101-vd-FPN"}
]


class Features(paddle.nn.Layer):
    """Backbone and neck, named as in the models."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.backbone = ResNet(**case.backbone)
        if case.fpn:
            self.neck = FPN(self.backbone.out_channels)


def entries(layer: paddle.nn.Layer) -> list[dict[str, Any]]:
    parameters = dict(layer.named_parameters())
    return [
        {
            "name": name,
            "shape": list(t.shape),
            "dtype": str(t.dtype).removeprefix("paddle."),
            "trainable": name in parameters and not t.stop_gradient,
        }
        for name, t in layer.state_dict().items()
    ]


def manifest_part(reference: ReferenceModel, *prefixes: str) -> list[dict[str, Any]]:
    return [{k: e[k] for k in ("name", "shape", "dtype", "trainable")} for e in reference.manifest
            if e["name"].startswith(prefixes)]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_manifest(shared: Path, case: Case) -> None:
    reference = ReferenceModel.load(shared, case.name)
    with paddle.LazyGuard():  # names and shapes only
        layers = Features(case)
    assert entries(layers) == manifest_part(reference, "backbone.", "neck.")
    rates = {
        name: parameter.optimize_attr["learning_rate"]
        for name, parameter in layers.named_parameters()
        if not parameter.stop_gradient
    }
    for stage, rate in enumerate(case.learning_rates[: 3 if not case.fpn else 4], start=2):
        of_stage = {value for name, value in rates.items() if name.startswith(f"backbone.res{stage}.")}
        assert of_stage == (set() if stage == 2 else {rate})
    assert {value for name, value in rates.items() if name.startswith("neck.")} <= {1.0}


def test_manifest_of_the_c4_head(shared: Path) -> None:
    expected = manifest_part(ReferenceModel.load(shared, "MaskRCNN-ResNet50"), "bbox_head.head.")
    with paddle.LazyGuard():
        head = Res5Head()
    assert [e | {"name": f"bbox_head.head.{e['name']}"} for e in entries(head)] == expected


def learning_names(backbone: ResNet) -> list[str]:
    return [name for name, parameter in backbone.named_parameters() if not parameter.stop_gradient]


def test_number_of_learning_stages_and_norms() -> None:
    with paddle.LazyGuard():
        everything = ResNet(freeze_at=-1, freeze_norm=False, norm_decay=0.1)
        frozen_norms = ResNet(freeze_at=-1)
        up_to_res4 = ResNet(freeze_at=2)
    assert len(learning_names(everything)) == 3 * 53
    assert everything.conv1.conv1.norm.weight.regularizer._coeff == 0.1
    learning = learning_names(frozen_norms)
    assert len(learning) == 53
    assert learning[0] == "conv1.conv1.conv.weight"
    assert not any(".norm." in name for name in learning)
    assert {name.split(".")[0] for name in learning_names(up_to_res4)} == {"res5"}


def test_frozen_norms_use_their_running_statistics_in_training() -> None:
    x = paddle.randn([2, 8, 5, 5])
    frozen = Bottleneck(8, 2, 1, identity=True, options=BlockOptions())
    frozen.train()
    first = frozen(x)
    assert (frozen(x) == first).all()
    assert float(frozen.branch2a.norm._mean.abs().sum()) == 0
    learning = Bottleneck(8, 2, 1, identity=True, options=BlockOptions(freeze_norm=False))
    learning.train()
    learning(x)
    assert float(learning.branch2a.norm._mean.abs().sum()) > 0


def test_sizes_not_divisible_by_the_stride() -> None:
    backbone = ResNet(variant="d", num_stages=2, return_stages=[0, 1])
    maps = backbone(paddle.zeros([1, 3, 70, 98]))
    assert [m.shape for m in maps] == [[1, 256, 18, 25], [1, 512, 9, 13]]
    assert backbone.out_channels == [256, 512]
    assert backbone.out_strides == [4, 8]
    neck = FPN(backbone.out_channels, 8)
    assert [m.shape for m in neck(maps)] == [[1, 8, 18, 25], [1, 8, 9, 13], [1, 8, 5, 7]]
    assert len(FPN(backbone.out_channels, 8, extra_level=False)(maps)) == 2


def test_wrong_settings() -> None:
    with pytest.raises(ValueError, match=r"depth .* \[50, 101\], found 34"):
        ResNet(34)
    with pytest.raises(ValueError, match=r"\[3\]: expected some of 0\.\.2"):
        ResNet(num_stages=3, return_stages=[3])


def relative_errors(reference: ReferenceModel, tensor: str, actual: np.ndarray) -> np.ndarray:
    """Of every stored sample, relative to their mean |x| + std."""
    expected = reference.golden[f"a/{tensor}"].astype(np.float64)
    values = actual.ravel()[reference.golden[f"a/{tensor}@index"]]
    return np.abs(values - expected) / (np.abs(expected).mean() + expected.std())


@pytest.mark.slow
@pytest.mark.parametrize("case", NUMBERS, ids=lambda case: case.name)
def test_numbers(shared: Path, case: Case) -> None:
    reference = ReferenceModel.load(shared, case.name)
    layers = Features(case)
    state = {n: a for n, a in reference.seeded_state().items() if n.startswith(("backbone.", "neck."))}
    missing, unexpected = layers.set_state_dict(state)
    assert not missing and not unexpected
    layers.eval()
    captured: dict[str, Any] = {}
    layers.backbone.conv1.register_forward_post_hook(lambda _layer, _in, out: captured.update({"backbone.conv1": out}))
    spec = InputSpec(800, 1333, "keep_ratio", "cubic", IMAGENET_NORMALIZATION, pad_stride=32 if case.fpn else 1)
    pixels, _ = spec.batch([reference.image_rgb("a")])
    index = reference.golden["a/input.image@index"]
    assert np.abs(pixels.ravel()[index] - reference.golden["a/input.image"]).max() <= 1e-5
    with paddle.no_grad():
        maps = layers.backbone(paddle.to_tensor(pixels))
        levels = layers.neck(maps) if case.fpn else []
    captured |= {"backbone" if len(maps) == 1 else f"backbone[{i}]": m for i, m in enumerate(maps)}
    captured |= {f"neck[{i}]": m for i, m in enumerate(levels)}
    names = [n for n in reference.tensor_names("a") if n.startswith(("backbone", "neck"))]
    assert set(names) == set(captured)
    errors = {name: relative_errors(reference, name, captured[name].numpy()) for name in names}
    # OpenCV's bicubic resize of bytes differs by processor: a handful of the three million input values are one step of
    # 255 off, and the features near them by up to 6e-3. What is wrong in a layer is wrong everywhere.
    medians = {name: float(np.median(error)) for name, error in errors.items()}
    assert max(medians.values()) < 2e-5, medians
    largest = {name: float(error.max()) for name, error in errors.items()}
    assert max(largest.values()) < 1e-2, largest
