"""Static graphs: a model with its post-processing as PaddleX and Paddle Inference run it, without this package."""

from .save import STATIC_GRAPH_FILES, StaticGraph
from .trained import save_trained_graphs

__all__ = ["STATIC_GRAPH_FILES", "StaticGraph", "save_trained_graphs"]
