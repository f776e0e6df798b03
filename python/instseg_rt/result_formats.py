"""A Result in the formats of other tools: PaddleX's dictionary, COCO, Ultralytics' rows, supervision."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from instseg_rt.errors import InvalidArgumentError, UnsupportedError

if TYPE_CHECKING:
    from instseg_rt._core import PackedMask
    from instseg_rt.result import Result

MaskFormat = Literal["crop", "rle"]

# PaddleX's entries of this family have other keys than those of the rest: `class_id`, and no box.
_CLASS_ID_FAMILY = "solov2"


def clipped_boxes(result: Result) -> np.ndarray:
    """(N, 4) float32: the boxes clipped to [0, width] x [0, height]."""
    height, width = result.orig_shape
    return np.clip(result.boxes, 0, np.array([width, height, width, height], np.float32))


def paddlex_instances(result: Result) -> np.ndarray:
    """Indices of the instances in PaddleX's lists: those whose clipped box is not empty."""
    boxes = clipped_boxes(result)
    return np.flatnonzero((boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3]))


def paddlex_boxes(result: Result) -> list[dict[str, Any]]:
    """`{"cls_id", "label", "score", "coordinate"}` per instance: clipped to the image, Python numbers; see `Result`."""
    boxes = clipped_boxes(result)
    entries = []
    for index in paddlex_instances(result):
        class_id = int(result.class_ids[index])
        entry = {
            "cls_id": class_id,
            "label": result.names[class_id],
            "score": float(result.scores[index]),
            "coordinate": boxes[index].tolist(),
        }
        entries.append(entry | {"class_id": class_id} if result.family == _CLASS_ID_FAMILY else entry)
    return entries


def paddlex_masks(result: Result) -> list[np.ndarray]:
    """The mask of each entry of `paddlex_boxes`, cropped to its box: (h, w) uint8 of 0 and 1.

    The sides of the box are rounded half to even, so h or w is 0 where a box is thinner than a pixel.
    """
    boxes = np.rint(clipped_boxes(result)).astype(int)
    return [_crop(result.packed_masks[index], boxes[index]) for index in paddlex_instances(result)]


def _crop(mask: PackedMask, box: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = box
    crop = np.zeros((y2 - y1, x2 - x1), np.uint8)
    left, top = max(x1, mask.x), max(y1, mask.y)
    right, bottom = min(x2, mask.x + mask.width), min(y2, mask.y + mask.height)
    if left < right and top < bottom:
        inner = mask.crop()[top - mask.y : bottom - mask.y, left - mask.x : right - mask.x]
        crop[top - y1 : bottom - y1, left - x1 : right - x1] = inner
    return crop


def paddlex_json(result: Result, *, with_masks: bool = True) -> dict[str, Any]:
    """PaddleX's dictionary without `input_img`; masks as nested lists, or `"..."` without them."""
    masks: Any = [mask.tolist() for mask in result["masks"]] if with_masks else "..."
    return {
        "input_path": result.input_path,
        "page_index": result.page_index,
        "boxes": result["boxes"],
        "masks": masks,
    }


def text(result: Result, json_format: bool, indent: int, ensure_ascii: bool) -> str:
    """What `Result.print` prints."""
    return json.dumps(result.str, indent=indent, ensure_ascii=ensure_ascii) if json_format else str(result.str)


def json_text(result: Result, indent: int | None, ensure_ascii: bool, mask_format: MaskFormat) -> str:
    """The JSON of a result file: `paddlex_json`, with each row of a cropped mask on one line."""
    if mask_format not in get_args(MaskFormat):
        raise InvalidArgumentError(
            f"mask_format: expected one of {', '.join(get_args(MaskFormat))}; found {mask_format!r}"
        )
    data = paddlex_json(result, with_masks=False)
    if mask_format == "rle":
        data["masks"] = [_rle(result, index) for index in paddlex_instances(result)]
        return json.dumps(data, indent=indent, ensure_ascii=ensure_ascii)
    # A mask has up to a million numbers: json would write each on its own indented line, at 100 times the
    # cost.
    head = json.dumps(data, indent=indent, ensure_ascii=ensure_ascii)
    placeholder = '"masks": "..."'
    position = head.rindex(placeholder)
    masks = ",".join(_mask_text(mask, indent) for mask in result["masks"])
    return f'{head[:position]}"masks": [{masks}]{head[position + len(placeholder) :]}'


def _mask_text(mask: np.ndarray, indent: int | None) -> str:
    """`[[0,1,…],…]` of a (h, w) array of 0 and 1."""
    height, width = mask.shape
    line = "" if indent is None else "\n" + " " * 2 * indent
    if width == 0:
        rows = ["[]"] * height
    else:
        characters = np.full((height, 2 * width + 1), ord(","), np.uint8)
        characters[:, 1::2] = mask + ord("0")
        characters[:, 0] = ord("[")
        characters[:, -1] = ord("]")
        rows = [row.tobytes().decode("ascii") for row in characters]
    return f"{line}[{line}" + f",{line}".join(rows) + "]"


def _rle(result: Result, index: int) -> dict[str, Any]:
    height, width = result.orig_shape
    counts = result.packed_masks[index].rle(height, width).decode("ascii")
    return {"size": [height, width], "counts": counts}


def coco_entries(result: Result, image_id: int, category_ids: Sequence[int] | None) -> list[dict[str, Any]]:
    """See `Result.to_coco`."""
    ids = category_ids if category_ids is not None else result.category_ids
    if ids is None or len(ids) != len(result.names):
        found = "none" if ids is None else f"{len(ids)}"
        raise InvalidArgumentError(
            f"to_coco: expected one category id per class ({len(result.names)} classes), found {found}"
        )
    entries = []
    for index, (x1, y1, x2, y2) in enumerate(result.boxes.tolist()):
        entries.append(
            {
                "image_id": image_id,
                "category_id": int(ids[result.class_ids[index]]),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(result.scores[index]),
                "segmentation": _rle(result, index),
            }
        )
    return entries


def summary_rows(result: Result, normalize: bool, decimals: int) -> list[dict[str, Any]]:
    """See `Result.summary`."""
    height, width = result.orig_shape
    size = np.array([width, height], float) if normalize else np.ones(2)
    rows = []
    for index, box in enumerate(result.boxes):
        x1, y1, x2, y2 = np.round(box.astype(float) / np.tile(size, 2), decimals).tolist()
        rings = [points for points, hole in result.packed_masks[index].polygons() if not hole]
        outline = max(rings, key=len, default=np.zeros((0, 2), np.float32))
        points = np.round(outline.astype(float) / size, decimals)
        rows.append(
            {
                "name": result.names[result.class_ids[index]],
                "class": int(result.class_ids[index]),
                "confidence": round(float(result.scores[index]), decimals),
                "box": {"x1": x1, "y1": y1, "x2": x2, "y2": y2},
                "segments": {"x": points[:, 0].tolist(), "y": points[:, 1].tolist()},
            }
        )
    return rows


def supervision_detections(result: Result) -> Any:
    """See `Result.to_supervision`."""
    try:
        from supervision import Detections
    except ImportError:
        raise UnsupportedError("to_supervision needs the supervision package: pip install supervision") from None
    if len(result) == 0:
        return Detections.empty()
    return Detections(
        xyxy=result.boxes.copy(),
        mask=result.masks,
        confidence=result.scores.copy(),
        class_id=result.class_ids.astype(int),
        data={"class_name": np.array(result.labels)},
    )
