"""Optimizers, freezing and averages: each parameter gets what the model and the recipe say."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.config import OptimizerConfig, ParameterGroupConfig
from instseg_trainer.engine.distributed import World
from instseg_trainer.engine.ema import ModelEMA
from instseg_trainer.engine.freeze import apply_freezing
from instseg_trainer.engine.optimizer import build_optimizer
from instseg_trainer.errors import ConfigError

from .fake_models import FakeRegionModel

ADAMW = OptimizerConfig("adamw", 0.9, 0.1, None, 0.0, [])
MOMENTUM = OptimizerConfig("momentum", 0.9, 0.1, None, 0.0, [])


def moved(config: OptimizerConfig, **freezing: list[str]) -> dict[str, float]:
    """One step with gradients of zero, at a learning rate of 1: the share by which decay alone shrinks each parameter;
    1 for what does not move."""
    paddle.seed(0)
    model = FakeRegionModel()
    apply_freezing(model, freezing.get("freeze", []), freezing.get("unfreeze", []))
    optimizer = build_optimizer(config, model, 1.0)
    parameters = {n: p for n, p in model.named_parameters() if not n.endswith(("_mean", "_variance"))}
    for parameter in parameters.values():
        parameter.set_value(paddle.ones_like(parameter))
        if not parameter.stop_gradient:
            (parameter * 0.0).sum().backward()
    optimizer.step()
    return {name: float(parameter.mean()) for name, parameter in parameters.items()}


def test_adamw_decays_matrices_and_where_asked_vectors() -> None:
    shares = moved(ADAMW)
    assert shares["head.weight"] == pytest.approx(0.9)
    assert shares["backbone.deep.weight"] == pytest.approx(0.99)  # the model's own learning rate factor
    assert {shares[n] for n in ("head.bias", "norm.weight", "norm.bias", "backbone.stem.weight")} == {1.0}
    everything = moved(dataclasses.replace(ADAMW, decay_vectors=True))
    for name in ("head.weight", "head.bias", "norm.weight", "norm.bias"):
        assert everything[name] == pytest.approx(0.9), name
    assert everything["backbone.stem.weight"] == 1.0


def test_momentum_decays_all_that_has_no_regularizer_of_its_own() -> None:
    shares = moved(MOMENTUM)
    assert shares["head.bias"] == pytest.approx(0.9)
    assert shares["backbone.deep.weight"] == pytest.approx(0.99)
    assert shares["backbone.norm.weight"] == 1.0
    matrices = moved(dataclasses.replace(MOMENTUM, decay_vectors=False))
    assert matrices["head.weight"] == pytest.approx(0.9)
    assert matrices["head.bias"] == matrices["norm.weight"] == 1.0


@pytest.mark.parametrize("base", [ADAMW, MOMENTUM], ids=["adamw", "momentum"])
def test_parameter_groups(base: OptimizerConfig) -> None:
    groups = [
        ParameterGroupConfig(["^head", "deep"], weight_decay=0.0),
        ParameterGroupConfig([r"^head\.weight"], learning_rate_factor=0.5, weight_decay=0.1),
    ]
    shares = moved(dataclasses.replace(base, parameter_groups=groups))
    assert shares["head.weight"] == pytest.approx(0.95)
    assert shares["head.bias"] == 1.0
    assert shares["backbone.deep.weight"] == 1.0


@pytest.mark.parametrize(
    ("group", "reason"),
    [
        (ParameterGroupConfig(["neck"], 0.1), "'neck' is found in no parameter's name"),
        (ParameterGroupConfig(["head("], 0.1), "not a regular expression"),
        (ParameterGroupConfig(["_mean"], 0.1), "is found in no parameter's name"),
        (ParameterGroupConfig(["head"], None, 0.3), "weight_decay with adamw is 0 or the common one"),
    ],
)
def test_wrong_groups(group: ParameterGroupConfig, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        build_optimizer(dataclasses.replace(ADAMW, parameter_groups=[group]), FakeRegionModel(), 1.0)


def train_steps(model: FakeRegionModel, config: OptimizerConfig, count: int = 2) -> None:
    optimizer = build_optimizer(config, model, 0.1)
    model.train()
    for _ in range(count):
        images = paddle.rand([2, 3, 64, 64]) + 3.0
        boxes = paddle.to_tensor([[[0.0, 0.0, 32.0, 32.0]]] * 2)
        targets: Any = type("Boxes", (), {"boxes": boxes})()
        model.loss(images, targets)["loss"].backward()
        optimizer.step()
        optimizer.clear_grad()


def changed(model: FakeRegionModel, freezing: dict[str, list[str]]) -> set[str]:
    apply_freezing(model, freezing.get("freeze", []), freezing.get("unfreeze", []))
    before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    train_steps(model, MOMENTUM)
    return {name for name, tensor in model.state_dict().items() if not np.array_equal(tensor.numpy(), before[name])}


def test_training_keeps_what_the_model_freezes() -> None:
    found = changed(FakeRegionModel(), {})
    assert not [name for name in found if name.startswith(("backbone.stem", "backbone.norm"))]
    assert {"backbone.deep.weight", "norm.weight", "norm._mean", "norm._variance", "head.weight"} <= found


def test_a_recipe_freezes_and_unfreezes() -> None:
    found = changed(FakeRegionModel(), {"unfreeze": ["^backbone"], "freeze": [r"^norm\."]})
    assert {"backbone.stem.weight", "backbone.norm.weight", "backbone.norm._mean"} <= found
    assert not [name for name in found if name.startswith("norm.")]


def test_unfreezing_gives_a_learning_rate_back() -> None:
    model = FakeRegionModel()
    model.backbone.norm.weight.optimize_attr["learning_rate"] = 0.0
    assert "backbone.norm.weight" in changed(model, {"unfreeze": [r"^backbone\.norm"]})


def test_freezing_that_makes_no_sense() -> None:
    with pytest.raises(ConfigError, match=r"head\.bias is found by both"):
        apply_freezing(FakeRegionModel(), ["head"], ["bias"])
    with pytest.raises(ConfigError, match=r"Recipe\.unfreeze: 'tail' is found in no parameter's name"):
        apply_freezing(FakeRegionModel(), [], ["tail"])
    model = FakeRegionModel()
    apply_freezing(model, ["."], [])
    with pytest.raises(ConfigError, match="nothing is left to train"):
        build_optimizer(ADAMW, model, 0.1)


@pytest.mark.parametrize("base", [ADAMW, MOMENTUM], ids=["adamw", "momentum"])
@pytest.mark.parametrize("limit", [1e-3, 1e6])
def test_gradients_are_clipped_as_paddle_does(base: OptimizerConfig, limit: float) -> None:
    weights = []
    for own in (True, False):
        paddle.seed(1)
        model = FakeRegionModel()
        optimizer = build_optimizer(dataclasses.replace(base, gradient_clip=limit), model, 0.1)
        if not own:
            optimizer._grad_clip = paddle.nn.ClipGradByGlobalNorm(limit)
        (model.head.weight.square().sum() + model.norm.weight.exp().sum()).backward()
        optimizer.step()
        weights.append([model.head.weight.numpy(), model.norm.weight.numpy()])
    for mine, expected in zip(*weights, strict=True):
        assert np.array_equal(mine, expected)


def decay_of(kind: str, step: int) -> float:
    if kind == "threshold":
        return min(0.5, (1 + step) / (10 + step))
    return 0.5 * (1 - np.exp(-(step + 1) / 2000)) if kind == "exponential" else 0.5


@pytest.mark.parametrize("kind", ["threshold", "exponential", "normal"])
def test_averaged_weights(kind: Any) -> None:
    model = paddle.nn.Linear(2, 2)
    ema = ModelEMA(model, 0.5, kind)
    expected = model.weight.numpy().astype(np.float64)
    for step in range(6):
        model.weight.set_value(paddle.rand([2, 2]))
        ema.update()
        decay = decay_of(kind, step)
        expected = decay * expected + (1 - decay) * model.weight.numpy()
    np.testing.assert_allclose(ema.state["weight"].numpy(), expected, rtol=1e-5)


def test_averages_take_statistics_and_leave_fixed_parameters() -> None:
    model = FakeRegionModel()
    ema = ModelEMA(model, 0.5, "normal")
    train_steps(model, MOMENTUM)
    ema.update()
    state = model.state_dict()
    assert np.array_equal(ema.state["backbone.stem.weight"].numpy(), state["backbone.stem.weight"].numpy())
    assert not np.array_equal(ema.state["norm._mean"].numpy(), state["norm._mean"].numpy())
    assert ema.state["norm._mean"].numpy().any()


def test_processes_average_gradients_also_of_what_one_did_not_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    reached, missed = paddle.nn.Linear(2, 2).weight, paddle.nn.Linear(2, 1).weight
    (reached * 4.0).sum().backward()

    def all_reduce(flat: Any) -> None:  # the other process had 2 and 6
        flat.add_(paddle.concat([paddle.full([4], 2.0), paddle.full([2], 6.0)]))

    monkeypatch.setattr(paddle.distributed, "all_reduce", all_reduce)
    World(0, 2).average_gradients([reached, missed])
    assert reached.grad.numpy().ravel().tolist() == [3.0] * 4
    assert missed.grad.numpy().ravel().tolist() == [3.0] * 2
