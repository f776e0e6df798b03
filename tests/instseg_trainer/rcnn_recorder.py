"""Comparing every tensor on the way of an R-CNN prediction with the reference's."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import paddle

from tests.reference_kit import ReferenceModel, match_rows

# Proposals that move further than this (input pixels) are other proposals.
PROPOSAL_TOLERANCE = 0.05


def nearest_boxes(expected: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """For each expected box (N, 4) the nearest unused one of `boxes`, -1 where none is near."""
    distance = np.abs(expected[:, None] - boxes[None]).max(axis=-1)
    matches = np.full(len(expected), -1)
    taken = np.zeros(len(boxes), bool)
    for row in np.argsort(distance.min(axis=1)):
        candidates = np.where(taken, np.inf, distance[row])
        if candidates.min() <= PROPOSAL_TOLERANCE:
            matches[row] = candidates.argmin()
            taken[matches[row]] = True
    return matches


def _spied(function: Callable[..., Any], seen: Callable[[Any], None]) -> Callable[..., Any]:
    def spy(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        seen(result)
        return result

    return spy


@dataclass
class Recorder:
    """Follows one prediction of `model` and keeps the relative errors of every tensor that has a golden.

    Rows of proposals and of detections are in another order where scores nearly tie: they are matched by box before
    comparison. errors: tensor -> difference of each of its golden values, relative to the larger of the value and the
    tensor's mean |x| + std; compared: tensor -> share of its golden values whose row was found.
    """

    reference: ReferenceModel
    image: str
    errors: dict[str, np.ndarray] = field(default_factory=dict)
    compared: dict[str, float] = field(default_factory=dict)
    _rows: np.ndarray | None = None
    _calls: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        description = self.reference.folder / "models" / f"{self.reference.name}.golden.json"
        tensors = json.loads(description.read_text())["images"][self.image]["tensors"]
        self._shapes = {name: entry["shape"] for name, entry in tensors.items()}

    def see(self, name: str, tensor: paddle.Tensor) -> None:
        """Compares `tensor` if there is a golden of that name."""
        key = f"{self.image}/{name}"
        if key not in self.reference.golden:
            return
        expected = self.reference.golden[key].astype(np.float64).ravel()
        index = self.reference.golden.get(f"{key}@index", np.arange(expected.size)).astype(np.int64)
        shape = self._shapes[name]
        known = np.ones(len(index), bool)
        if self._rows is None:
            assert list(tensor.shape) == shape, f"{key}: {tensor.shape}, the golden has {shape}"
        else:
            assert list(tensor.shape[1:]) == shape[1:], f"{key}: {tensor.shape}, the golden has {shape}"
            row_size = int(np.prod(shape[1:]))
            rows = self._rows[index // row_size]
            index = rows * row_size + index % row_size
            known = rows >= 0
        values = paddle.gather(tensor.flatten(), paddle.to_tensor(index[known])).numpy().astype(np.float64)
        scale = np.abs(expected).mean() + expected.std()
        self.errors[name] = np.abs(values - expected[known]) / np.maximum(scale, np.abs(expected[known]))
        self.compared[name] = float(known.mean())

    def _see_call(self, name: str, output: Any) -> None:
        if isinstance(output, list):
            for position, tensor in enumerate(output):
                self.see(name if len(output) == 1 else f"{name}[{position}]", tensor)
        elif isinstance(output, paddle.Tensor):
            call = self._calls[name]
            self._calls[name] += 1
            self.see(f"{name}#{call}" if call else name, output)

    @contextlib.contextmanager
    def following(self, model: Any) -> Iterator[None]:
        """Records what `model` does inside."""
        hooks = []
        for name, layer in model.named_sublayers():
            if name == "mask_head":  # its golden are the probabilities that `detect` makes of its logits
                continue

            def hook(_layer: object, _inputs: object, output: Any, name: str = name) -> None:
                self._see_call(name, output)

            hooks.append(layer.register_forward_post_hook(hook))
        watched = [
            (model.rpn_head, "propose", self._proposed),
            (model.bbox_head, "detect", self._detected),
            (model, "suppress", self._suppressed),
            (model.mask_head, "detect", lambda probabilities: self.see("mask_head", probabilities)),
        ]
        for owner, method, seen in watched:
            setattr(owner, method, _spied(getattr(owner, method), seen))
        try:
            yield
        finally:
            for remover in hooks:
                remover.remove()
            for owner, method, _ in watched:
                delattr(owner, method)

    def see_anchors(self, model: Any, shapes: list[tuple[int, int]]) -> None:
        self._see_call("rpn_head.anchor_generator", model.rpn_head.anchors(shapes))

    def _proposed(self, proposals: list[paddle.Tensor]) -> None:
        self._rows = nearest_boxes(self.reference.golden[f"{self.image}/rpn_head[0]"], proposals[0].numpy())
        self.see("rpn_head[0]", proposals[0])

    def _detected(self, predictions: Any) -> None:
        count, classes = predictions.probabilities.shape
        self.see("bbox_decoded", predictions.boxes.expand([count, classes, 4]))
        self.see("bbox_probs_for_nms", predictions.probabilities)

    def _suppressed(self, rows: paddle.Tensor) -> None:
        found = rows.numpy()
        expected = self.reference.golden[f"{self.image}/bbox_after_nms"].reshape(-1, 6)
        expected = expected[expected[:, 1] > 0]
        self._rows = match_rows(expected, found[:, 0], found[:, 1], found[:, 2:])
        if len(expected):
            self.see("bbox_after_nms", rows)
