"""Which nodes of a graph are computed in float32, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from .graph_types import FLOAT, MOVEMENTS, NORMALISATIONS, PRODUCTS, element_types, may_be_half, opset_of
from .islands import Island

LARGEST_HALF = float(np.finfo(np.float16).max)
"""65504."""
SMALLEST_NORMAL_HALF = float(np.finfo(np.float16).tiny)
"""2^-14; below it float16 loses digits, below 2^-25 all of them."""

_STOPS = PRODUCTS | NORMALISATIONS


class FloatNodes:
    """Finds the nodes of a graph that stay float32; the graph's constants are initializers.

    `reasons`: index of a node in the graph -> the name of the island, or what the node could not do in float16.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.types = element_types(model)
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self.reasons: dict[int, str] = {}
        self._producer = {name: index for index, node in enumerate(self.graph.node) for name in node.output if name}
        opset = opset_of(model)
        for index, node in enumerate(self.graph.node):
            if self.has_floats(node) and not may_be_half(node, opset):
                self.reasons[index] = f"{node.op_type} has no float16 form"

    def has_floats(self, node: onnx.NodeProto) -> bool:
        """Whether the node's results are floats: others have no precision."""
        return any(self.types.get(name) == FLOAT for name in node.output)

    def add_islands(self, islands: Sequence[Island]) -> None:
        for island in islands:
            for index in self._selected(island):
                self.reasons.setdefault(index, island.name)
        self._release_movements({island.name for island in islands})

    def add_constants(self) -> None:
        """Nodes with a constant that float16 cannot hold: beyond its range; or one that becomes 0 where it is added,
        multiplied or compared with; or weights that are all too small.
        """
        for index, node in enumerate(self.graph.node):
            if index in self.reasons:
                continue
            for name in node.input:
                trouble = self._trouble(node, name)
                if trouble is not None:
                    self.reasons[index] = f"constant {name} {trouble}"

    def add_ranges(self, largest: Mapping[str, float], limit: float) -> None:
        """Nodes one of whose tensors was seen beyond `limit`; largest: |value| per tensor, see `activation_ranges`."""
        for index, node in enumerate(self.graph.node):
            if index in self.reasons or not self.has_floats(node):
                continue
            for name in (*node.input, *node.output):
                if largest.get(name, 0.0) > limit:
                    self.reasons[index] = f"{name} reaches {largest[name]:.3g}"

    def _trouble(self, node: onnx.NodeProto, name: str) -> str | None:
        tensor = self.constants.get(name)
        if tensor is None or tensor.data_type != FLOAT:
            return None
        values = np.abs(numpy_helper.to_array(tensor))
        values = values[values > 0]
        if not values.size:
            return None
        if not values.max() <= LARGEST_HALF:
            return f"reaches {values.max():.3g}"
        if node.op_type in PRODUCTS:
            return f"is at most {values.max():.3g}" if values.max() < SMALLEST_NORMAL_HALF else None
        if node.op_type in NORMALISATIONS:
            return None
        return f"has {values.min():.3g}" if _becomes_zero(values) else None

    def _selected(self, island: Island) -> set[int]:
        nodes = self.graph.node
        found = {index for index, node in enumerate(nodes) if node.op_type in island.operators}
        convolutions = [index for index, node in enumerate(nodes) if node.op_type == "Conv"]
        found |= set(convolutions[: island.first_convolutions])
        found |= self._before(island.outputs, island.convolutions)
        if island.indices:
            # TensorRT-RTX 1.7 does not build a Range whose limits, in float32, were cast from float16.
            found |= self._grown(self._before([name for node in nodes for name in self._positions(node)], 0))
        return found

    def _positions(self, node: onnx.NodeProto) -> list[str]:
        """Floats that become integers, and those that count."""
        if node.op_type == "Cast" and self.types.get(node.output[0]) != FLOAT:
            return list(node.input)
        return [*node.input, *node.output] if node.op_type == "Range" else []

    def _before(self, tensors: Iterable[str], convolutions: int) -> set[int]:
        """What the tensors are computed from, back to the last products, whose first `convolutions` are inside.

        Comparisons are passed: what is compared for equality must not be rounded on one side only.
        """
        best: dict[int, int] = {}
        passed = (FLOAT, onnx.TensorProto.BOOL)
        waiting = [(name, convolutions) for name in tensors if self.types.get(name) in passed]
        while waiting:
            name, left = waiting.pop()
            index = self._producer.get(name)
            if index is None or best.get(index, -1) >= left:
                continue
            node = self.graph.node[index]
            if node.op_type in _STOPS:
                if node.op_type != "Conv" or left == 0:
                    continue
                left -= 1
            best[index] = left
            waiting += [(value, left) for value in node.input if self.types.get(value) in passed]
        return set(best)

    def _grown(self, island: set[int]) -> set[int]:
        """With the nodes that only compute from the island's results, and constants."""
        result = set(island)
        for index, node in enumerate(self.graph.node):
            if index in result or node.op_type in _STOPS or not self.has_floats(node):
                continue
            floats = [name for name in node.input if self.types.get(name) == FLOAT and name not in self.constants]
            if floats and all(self._producer.get(name) in result for name in floats):
                result.add(index)
        return result

    def _release_movements(self, names: set[str]) -> None:
        """Nodes at the edge of an island that only move float16 values can as well move them as float16."""
        for index, node in enumerate(self.graph.node):
            if node.op_type not in MOVEMENTS or self.reasons.get(index) not in names:
                continue
            sources = {self._producer.get(name) for name in node.input if self.types.get(name) == FLOAT}
            computed = {source for source in sources if source is not None}
            if computed and not any(source in self.reasons for source in computed) and None not in sources:
                del self.reasons[index]


def _becomes_zero(values: NDArray[np.float32]) -> bool:
    """values: positive."""
    return bool((values.astype(np.float16) == 0).any())
