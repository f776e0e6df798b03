"""`instseg-export`: the graph, its manifest, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("paddle", reason="needs the [train] extra")
onnx = pytest.importorskip("onnx", reason="needs the [export] extra")
pytest.importorskip("paddle2onnx", reason="needs the [export] extra")

import instseg_rt
from instseg_export.cli import main
from instseg_export.exporter import ExportOptions, _read_source, export_bundle
from instseg_export.paddle_to_onnx import check_stage, halve_weights, tensor_shape
from instseg_rt.models import find_model
from instseg_trainer.models import build_model
from instseg_trainer.weights import write_pdparams


@pytest.fixture(scope="module")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "small.pdparams"
    write_pdparams(path, build_model("PP-YOLOE_seg-N", 3).state_dict())
    return path


def paddlex_output(folder: Path, weights: Path) -> Path:
    """An output folder as PaddleX's training leaves it."""
    (folder / "best_model" / "inference").mkdir(parents=True)
    shutil.copyfile(weights, folder / "best_model" / "best_model.pdparams")
    (folder / "config.yaml").write_text("architecture: PPYOLOE\nTrainDataset: !COCODataSet {dataset_dir: x}\n")
    (folder / "best_model" / "inference" / "inference.yml").write_text(
        "Global: {model_name: PP-YOLOE_seg-N}\nlabel_list: [apple, pear, plum]\n"
        "Preprocess: [{type: Resize, keep_ratio: false, target_size: [64, 64]}]\n"
    )
    return folder


@pytest.mark.slow
def test_graph_and_manifest(seeded_bundle: Path, seeded_weights: Path) -> None:
    manifest = yaml.safe_load((seeded_bundle / "manifest.yaml").read_text())
    model = onnx.load(seeded_bundle / "stages" / "model.onnx")
    check_stage(model)
    assert model.opset_import[0].version == 17
    assert [v.name for v in model.graph.output] == ["boxes", "scores", "mask_coefficients", "prototypes"]
    for entry, value in zip(manifest["stages"][0]["outputs"], model.graph.output, strict=True):
        assert entry["shape"] == tensor_shape(value)
        assert entry["shape"][0] == "batch"
    assert manifest["labels"][0] == "person"
    assert manifest["category_ids"][-1] == 90
    verification = manifest["verification"]
    assert verification["batches"] == [1, 2, 8]
    assert 0 < max(verification["max_relative_error"].values()) < 1e-3
    assert manifest["provenance"]["weights"] == seeded_weights.name
    info = instseg_rt.load_bundle(seeded_bundle)
    assert (info.model, info.family, len(info.labels)) == ("PP-YOLOE_seg-S", "ppyoloe_seg", 80)
    assert sorted(p.name for p in seeded_bundle.iterdir()) == ["manifest.yaml", "stages"]


@pytest.mark.slow
def test_options(small_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = tmp_path / "names.txt"
    labels.write_text("a\nb\nc\n")
    output = tmp_path / "b.bundle"
    arguments = ["PP-YOLOE_seg-N", "--weights", str(small_weights), "--output", str(output)]
    assert (
        main(
            [
                *arguments,
                "--labels",
                str(labels),
                "--image-size",
                "64,96",
                "--batch",
                "1,2,4",
                "--half-weights",
            ]
        )
        == 0
    )
    info = instseg_rt.load_bundle(output)
    assert info.labels == ["a", "b", "c"]
    assert info.default_precision == "bf16"
    assert (info.input.height, info.input.width) == (64, 96)
    assert (info.batch.min, info.batch.opt, info.batch.max) == (1, 2, 4)
    size = sum(p.stat().st_size for p in output.rglob("*") if p.is_file())
    assert size < 0.65 * small_weights.stat().st_size
    image = np.full((50, 70, 3), 128, np.uint8)
    with instseg_rt.Predictor(output) as predictor:
        assert predictor(image).orig_shape == (50, 70)
    # A second export, of a folder that PaddleX's training left, replaces the bundle, and says what it had.
    manifest = yaml.safe_load((output / "manifest.yaml").read_text())
    manifest["stages"][0] |= {"typed": [{"precision": "int8"}, {"precision": "fp16"}], "engines": [{}]}
    (output / "manifest.yaml").write_text(yaml.safe_dump(manifest))
    capsys.readouterr()
    folder = paddlex_output(tmp_path / "output", small_weights)
    assert main(["PP-YOLOE_seg-N", "--weights", str(folder), "--output", str(output), "--num-classes", "3"]) == 0
    said = "".join(capsys.readouterr()).replace("\n", " ")
    assert "had fp16 stages, int8 stages, engines, made of its old stages" in said
    info = instseg_rt.load_bundle(output)
    assert info.labels == ["apple", "pear", "plum"]
    assert (info.input.height, info.input.width) == (64, 64)
    assert [p.name for p in tmp_path.glob(".*")] == []


def test_labels_that_are_not_known_are_said(small_weights: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("a\nb\nc\n")
    for labels, notes in ((None, 1), (names, 0)):
        said: list[str] = []
        _read_source(ExportOptions("PP-YOLOE_seg-N", small_weights, tmp_path, labels=labels), said.append)
        assert sum("names of the 3 classes are not known: class 0, …; --labels FILE" in line for line in said) == notes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["PP-YOLOE-seg-N"], "did you mean PP-YOLOE_seg-N?"),
        (["PP-YOLOE_seg-N", "--num-classes", "4"], "--num-classes: 4, but"),
        (["PP-YOLOE_seg-N", "--labels", "{two}"], "2 labels, but"),
        (
            ["PP-YOLOE_seg-N", "--image-size", "100,96"],
            "--image-size: expected multiples of 32, found 100,96",
        ),
        (["PP-YOLOE_seg-N", "--batch", "4,2,8"], "--batch: expected 1 <= MIN <= OPT <= MAX, found 4,2,8"),
        (["PP-YOLOE_seg-N", "--opset", "11"], "--opset: expected 17 or later, found 11"),
        (["PP-YOLOE_seg-S"], "tensors have another shape"),
        (["SOLOv2"], "small.pdparams: not weights of SOLOv2: solov2_head.solo_cate.bias is missing"),
        (
            ["SOLOv2", "--image-size", "1333,800"],
            "--image-size: expected short side and largest long side, found 1333,800",
        ),
    ],
)
def test_wrong_arguments(
    small_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "two.txt").write_text("a\nb\n")
    filled = [text.replace("{two}", str(tmp_path / "two.txt")) for text in arguments]
    output = tmp_path / "out.bundle"
    assert main([*filled, "--weights", str(small_weights), "--output", str(output)]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("instseg-export: error: ")
    assert message in error
    assert not output.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["two.txt"]


def test_a_folder_that_is_no_bundle_is_kept(
    small_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    assert main(["PP-YOLOE_seg-N", "--weights", str(small_weights), "--output", str(tmp_path)]) == 1
    assert "exists and is no bundle" in capsys.readouterr().err
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_official_weights(
    small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INSTSEG_CACHE", str(tmp_path))
    monkeypatch.setenv("INSTSEG_WEIGHTS_URL", "http://127.0.0.1:1")
    arguments = ["PP-YOLOE_seg-S", "--output", str(tmp_path / "o.bundle"), "--weights"]
    assert main([*arguments, "official"]) == 1
    cached = tmp_path / "weights" / "PP-YOLOE_seg-S_pretrained.pdparams"
    error = capsys.readouterr().err
    assert error.startswith("instseg-export: error: http://127.0.0.1:1/PP-YOLOE_seg-S_pretrained.pdparams: cannot be")
    assert f"put there by hand, as {cached}" in error
    assert error.count("\n") == 1
    # A file that is there by hand is taken; this one is of another model.
    shutil.copyfile(small_weights, cached)
    for given in ("official", find_model("PP-YOLOE_seg-S").weights):
        assert main([*arguments, str(given)]) == 1
        assert f"{cached}: " in capsys.readouterr().err.splitlines()[-1]
    assert main([*arguments, "https://example.org/w.pdparams"]) == 1
    assert "not the address of PP-YOLOE_seg-S's official weights" in capsys.readouterr().err
    assert main(["PP-YOLOE_seg-N", *arguments[1:], "official"]) == 1
    assert "no official weights are published" in capsys.readouterr().err


def test_weights_that_are_missing_or_hostile(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.pdparams"
    for content, message in (
        (None, "No such file"),
        (b"", "empty"),
        (b"cos\nsystem\n(S'true'\ntR.", "asks for os.system"),
    ):
        if content is not None:
            bad.write_bytes(content)
        assert main(["PP-YOLOE_seg-N", "--weights", str(bad), "--output", str(tmp_path / "o.bundle")]) == 1
        assert message in capsys.readouterr().err
    assert not (tmp_path / "o.bundle").exists()


def test_halved_weights_compute_in_float32() -> None:
    weight = np.random.default_rng(0).standard_normal((16, 32)).astype(np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", 16])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["batch", 32])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    before = model.ByteSize()
    halve_weights(model)
    assert model.ByteSize() < 0.7 * before
    import onnxruntime

    x = np.random.default_rng(1).standard_normal((3, 16)).astype(np.float32)
    (y,) = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
        None, {"x": x}
    )
    np.testing.assert_allclose(y, x @ weight.astype(np.float16).astype(np.float32), rtol=1e-5, atol=1e-5)


def test_a_graph_with_control_flow_or_a_garbage_epsilon_is_refused() -> None:
    from instseg_export.errors import ExportError

    def model(node: onnx.NodeProto, *extra: onnx.TensorProto) -> onnx.ModelProto:
        value = onnx.helper.make_tensor_value_info
        shape = ["batch", 2, 4, 4]
        graph = onnx.helper.make_graph([node], "g", [value("x", 1, shape)], [value("y", 1, shape)], list(extra))
        return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)

    ones = [onnx.numpy_helper.from_array(np.ones(2, np.float32), name) for name in "sbmv"]
    good = onnx.helper.make_node("BatchNormalization", ["x", *"sbmv"], ["y"], epsilon=1e-5)
    check_stage(model(good, *ones))
    garbage = onnx.helper.make_node("BatchNormalization", ["x", *"sbmv"], ["y"], epsilon=-0.029)
    with pytest.raises(ExportError, match=r"epsilon is -0\.02[89]"):
        check_stage(model(garbage, *ones))
    sampling = onnx.helper.make_node("GridSample", ["x", "grid"], ["y"])
    grid = onnx.numpy_helper.from_array(np.zeros((1, 4, 4, 2), np.float32), "grid")
    with pytest.raises(ExportError, match="the stage uses GridSample: standard operators without control flow only"):
        check_stage(model(sampling, grid))


@pytest.mark.slow
def test_one_conversion_error_writes_nothing(
    small_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from instseg_export import exporter
    from instseg_export.errors import ExportError

    monkeypatch.setattr(exporter, "verify_stage", lambda *_args: {"boxes": 0.5})
    options = ExportOptions("PP-YOLOE_seg-N", small_weights, tmp_path / "o.bundle", image_size=(64, 64))
    with pytest.raises(ExportError, match=r"ONNX differs from Paddle: boxes 5\.00e-01"):
        export_bundle(options)
    assert list(tmp_path.iterdir()) == []
