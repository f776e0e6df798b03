"""What to measure, checked before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.benchmark.peers import PADDLEX, PEERS
from instseg_rt.benchmark.scenarios import Limits, Scenario
from instseg_rt.suggest import did_you_mean


@dataclass(frozen=True)
class Options:
    """bundles: paths or names of embedded ones. images: files, folders, patterns; none: a rendered scene.

    precisions, batches, streams: every combination is measured, for every bundle; without precisions the bundle's
    default, with peers fp32. threads: CPU threads of one call, None for all cores. threshold: None for the bundle's.
    limits: of each measurement; warm_up_s: of each warm-up. qps: arrivals a second of the server scenario, whose 99th
    percentile shall be at most latency_bound_ms; seed: of the arrivals. compare: peers; paddlex_python, paddlex_model:
    what that peer runs with. dataset: a COCO folder for AP.
    """

    bundles: tuple[str, ...]
    images: tuple[str, ...] = ()
    device: str = "cpu"
    backend: str | None = None
    precisions: tuple[str, ...] = ()
    batches: tuple[int, ...] = (1,)
    streams: tuple[int, ...] = (1,)
    threads: int | None = None
    threshold: float | None = None
    scenario: Scenario = "single-stream"
    limits: Limits = field(default_factory=lambda: Limits(10.0))
    warm_up_s: float = 15.0
    qps: float | None = None
    latency_bound_ms: float | None = None
    seed: int = 0
    compare: tuple[str, ...] = ()
    paddlex_python: Path | None = None
    paddlex_model: Path | None = None
    dataset: Path | None = None

    def __post_init__(self) -> None:
        if not self.precisions:
            object.__setattr__(self, "precisions", ("fp32",) if self.compare else ("auto",))
        for name, values in (("batch", self.batches), ("streams", self.streams)):
            if not values or min(values) < 1:
                raise BenchmarkError(f"--{name}: expected whole numbers of at least 1, found {list(values)}")
        for name, value in (("duration", self.limits.duration_s), ("warm-up", self.warm_up_s)):
            if not (math.isfinite(value) and value >= 0):
                raise BenchmarkError(f"--{name}: expected seconds, 0 or more, found {value}")
        if self.threads is not None and self.threads < 1:
            raise BenchmarkError(f"--threads: expected at least 1, found {self.threads}")
        self._check_scenario()
        self._check_peers()

    def _check_scenario(self) -> None:
        if self.scenario not in get_args(Scenario):
            raise BenchmarkError(f"--scenario: expected {', '.join(get_args(Scenario))}; found {self.scenario!r}")
        if self.scenario == "single-stream" and self.streams != (1,):
            raise BenchmarkError("--streams: single-stream has one call at a time: use --scenario offline or server")
        if self.scenario == "server":
            if self.qps is None or self.latency_bound_ms is None:
                raise BenchmarkError("--scenario server needs --qps and --latency-bound: what shall it stand?")
            if self.batches != (1,):
                raise BenchmarkError("--batch: queries of the server scenario are single images")
            _check_positive("qps", self.qps)
            _check_positive("latency-bound", self.latency_bound_ms)
        elif self.qps is not None or self.latency_bound_ms is not None:
            raise BenchmarkError("--qps and --latency-bound are for --scenario server")

    def _check_peers(self) -> None:
        for name in self.compare:
            if name not in PEERS:
                raise BenchmarkError(
                    f"--compare: expected {', '.join(PEERS)}; found {name!r}{did_you_mean(name, PEERS)}"
                )
        if len(set(self.compare)) != len(self.compare):
            raise BenchmarkError(f"--compare: a peer is named twice in {','.join(self.compare)}")
        plain = (self.scenario, self.batches, self.precisions, self.device) == ("single-stream", (1,), ("fp32",), "cpu")
        if self.compare and not plain:
            raise BenchmarkError("--compare: peers run single images, one call at a time, in fp32 on the CPU")
        given = [place is not None for place in (self.paddlex_python, self.paddlex_model)]
        if not all(given) if PADDLEX in self.compare else any(given):
            raise BenchmarkError(
                f"--compare {PADDLEX} goes with --paddlex-python, the Python of an environment that has PaddleX, and "
                "--paddlex-model, the folder that PaddleX exported the model to"
            )
        if PADDLEX in self.compare and len(self.bundles) != 1:
            raise BenchmarkError(f"--compare {PADDLEX}: one model folder is one bundle; found {len(self.bundles)}")


def numbers(text: str, option: str) -> tuple[int, ...]:
    """`1,4,8` as numbers, each once. Raises `BenchmarkError` naming the option."""
    parts = words(text)
    if not parts or not all(part.isdecimal() for part in parts):
        raise BenchmarkError(f"{option}: expected whole numbers with commas between, such as 1,4,8; found {text!r}")
    return tuple(dict.fromkeys(int(part) for part in parts))


def words(text: str | None) -> tuple[str, ...]:
    """`a,b` as (a, b)."""
    return tuple(part.strip() for part in text.split(",")) if text else ()


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise BenchmarkError(f"--{name}: expected a number above 0, found {value}")


def combinations(options: Options) -> Sequence[tuple[str, str, int]]:
    """Bundle, precision and streams of every predictor that is made."""
    return [(b, p, s) for b in options.bundles for p in options.precisions for s in options.streams]
