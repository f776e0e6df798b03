"""Learning rates: warm-up, then the recipe's decay."""

from __future__ import annotations

import dataclasses

import pytest

from instseg_trainer.config import ScheduleConfig, load_config
from instseg_trainer.engine.schedule import CosineDecay, Schedule, Warmup, build_schedule
from instseg_trainer.errors import ConfigError


def recipe(model: str, epochs: int, per_epoch: int = 100, **changes: object) -> Schedule:
    config = load_config(model)
    schedule = dataclasses.replace(config.Recipe.schedule, **changes)  # type: ignore[arg-type]
    return build_schedule(schedule, config.Train.learning_rate, config.Train.warmup_steps, epochs, per_epoch)


def test_cosine_after_a_warmup_from_zero() -> None:
    schedule = Warmup(0.1, 10, 0.0, CosineDecay(0.1, first_step=10, last_step=110, minimum=0.01))
    assert schedule(0) == 0
    assert schedule(5) == pytest.approx(0.05)
    assert schedule(10) == pytest.approx(0.1)
    assert schedule(60) == pytest.approx(0.055)
    assert schedule(110) == pytest.approx(0.01)
    assert schedule(500) == pytest.approx(0.01)
    values = [schedule(i) for i in range(10, 111)]
    assert values == sorted(values, reverse=True)


def test_the_ppyoloe_recipe_would_reach_zero_after_a_fifth_more_epochs() -> None:
    schedule = recipe("PP-YOLOE_seg-S", epochs=40)
    assert schedule(100) == pytest.approx(0.001)
    assert schedule(3999) > 0.0
    assert schedule(4800) == pytest.approx(0.0, abs=1e-9)


def test_the_rcnn_recipe_falls_tenfold_twice_where_the_reference_does() -> None:
    schedule = recipe("MaskRCNN-ResNet50-FPN", epochs=12)
    assert schedule(0) == pytest.approx(0.01 * 0.001)
    assert schedule(50) == pytest.approx(0.01 * (0.001 + 1) / 2)
    for iteration, expected in ((100, 0.01), (799, 0.01), (800, 0.001), (1099, 0.001), (1100, 1e-4), (1199, 1e-4)):
        assert schedule(iteration) == pytest.approx(expected)
    long = recipe("MaskRCNN-ResNeXt101-vd-FPN", epochs=24)
    assert [long(i) for i in (1599, 1600, 2199, 2200)] == pytest.approx([0.01, 0.001, 0.001, 1e-4])
    assert long(0) == pytest.approx(0.001)


def test_the_rtdetr_recipe_stays_constant() -> None:
    schedule = recipe("Mask-RT-DETR-L", epochs=72)
    assert schedule(0) == pytest.approx(1e-7)
    assert {schedule(i) for i in (100, 3000, 7199)} == {1e-4}


def test_without_a_warmup() -> None:
    config = ScheduleConfig("constant", 0.0, 1.2, 0.0, [], 0.1)
    assert build_schedule(config, 0.5, 0, 3, 10)(0) == 0.5


@pytest.mark.parametrize("milestones", [[], [0.9, 0.5], [0.0, 0.5], [0.5, 1.5]])
def test_milestones_that_make_no_sense(milestones: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"Recipe\.schedule\.milestones: expected rising parts"):
        recipe("SOLOv2", epochs=12, milestones=milestones)
