"""Mask-RT-DETR in NumPy: the best pairs of query and class, and their masks resized to the image one by one."""

from __future__ import annotations

import cv2
import numpy as np

from instseg_rt._core import BundleInfo
from instseg_rt.benchmark.peers.decode_values import number
from instseg_rt.benchmark.peers.found import Found
from instseg_rt.benchmark.peers.preprocess import Geometry
from instseg_rt.benchmark.peers.sessions import Outputs


def decode(outputs: Outputs, geometry: Geometry, bundle: BundleInfo, threshold: float) -> Found:
    """The detections with score > threshold, by falling score."""
    logits, boxes, embeddings, features = (
        outputs[name][0] for name in ("logits", "boxes", "mask_embeddings", "mask_features")
    )
    scores = 1 / (1 + np.exp(-logits.ravel()))
    best = np.argsort(-scores, kind="stable")[: int(number(bundle, "keep_top_k"))]
    best = best[scores[best] > max(threshold, number(bundle, "score_threshold"))]
    queries, class_ids = np.divmod(best, logits.shape[1])
    height, width = geometry.image
    centres, sides = boxes[queries, :2], boxes[queries, 2:]
    corners = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1) * [width, height, width, height]
    # Only of those that are kept: few of the queries are.
    logit_planes = np.tensordot(embeddings[queries], features, axes=1)
    with np.errstate(divide="ignore"):  # infinite for a threshold of 0 or 1
        mask_threshold = np.float64(number(bundle, "mask_threshold"))
        limit = np.log(mask_threshold) - np.log1p(-mask_threshold)
    masks = [
        np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR) > limit, bool)
        for plane in logit_planes
    ]
    return Found(class_ids, scores[best], corners.astype(np.float32), masks)
