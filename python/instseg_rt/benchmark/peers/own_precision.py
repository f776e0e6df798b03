"""The bundle itself in another precision, measured in turn with the one in float32."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from instseg_rt.benchmark.clock import Clock
from instseg_rt.benchmark.peers.found import Found
from instseg_rt.benchmark.subjects import Call, PredictorSubject
from instseg_rt.predictor import Predictor


class OwnPrecisionPeer:
    """`predictor`: of the bundle; closed with the peer. Its instances may be others than those in float32, which
    `--ap` tells the cost of.
    """

    process_id = None
    must_agree = False

    def __init__(self, predictor: Predictor, clock: Clock) -> None:
        self.name = predictor.precision
        self.version = predictor.backend
        self._predictor = predictor
        self._subject = PredictorSubject(predictor, clock)

    def __call__(self, images: Sequence[Path]) -> Call:
        return self._subject(images)

    def find(self, image: Path) -> Found:
        result = self._predictor(image)
        return Found(result.class_ids, result.scores, result.boxes, list(result.masks))

    def close(self) -> None:
        self._predictor.close()
