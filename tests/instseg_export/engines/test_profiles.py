"""Optimization profiles."""

from __future__ import annotations

from typing import Any

import pytest

from instseg_export.engines.profiles import check_given, parse_shapes, stage_profile
from instseg_export.errors import ExportError

STRETCHED = {"input": {"resize": "stretch", "height": 640, "width": 640}, "decode": {}}
KEPT = {
    "input": {"resize": "keep_ratio", "short_side": 800, "long_side": 1333, "pad_stride": 32},
    "decode": {"rpn_post_nms_top_n": 1000, "keep_top_k": 100},
}
BATCH = (1, 2, 8)


def stage(name: str, tensor: str, *axes: int | str) -> dict[str, Any]:
    return {"name": name, "inputs": [{"name": tensor, "dtype": "float32", "shape": list(axes)}]}


IMAGE = stage("features", "image", "batch", 3, "height", "width")


def test_only_the_batch_of_stretched_images_differs() -> None:
    found = stage_profile(STRETCHED, stage("model", "image", "batch", 3, 640, 640), BATCH, {})
    assert found == {"image": ((1, 3, 640, 640), (2, 3, 640, 640), (8, 3, 640, 640))}


def test_sizes_of_images_that_keep_their_aspect_ratio() -> None:
    assert stage_profile(KEPT, IMAGE, BATCH, {}) == {"image": ((1, 3, 352, 352), (2, 3, 800, 1088), (8, 3, 1344, 1344))}


def test_without_padding_sizes_are_not_rounded() -> None:
    manifest = {**KEPT, "input": {**KEPT["input"], "pad_stride": 1}}
    assert stage_profile(manifest, IMAGE, (1, 1, 1), {})["image"] == (
        (1, 3, 333, 333),
        (1, 3, 800, 1067),
        (1, 3, 1333, 1333),
    )


# The largest counts are those of cpp/tests/families/roi_chunks_test.cpp's runs.
@pytest.mark.parametrize(
    ("name", "features", "rois"),
    [
        ("box_head_0", (256, 7, 7), (1, 208, 240)),  # 1000 boxes of an image are five runs of 200
        ("box_head", (1024, 14, 14), (1, 15, 15)),
        ("mask_head", (256, 14, 14), (1, 26, 60)),
        ("mask_head", (16, 14, 14), (1, 26, 832)),  # all masks of 8 images fit into one run
    ],
)
def test_rois_of_heads(name: str, features: tuple[int, ...], rois: tuple[int, int, int]) -> None:
    found = stage_profile(KEPT, stage(name, "roi_features", "rois", *features), BATCH, {})
    assert found == {"roi_features": tuple((count, *features) for count in rois)}


def test_given_shapes_replace_those_of_the_bundle() -> None:
    given = dict([parse_shapes("features.image=1x3x64x64,1x3x64x96,2x3x128x128")])
    assert stage_profile(KEPT, IMAGE, BATCH, given) == {"image": ((1, 3, 64, 64), (1, 3, 64, 96), (2, 3, 128, 128))}
    assert stage_profile(KEPT, {**IMAGE, "name": "other"}, BATCH, given)["image"][0] == (1, 3, 352, 352)


@pytest.mark.parametrize("text", ["image", "=1,1,1", "image=1x3", "image=1,1,0", "image=1,1,a", "image=1,1,1,1"])
def test_shapes_that_cannot_be_read(text: str) -> None:
    with pytest.raises(ExportError, match=r"expected \[STAGE\.\]INPUT=MIN,OPT,MAX"):
        parse_shapes(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image=1x3x64,1x3x64x64,1x3x64x64", "1x3x64 is no shape of features.image"),
        ("image=1x4x64x64,1x3x64x64,1x3x64x64", "1x4x64x64 is no shape"),
        ("image=2x3x64x64,1x3x64x64,1x3x64x64", "MIN <= OPT <= MAX"),
    ],
)
def test_shapes_that_the_stage_does_not_have(text: str, said: str) -> None:
    with pytest.raises(ExportError, match=said):
        stage_profile(KEPT, IMAGE, BATCH, dict([parse_shapes(text)]))


def test_a_name_that_no_stage_has() -> None:
    with pytest.raises(ExportError, match=r"no input 'picture': expected one of features\.image, image"):
        check_given({"stages": [IMAGE]}, dict([parse_shapes("picture=1,1,1")]))


def test_an_axis_of_unknown_size_must_be_given() -> None:
    with pytest.raises(ExportError, match="axis 'points' are not known: give them with --shapes"):
        stage_profile(STRETCHED, stage("model", "cloud", "points", 3), BATCH, {})
