"""PaddleX's `create_model` and `create_pipeline`."""

from __future__ import annotations

import importlib.util
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

import instseg_rt as rt
from instseg_rt.paddlex import Model
from instseg_rt.paddlex_options import PipelineConfig, read_pipeline_config
from instseg_rt.scenes import render_scene

from ..family_bundles import WRITERS

ASSET = Path(__file__).parents[2] / "assets" / "PP-YOLOE_seg-N.scenes.pdparams"


@pytest.fixture
def model(tiny_bundle: Path) -> Iterator[Model]:
    with rt.create_model("tiny", model_dir=str(tiny_bundle), threads=1) as instance:
        yield instance


@pytest.fixture
def photos(tmp_path: Path, colored_image: np.ndarray) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("b.png", "a.png"):
        cv2.imwrite(str(folder / name), colored_image)
    return folder


def test_as_in_paddlexs_documentation(model: Model, photos: Path, tmp_path: Path) -> None:
    output = model.predict(str(photos / "a.png"), batch_size=1)
    assert iter(output) is output  # a generator
    out = tmp_path / "output"
    for res in output:
        res.print()
        res.save_to_img(save_path=str(out))
        res.save_to_json(save_path=str(out / "res.json"))
        res.save_all(save_path=str(out))
        assert res["boxes"][0].keys() == {"cls_id", "label", "score", "coordinate"}
        assert res.json["res"]["input_path"] == str(photos / "a.png")
    assert sorted(path.name for path in out.iterdir()) == ["a_res.json", "a_res.png", "res.json"]
    assert json.loads((out / "res.json").read_text())["boxes"][0]["label"] == "red"


def test_inputs(model: Model, photos: Path, colored_image: np.ndarray) -> None:
    for images, paths in [
        (colored_image, [None]),
        ([colored_image, colored_image], [None, None]),
        (str(photos), [str(photos / "a.png"), str(photos / "b.png")]),
        ([str(photos / "b.png"), colored_image], [str(photos / "b.png"), None]),
    ]:
        results = list(model.predict(images))
        assert [result["input_path"] for result in results] == paths
        assert {len(result["boxes"]) for result in results} == {3}
    assert len(next(iter(model(colored_image)))) == 3


@pytest.mark.parametrize("name", WRITERS)
def test_keys_of_every_family(name: str, tmp_path: Path) -> None:
    """SOLOv2's entries have the box of their mask, and PaddleX's own key for the class beside that of the others."""
    bundle = WRITERS[name](tmp_path / "family.bundle")
    info = rt.load_bundle(bundle)
    with rt.create_model(info.model, bundle, threshold=0.05) as model:
        (result,) = model.predict(render_scene(1, 97, 131).image)
    assert list(result.keys()) == ["input_path", "page_index", "input_img", "boxes", "masks"]
    assert 0 < len(result["boxes"]) == len(result["masks"])
    assert json.loads(json.dumps(result.json["res"]["boxes"])) == result["boxes"]
    expected = {"cls_id", "label", "score", "coordinate"} | ({"class_id"} if info.family == "solov2" else set())
    for entry, mask in zip(result["boxes"], result["masks"], strict=True):
        assert entry.keys() == expected
        assert entry.get("class_id", entry["cls_id"]) == entry["cls_id"]
        x1, y1, x2, y2 = np.rint(entry["coordinate"]).astype(int)
        assert mask.shape == (y2 - y1, x2 - x1)
        if info.family == "solov2":
            assert mask[0].any() and mask[-1].any() and mask[:, 0].any() and mask[:, -1].any()


def test_thresholds(tiny_bundle: Path, model: Model, colored_image: np.ndarray) -> None:
    """That of the call comes first, then that of the model, then that of the bundle."""

    def count(found: Model, threshold: float | None = None) -> int:
        (result,) = found.predict(colored_image, threshold=threshold)
        return len(result)

    with rt.create_model("tiny", tiny_bundle, threshold=0.2) as other:
        assert (count(model), count(other), count(other, 0.5), count(model, 0.2)) == (3, 4, 3, 4)


def test_batch_sizes(tiny_bundle: Path, model: Model, colored_image: np.ndarray) -> None:
    with rt.create_model("tiny", tiny_bundle, batch_size=3) as other:
        assert [r.timings.batch_size for r in other.predict([colored_image] * 4)] == [3, 3, 3, 1]
        assert [r.timings.batch_size for r in other.predict([colored_image] * 2, batch_size=1)] == [1, 1]
        assert [r.timings.batch_size for r in other.predict([colored_image] * 3)] == [3, 3, 3]
    assert [r.timings.batch_size for r in model.predict([colored_image] * 2)] == [1, 1]


def test_what_a_model_says(model: Model, tiny_bundle: Path) -> None:
    assert (model.model_name, model.model_dir, model.batch_size) == ("tiny", tiny_bundle, 1)
    assert model.predictor.labels == ["red", "green", "blue"]


def test_the_runtimes_own_options(tiny_bundle: Path) -> None:
    pytest.importorskip("onnxruntime")
    with rt.create_model("tiny", tiny_bundle, device="cpu", backend="onnxruntime", threads=1, contexts=2) as model:
        assert model.predictor.backend.startswith("onnxruntime")


def test_a_bundle_of_the_package() -> None:
    with rt.create_model("PP-YOLOE_seg-N") as model:
        assert model.model_dir.samefile(rt.default_bundle())


def test_closed(model: Model) -> None:
    model.close()
    model.close()
    with pytest.raises(rt.InvalidArgumentError, match="closed"):
        list(model.predict(np.zeros((8, 8, 3), np.uint8)))


def test_a_bundle_of_another_model(tiny_bundle: Path) -> None:
    with pytest.raises(rt.InvalidArgumentError, match="a bundle of tiny, not of SOLOv2"):
        rt.create_model("SOLOv2", tiny_bundle)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_hpip": True}, "create_model: use_hpip=True is not an option here: .* backend, precision"),
        ({"hpi_config": {"backend": "onnx"}}, "hpi_config=.* backend, precision, threads and contexts"),
        ({"pp_option": object()}, "no Paddle is used at run time"),
        ({"engine": "paddle"}, "use backend='openvino' or"),
        ({"engine_config": {"a": 1}}, "engine_config="),
        ({"genai_config": {"backend": "x"}}, "leave it out"),
        ({"img_size": 320}, "instseg export --image-size"),
        ({"treshold": 0.3}, r"unknown option 'treshold'; did you mean threshold\?"),
        ({"xyz": 1}, "unknown option 'xyz'$"),
        ({"threshold": 1.5}, "threshold: expected a number from 0 to 1, found 1.5"),
        ({"threshold": "0.5"}, "threshold: expected a number from 0 to 1, found '0.5'"),
        ({"threshold": {0: 0.5}}, "threshold: expected a number"),
        ({"batch_size": 0}, "batch_size: expected a whole number of at least 1"),
        ({"device": "npu:0"}, "device: expected cpu, gpu"),
        ({"device": "gpu:0,1"}, "device: expected cpu, gpu"),
    ],
)
def test_options_that_are_refused(tiny_bundle: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(rt.InvalidArgumentError, match=message) as caught:
        rt.create_model("tiny", tiny_bundle, **options)
    assert "\n" not in str(caught.value)


def test_options_that_ask_for_nothing(tiny_bundle: Path) -> None:
    with rt.create_model("tiny", tiny_bundle, use_hpip=False, hpi_config=None, pp_option=None, engine=None) as model:
        assert model.model_name == "tiny"


def pipeline_config(tiny_bundle: Path, **changes: Any) -> dict[str, Any]:
    section = {
        "module_name": "instance_segmentation",
        "model_name": "tiny",
        "model_dir": str(tiny_bundle),
        "batch_size": 2,
        "threshold": 0.2,
        **changes,
    }
    return {"pipeline_name": "instance_segmentation", "SubModules": {"InstanceSegmentation": section}}


def test_pipelines(tiny_bundle: Path, colored_image: np.ndarray, tmp_path: Path) -> None:
    config = pipeline_config(tiny_bundle)
    path = tmp_path / "my_path" / "instance_segmentation.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(config))
    makers: list[Callable[[], Any]] = [
        lambda: rt.create_pipeline(pipeline=str(path)),
        lambda: rt.create_pipeline(path, use_hpip=False),
        lambda: rt.create_pipeline(config=config, device="cpu"),
        lambda: rt.create_pipeline("instance_segmentation", config=config),
    ]
    for make in makers:
        with make() as pipeline:
            results = list(pipeline.predict([colored_image] * 2))
            assert [len(result) for result in results] == [4, 4]
            assert [result.timings.batch_size for result in results] == [2, 2]
            assert [len(result) for result in pipeline(colored_image, threshold=0.5)] == [3]


def test_paddlexs_default_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_pipeline_config("instance_segmentation") == PipelineConfig("Mask-RT-DETR-S", None, 1, 0.5)
    asked: list[Any] = []

    def find(model: str, folder: Any) -> Path:
        asked.append((model, folder))
        return rt.default_bundle()

    monkeypatch.setattr("instseg_rt.paddlex.find_model_files", find)
    with pytest.raises(rt.InvalidArgumentError, match="not of Mask-RT-DETR-S"):
        rt.create_pipeline("instance_segmentation")
    assert asked == [("Mask-RT-DETR-S", None)]


def test_null_is_a_threshold(tiny_bundle: Path) -> None:
    config = pipeline_config(tiny_bundle, threshold=None)
    assert read_pipeline_config(None, config).threshold is None


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (None, "expected 'instance_segmentation', or a configuration"),
        ("instance_segmentatoin", r"did you mean instance_segmentation\?"),
        ("OCR", "unknown pipeline 'OCR' "),
        ("missing.yaml", r"missing\.yaml: cannot be read"),
    ],
)
def test_wrong_pipelines(pipeline: str | None, message: str) -> None:
    with pytest.raises(rt.Error, match=message):
        rt.create_pipeline(pipeline)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ([], "config: expected the keys pipeline_name, SubModules, found"),
        ({"pipeline_name": "OCR"}, "pipeline_name: expected 'instance_segmentation', found 'OCR'"),
        (
            {"pipeline_name": "instance_segmentation"},
            "SubModules: expected the keys InstanceSegmentation, found nothing",
        ),
        ({"Global": {"pipeline_name": "instance_segmentation"}}, "config: unknown option 'Global'"),
        (
            {"pipeline_name": "instance_segmentation", "SubModules": {"InstanceSegmentatio": {}}},
            r"unknown option 'InstanceSegmentatio'; did you mean InstanceSegmentation\?",
        ),
        ({"model_name": None}, "InstanceSegmentation.model_name: expected the name of a model, found None"),
        ({"module_name": "ocr"}, "module_name: expected 'instance_segmentation', found 'ocr'"),
        ({"treshold": 1}, r"unknown option 'treshold'; did you mean threshold\?"),
        ({"use_hpip": True}, "use_hpip=True is not an option here"),
        ({"batch_size": "2"}, "batch_size: expected a whole number"),
        ({"threshold": 3}, "threshold: expected a number"),
    ],
)
def test_wrong_configurations(tiny_bundle: Path, config: Any, message: str) -> None:
    whole = isinstance(config, list) or "pipeline_name" in config or "Global" in config
    with pytest.raises(rt.InvalidArgumentError, match=message):
        rt.create_pipeline(config=config if whole else pipeline_config(tiny_bundle, **config))


def test_a_pipeline_of_another_name(tiny_bundle: Path) -> None:
    with pytest.raises(rt.InvalidArgumentError, match="pipeline_name: expected 'OCR', found 'instance_segmentation'"):
        rt.create_pipeline("OCR", config=pipeline_config(tiny_bundle))


@pytest.mark.parametrize("text", ["a: [", "a: !!python/object:os.system {}", "- 1", ""])
def test_files_that_are_no_configuration(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(rt.InvalidArgumentError, match=r"p\.yaml: ") as caught:
        rt.create_pipeline(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_weights_are_converted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Really: the weights of the embedded bundle, in PaddleX's layout with its description of labels and input."""
    if importlib.util.find_spec("paddle2onnx") is None:  # it is for another process, not imported here
        pytest.skip("needs the [export] extra")
    monkeypatch.setenv("INSTSEG_CACHE", str(tmp_path / "cache"))
    embedded = rt.load_bundle(rt.default_bundle())
    best = tmp_path / "output" / "best_model"
    (best / "inference").mkdir(parents=True)
    (best / "best_model.pdparams").write_bytes(ASSET.read_bytes())
    size = [embedded.input.height, embedded.input.width]
    description = {
        "Global": {"model_name": "PP-YOLOE_seg-N"},
        "Preprocess": [{"type": "Resize", "keep_ratio": False, "target_size": size}],
        "label_list": embedded.labels,
    }
    (best / "inference" / "inference.yml").write_text(yaml.safe_dump(description))
    (best / "inference" / "inference.pdiparams").touch()
    scene = render_scene(3, 320, 320).image[:, :, ::-1]
    # The embedded weights are float16; bfloat16 could move a box by two of its steps between neighbouring weights.
    with caplog.at_level(logging.INFO, "instseg_rt"):
        model = rt.create_model("PP-YOLOE_seg-N", str(best / "inference"), precision="fp32")
    assert any("converting Paddle weights, once" in line for line in caplog.messages)
    (found,) = model.predict(scene)
    (expected,) = rt.create_model("PP-YOLOE_seg-N", precision="fp32").predict(scene)
    assert len(found) > 2
    assert found.labels == expected.labels
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.5)
    np.testing.assert_allclose(found.scores, expected.scores, atol=5e-3)
    caplog.clear()
    again = rt.create_model("PP-YOLOE_seg-N", str(best))
    assert again.model_dir == model.model_dir
    assert caplog.messages == []
