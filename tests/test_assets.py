"""The weights that are shipped beside the code load by name."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conftest import REPOSITORY

pytest.importorskip("paddle", reason="needs the [train] extra")

from instseg_trainer.models import build_model
from instseg_trainer.weights import load_weights, read_pdparams

SCENES_WEIGHTS = REPOSITORY / "assets" / "PP-YOLOE_seg-N.scenes.pdparams"


def test_scene_weights_load_by_name_and_become_float32() -> None:
    arrays = read_pdparams(SCENES_WEIGHTS)
    model = build_model("PP-YOLOE_seg-N", 5)
    report = load_weights(model, arrays, source=SCENES_WEIGHTS.name)
    assert not report.missing
    assert not report.unexpected
    name = "backbone.stem.conv1.conv.weight"
    assert arrays[name].dtype == np.float16
    loaded = model.state_dict()[name].numpy()
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, arrays[name].astype(np.float32))
