"""What is kept of a benchmark; the JSON has it as it stands here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from instseg_rt.benchmark.accuracy import Accuracy
from instseg_rt.benchmark.early_stopping import Estimate
from instseg_rt.benchmark.environment import Environment
from instseg_rt.benchmark.noise import Noise
from instseg_rt.benchmark.ratios import PairedRatio
from instseg_rt.benchmark.scenarios import Scenario
from instseg_rt.benchmark.statistics import Statistics, compute_statistics
from instseg_rt.benchmark.subjects import ordered_stages
from instseg_rt.benchmark.warm_up import WarmUp

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Samples:
    """Milliseconds by stage, one sample a call, and their statistics."""

    samples_ms: dict[str, list[float]]
    statistics: dict[str, Statistics]

    @classmethod
    def of(cls, calls: list[dict[str, float]]) -> Samples:
        """Of the stages of each call; all calls have the same stages."""
        stages = ordered_stages(calls[0]) if calls else []
        samples = {stage: [call[stage] for call in calls] for stage in stages}
        return cls(samples, {stage: compute_statistics(values) for stage, values in samples.items()})


@dataclass(frozen=True)
class Configuration:
    """What was measured. threads: CPU threads of one call, None for all cores."""

    bundle: str
    model: str
    family: str
    device: str
    backend: str
    precision: str
    threads: int | None
    batch: int
    streams: int
    threshold: float

    def __str__(self) -> str:
        threads = "" if self.threads is None else f", {self.threads} threads"
        streams = "" if self.streams == 1 else f", {self.streams} streams"
        return f"{self.model}, {self.backend}, {self.device}, {self.precision}{threads}, batch {self.batch}{streams}"


@dataclass(frozen=True)
class Comparison:
    """A peer's calls, in turn with the bundle's, and the ratios theirs / ours, by the stages that both have."""

    peer: str
    version: str
    warm_up: WarmUp
    samples: Samples
    ratios: dict[str, PairedRatio]


@dataclass(frozen=True)
class ServerFigures:
    """qps: arrivals a second that were asked for; arrived_qps: that came; answered_qps: until the last answer.

    over: queries above latency_bound_ms, those that got no answer too. needed: so many queries with `over` above the
    bound would show, by MLPerf's criterion, that 99% keep it; holds: whether there were as many.
    """

    qps: float
    arrived_qps: float
    answered_qps: float
    latency_bound_ms: float
    queries: int
    unanswered: int
    over: int
    needed: int
    holds: bool


@dataclass
class Run:
    """One measurement of one configuration. load_s: making the predictor. instances: found in one pass over the images.

    elapsed_s: of the measurement; images_per_second: over that time, None where peers took turns in it.
    early_stopping: MLPerf's estimates of the 90th and 99th percentile. interrupted: it ended before its time.
    """

    configuration: Configuration
    scenario: Scenario
    images: int
    instances: int
    load_s: float
    warm_up: WarmUp
    elapsed_s: float
    images_per_second: float | None
    samples: Samples
    early_stopping: list[Estimate]
    server: ServerFigures | None
    comparisons: list[Comparison]
    noise: Noise
    notes: list[str]
    interrupted: bool = False
    accuracy: Accuracy | None = None


@dataclass
class Report:
    """settings: the options as given. interrupted: by Ctrl-C; the runs until then are there."""

    environment: Environment
    settings: dict[str, Any]
    runs: list[Run] = field(default_factory=list)
    interrupted: bool = False
    schema_version: int = SCHEMA_VERSION
