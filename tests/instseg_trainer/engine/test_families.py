"""The engine with models of every kind: ratio kept, shapes instead of masks, no averages; and the recipes of all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.config import configs_folder, load_config
from instseg_trainer.data import CocoDataset, DataError
from instseg_trainer.data.resize import BatchRandomResize, RandomResize, Resize
from instseg_trainer.engine import trainer as trainer_module
from instseg_trainer.engine.checkpoint import latest_checkpoint
from instseg_trainer.engine.evaluate import evaluate_model
from instseg_trainer.engine.inputs import misses_evaluation_size, pad_stride, sized_input, training_steps
from instseg_trainer.engine.trainer import Trainer
from instseg_trainer.errors import ConfigError
from instseg_trainer.input_spec import InputSpec
from instseg_trainer.weights import read_pdparams

from .fake_models import FakeRegionModel, configuration

STRETCH = InputSpec()
KEEP_RATIO = InputSpec(800, 1333, "keep_ratio", "linear", pad_stride=32)


def test_a_region_model_trains_resumes_and_is_evaluated(
    folder: Path, tmp_path: Path, fake: list[FakeRegionModel]
) -> None:
    result = Trainer(configuration(folder, tmp_path / "whole", "Recipe.evaluation_batch_size=3")).run()
    model = fake[0]
    assert result.iterations == 9 == len(model.given)
    for shape, targets in model.given:
        assert shape[0] == 2
        assert not shape[2] % 32
        assert not shape[3] % 32
        sizes = targets.image_sizes.numpy()
        assert {*sizes.min(axis=1)} <= {64, 96}
        assert (sizes <= shape[2:]).all()
        assert targets.segments is not None
        assert [len(shapes) for shapes in targets.segments] == targets.pad_mask.sum([1, 2]).astype(int).tolist()
        assert targets.masks.shape[2:] == [0, 0]
    assert {tuple(shape[2:]) for shape, _ in model.given} <= {(64, 96), (96, 128)}
    # Three evaluations of four images, in batches of three and one, at the model's own size.
    assert [shape for shape, _, _ in model.predicted] == [[3, 3, 96, 128], [1, 3, 96, 128]] * 3
    assert model.predicted[0][1:] == ([(160, 200)] * 3, [(96, 120)] * 3)

    # Without averages the best weights are the plain ones, and a checkpoint has no averages.
    checkpoint = latest_checkpoint(tmp_path / "whole")
    assert checkpoint is not None
    assert not (checkpoint / "model.pdema").exists()
    best = read_pdparams(result.best_weights)
    assert result.best_epoch == 3
    for name, array in read_pdparams(checkpoint / "model.pdparams").items():
        assert np.array_equal(array, best[name]), name
    assert not np.array_equal(best["norm._mean"], FakeRegionModel().norm._mean.numpy())

    # Broken off after seven iterations and resumed: the same weights, bit for bit.
    steps = iter(range(7))
    broken = Trainer(configuration(folder, tmp_path / "broken", "Recipe.checkpoint_interval=4"))
    take_step = broken._step

    def stop_after_seven(batch: Any) -> dict[str, float]:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return take_step(batch)

    broken._step = stop_after_seven  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    resume = configuration(
        folder, tmp_path / "broken", "Recipe.checkpoint_interval=4", f"Train.resume_path={tmp_path / 'broken'}"
    )
    resumed = Trainer(resume).run()
    assert len(fake[-1].given) == 9 - 6  # the end of the second epoch, two after the checkpoint of iteration four
    for name, array in read_pdparams(resumed.best_weights).items():
        assert np.array_equal(array, best[name]), name


def test_checkpoints_are_not_written_all_the_time(
    folder: Path, tmp_path: Path, fake: list[FakeRegionModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    monkeypatch.setattr(trainer_module, "save_checkpoint", lambda *arguments: saved.append(arguments[-1].iteration))

    def iterations(*more: str) -> list[int]:
        saved.clear()
        Trainer(configuration(folder, tmp_path / "o", "Train.eval_interval=0", *more)).run()
        return saved.copy()

    assert iterations() == [9]
    assert iterations("Recipe.checkpoint_interval=2") == [2, 3, 5, 6, 8, 9]
    assert iterations("Recipe.checkpoint_interval=3") == [3, 6, 9]
    assert iterations("Recipe.checkpoint_interval=5", "Train.epochs_iters=4") == [3, 6, 9, 12]
    assert iterations("Recipe.checkpoint_interval=9", "Train.epochs_iters=4") == [6, 12]


def test_evaluating_leaves_the_mode_and_shows_progress(folder: Path) -> None:
    dataset = CocoDataset(folder, "annotations/instance_val.json", allow_empty=True)
    model = FakeRegionModel()
    for training in (True, False):
        model.train() if training else model.eval()
        done: list[int] = []
        metrics, _ = evaluate_model(model, dataset, (64, 64), batch_size=3, on_progress=done.append)
        assert done == [3, 4]
        assert model.training is training
        assert metrics.mask.ap >= 0.0
    assert model.predicted[-1][0] == [1, 3, 64, 64]
    assert model.predicted[-1][2] == [(51, 64)]


def test_the_input_is_the_models_own_unless_the_recipe_says_otherwise() -> None:
    assert sized_input(STRETCH, None) is STRETCH
    assert sized_input(STRETCH, [320, 416]) == InputSpec(320, 416)
    fitted = sized_input(KEEP_RATIO, [500, 833])
    assert (fitted.height, fitted.width, fitted.resize) == (500, 833, "keep_ratio")
    assert (pad_stride(STRETCH), pad_stride(fitted)) == (None, 32)
    with pytest.raises(ConfigError, match="multiple of 32"):
        sized_input(STRETCH, [500, 833])
    for wrong in ([320], [0, 320], [320, 320, 3]):
        with pytest.raises(ConfigError, match=r"expected \[height, width\]"):
            sized_input(KEEP_RATIO, wrong)


def test_a_resize_to_the_input_follows_where_the_recipe_has_none() -> None:
    assert training_steps([], KEEP_RATIO)[-1] == Resize((800, 1333), keep_ratio=True, interp=1)
    assert training_steps([{"RandomFlip": {}}], STRETCH)[-1] == Resize((640, 640), keep_ratio=False, interp=2)
    own = training_steps([{"BatchRandomResize": {"target_size": [480, 512], "keep_ratio": False}}], STRETCH)
    assert [type(step) for step in own] == [BatchRandomResize]
    assert misses_evaluation_size(own, STRETCH)
    assert not misses_evaluation_size(training_steps([], STRETCH), STRETCH)
    for resize in (
        {"RandomResize": {"target_size": [[640, 1333]]}},
        {"BatchRandomResize": {"target_size": [480, 500], "keep_ratio": False}},
    ):
        with pytest.raises(ConfigError, match="this model needs keep_ratio false and sizes that are multiples"):
            training_steps([resize], STRETCH)
    with pytest.raises(DataError, match="unknown transform"):
        training_steps([{"NormalizeImage": {}}], STRETCH)


RECIPES = sorted(path.stem for path in (configs_folder() / "instance_segmentation").glob("*.yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_fits_the_input_of_its_model(name: str, shared: Path) -> None:
    """The resize that the reference kit records for a model is among the sizes that it is trained at."""
    models = json.loads((shared / "reference" / "summary.json").read_text())
    if name == "PP-YOLOE_seg-N":  # ours
        return
    stretches = any("keep_ratio false" in line for line in models[name]["preprocess"])
    spec = STRETCH if stretches else KEEP_RATIO
    steps = training_steps(load_config(name).Recipe.augmentation, spec)
    assert isinstance(steps[-1], BatchRandomResize) == name.startswith("Mask-RT-DETR")
    assert any(isinstance(step, RandomResize) for step in steps) == ("RCNN" in name)
    assert not misses_evaluation_size(steps, spec)


def test_there_is_a_recipe_for_every_model_of_the_reference(shared: Path) -> None:
    models = json.loads((shared / "reference" / "summary.json").read_text())
    assert set(models) <= set(RECIPES)
    assert len(RECIPES) == 16
