"""What one image gives: boxes, scores, classes and masks, in the coordinates of the original image."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, KeysView, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from instseg_rt import result_files, result_formats
from instseg_rt.detections import Detections
from instseg_rt.drawing import draw_result
from instseg_rt.errors import InvalidArgumentError, UnsupportedError
from instseg_rt.result_formats import MaskFormat
from instseg_rt.sources import SourceImage

if TYPE_CHECKING:
    from instseg_rt._core import PackedMask

PADDLEX_KEYS = ("input_path", "page_index", "input_img", "boxes", "masks")


@dataclass(frozen=True, slots=True)
class Timings:
    """Milliseconds of the call that made a result.

    decode_ms is of this image (reading and decoding; 0 for arrays); the others are of the whole batch of
    `batch_size` images that it was part of.
    """

    decode_ms: float = 0.0
    preprocess_ms: float = 0.0
    inference_ms: float = 0.0
    postprocess_ms: float = 0.0
    total_ms: float = 0.0
    batch_size: int = 1


class Result(Detections):
    """N instances of one image, by falling score; of PP-YOLOE_seg and the R-CNN models by class id first.

    boxes: (N, 4) float32, x1 y1 x2 y2 in pixels of the image (half-open, pixel centres at +0.5), as the
        model gave them: they may reach over the border of the image.
    scores: (N,) float32 in 0..1. class_ids: (N,) int32. labels: N names.
    masks: (N, H, W) bool, made on the first access; packed_masks holds the same bits in far less memory.
    orig_shape: (H, W) of the image. names: the name of every class id. family: of the model, None where not known.
    timings: see `Timings`.

    `result[i]`, `result[2:5]`, `result[result.scores > 0.8]` and `result[[0, 3]]` give a Result of those
    instances, and iterating gives one Result per instance. With a string it answers as PaddleX's result does:
    `result["boxes"]` is a list of `{"cls_id", "label", "score", "coordinate"}` (coordinates clipped to the
    image), `result["masks"]` the masks cropped to those boxes rounded to whole pixels, (h, w) uint8 of 0 and
    1 (both lists without the instances whose box lies outside the image). Entries of SOLOv2 have `"class_id"` too,
    which is all that PaddleX gives there. `result["input_path"]`,
    `result["page_index"]` and `result["input_img"]` ((H, W, 3) uint8 BGR) tell what it was made from.

    Raises `InvalidArgumentError` when the lengths of the arrays differ or a class id has no name.
    """

    def __init__(
        self,
        boxes: np.ndarray,
        scores: np.ndarray,
        class_ids: np.ndarray,
        packed_masks: Sequence[PackedMask],
        *,
        names: Sequence[str],
        orig_shape: tuple[int, int],
        category_ids: Sequence[int] | None = None,
        family: str | None = None,
        source: SourceImage | None = None,
        timings: Timings | None = None,
    ) -> None:
        self.boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
        self.scores = np.asarray(scores, np.float32).reshape(-1)
        self.class_ids = np.asarray(class_ids, np.int32).reshape(-1)
        self.packed_masks = tuple(packed_masks)
        self.names = tuple(names)
        self.category_ids = None if category_ids is None else tuple(category_ids)
        self.family = family
        self.orig_shape = (int(orig_shape[0]), int(orig_shape[1]))
        self.source = source
        self.timings = timings or Timings()
        lengths = [len(self.boxes), len(self.scores), len(self.class_ids), len(self.packed_masks)]
        if len(set(lengths)) != 1:
            raise InvalidArgumentError(
                f"Result: boxes, scores, class_ids and packed_masks must be equally long, found {lengths}"
            )
        if lengths[0] and not 0 <= self.class_ids.min() <= self.class_ids.max() < len(self.names):
            raise InvalidArgumentError(
                f"Result: class ids must be 0..{len(self.names) - 1} (there are {len(self.names)} names), "
                f"found {self.class_ids.min()}..{self.class_ids.max()}"
            )

    @cached_property
    def masks(self) -> np.ndarray:
        """(N, H, W) bool: N times the image in bytes, so prefer `packed_masks` where there are many."""
        height, width = self.orig_shape
        dense = np.zeros((len(self), height, width), bool)
        for plane, mask in zip(dense, self.packed_masks, strict=True):
            plane[mask.y : mask.y + mask.height, mask.x : mask.x + mask.width] = mask.crop()
        return dense

    # --- a sequence of instances, and PaddleX's dictionary ---

    def __iter__(self) -> Iterator[Result]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return self._paddlex_value(key)
        if isinstance(key, int | np.integer) and not isinstance(key, bool | np.bool_):
            if not -len(self) <= key < len(self):
                raise IndexError(f"instance {key} of a result with {len(self)} instances")
            key = [key]
        try:
            kept = np.arange(len(self))[np.asarray(key) if not isinstance(key, slice) else key]
        except IndexError as error:
            if isinstance(key, list | tuple) and not key:
                kept = np.arange(0)
            else:
                raise IndexError(f"result[…] with {len(self)} instances: {error}") from None
        return Result(
            self.boxes[kept],
            self.scores[kept],
            self.class_ids[kept],
            [self.packed_masks[index] for index in kept],
            names=self.names,
            orig_shape=self.orig_shape,
            category_ids=self.category_ids,
            family=self.family,
            source=self.source,
            timings=self.timings,
        )

    def __contains__(self, key: object) -> bool:
        return key in PADDLEX_KEYS

    def keys(self) -> KeysView[str]:
        """PaddleX's keys; with it `dict(result)` gives PaddleX's dictionary."""
        return dict.fromkeys(PADDLEX_KEYS).keys()

    def values(self) -> list[Any]:
        """The values of `keys()`."""
        return [self[key] for key in PADDLEX_KEYS]

    def items(self) -> list[tuple[str, Any]]:
        """Pairs of `keys()` and `values()`."""
        return [(key, self[key]) for key in PADDLEX_KEYS]

    def get(self, key: str, default: Any = None) -> Any:
        """`result[key]`, or `default` for a key that PaddleX's result does not have."""
        return self[key] if key in PADDLEX_KEYS else default

    def _paddlex_value(self, key: str) -> Any:
        match key:
            case "boxes":
                return self._paddlex_boxes
            case "masks":
                return self._paddlex_masks
            case "input_img":
                return None if self.source is None else self.source.bgr()
            case "input_path":
                return self.input_path
            case "page_index":
                return self.page_index
        raise KeyError(f"{key!r}: the keys are {', '.join(PADDLEX_KEYS)}")

    @cached_property
    def _paddlex_boxes(self) -> list[dict[str, Any]]:
        return result_formats.paddlex_boxes(self)

    @cached_property
    def _paddlex_masks(self) -> list[np.ndarray]:
        return result_formats.paddlex_masks(self)

    # --- PaddleX's views and files ---

    @property
    def json(self) -> dict[str, dict[str, Any]]:
        """`{"res": {...}}` of plain Python values, without the pixels of the image."""
        return {"res": result_formats.paddlex_json(self)}

    @property
    def str(self) -> dict[builtins.str, dict[builtins.str, Any]]:
        """What `print()` shows: as `json`, but the masks are `"..."`."""
        return {"res": result_formats.paddlex_json(self, with_masks=False)}

    @property
    def img(self) -> dict[builtins.str, Any]:
        """`{"res": PIL.Image}` of the drawing (RGB); `UnsupportedError` where Pillow is not installed."""
        try:
            from PIL import Image
        except ImportError:
            raise UnsupportedError(
                "Result.img needs Pillow: pip install pillow; or use plot(), which gives an array"
            ) from None
        return {"res": Image.fromarray(np.ascontiguousarray(self.plot()[:, :, ::-1]))}

    def print(self, json_format: bool = False, indent: int = 4, ensure_ascii: bool = False) -> None:
        """Print the result to stdout without its masks; `json_format` as indented JSON."""
        print(result_formats.text(self, json_format, indent, ensure_ascii))

    def plot(self) -> np.ndarray:
        """The image with its instances drawn in, (H, W, 3) uint8 BGR. Needs an image."""
        if self.source is None:
            raise InvalidArgumentError("this Result was made without an image, so there is nothing to draw on")
        image = self.source.bgr()
        if image is None:
            raise InvalidArgumentError("the image of this Result is on a GPU: predict on a host copy of it to draw it")
        return draw_result(image, self)

    @cached_property
    def output_stem(self) -> builtins.str:
        """Start of the names of the files that the save methods make in a folder (see `save_to_img`)."""
        return result_files.output_stem(self)

    def save_to_img(self, save_path: builtins.str | Path) -> Path:
        """Write the drawing and return its path.

        `save_path` is the file when it ends as an image does, else a folder in which the file is named after the
        input: `{stem}_res{suffix}`, with a page `{stem}_{page}_res{suffix}`, without a path
        `{timestamp}_{random}_res.png`. Raises `IoError` when it cannot be written.
        """
        return result_files.save_image(self, Path(save_path))

    def save_to_json(
        self,
        save_path: builtins.str | Path,
        indent: int | None = 4,
        ensure_ascii: bool = False,
        *,
        mask_format: MaskFormat = "crop",
    ) -> Path:
        """Write the inner dictionary of `json` and return its path; named as in `save_to_img`, with `.json`.

        mask_format: "crop" is PaddleX's nested list of 0 and 1, "rle" COCO's compressed RLE of the full
        image.
        """
        return result_files.save_json(self, Path(save_path), indent, ensure_ascii, mask_format)

    def save_all(self, save_path: builtins.str | Path) -> None:
        """`save_to_json` and `save_to_img` into the folder `save_path`."""
        self.save_to_json(save_path)
        self.save_to_img(save_path)

    # --- other tools' formats ---

    def polygons(self) -> list[list[tuple[np.ndarray, bool]]]:
        """Per instance its outlines, exact: points (K, 2) float32, x y of pixel corners, and "is a hole"."""
        return [mask.polygons() for mask in self.packed_masks]

    def to_coco(self, image_id: int, category_ids: Sequence[int] | None = None) -> list[dict[builtins.str, Any]]:
        """COCO result entries: `image_id`, `category_id`, `bbox` (x, y, w, h), `score`, `segmentation` (RLE).

        category_ids: data-set category id per class id; default: those of the bundle. `bbox` is the model's
        box, not clipped. pycocotools' `loadRes` takes areas from `bbox` where there is one: drop that key to
        rate masks by size.
        """
        return result_formats.coco_entries(self, image_id, category_ids)

    def to_supervision(self) -> Any:
        """`supervision.Detections` with masks and `class_name`; `UnsupportedError` if it is not installed."""
        return result_formats.supervision_detections(self)

    def summary(self, normalize: bool = False, decimals: int = 5) -> list[dict[builtins.str, Any]]:
        """Rows shaped as Ultralytics' `Results.summary()`: name, class, confidence, box and segments.

        `segments` is the longest outer outline of the mask (`polygons()` has all). normalize: divide by the
        image size.
        """
        return result_formats.summary_rows(self, normalize, decimals)
