"""What disturbed a measurement: other programs, limits and throttling, as far as the system tells.

Everything is a difference between the end and the start of the measurement; None is what the system does not tell.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from instseg_rt.benchmark.environment import query_gpus, read_line
from instseg_rt.benchmark.statistics import Statistics, compute_statistics

_CPUS = Path("/sys/devices/system/cpu")
_CGROUP_STATISTICS = Path("/sys/fs/cgroup/cpu.stat")
_GPU_REASONS = "clocks_event_reasons.hw_slowdown,clocks_event_reasons.sw_thermal_slowdown"

MAX_CV_PERCENT = 10.0
MAX_OTHERS_PERCENT = 5.0
MAX_LOAD = 1.5  # for each CPU; the benchmark itself is part of it
_PERCENT = 100.0


@dataclass(frozen=True)
class Noise:
    """load_average: processes that ran or waited in the last minute, at the end of the measurement.

    others_percent: CPU time that other programs took, of what the machine has. stolen_percent: that the host took from
    this virtual machine. quota_stops: periods in which a container's limit stopped the process. thermal_throttles:
    times that the CPU lowered its clock for heat. gpu_slowdown: whether a GPU says that it lowers its clock.
    """

    load_average: float | None
    others_percent: float | None
    stolen_percent: float | None
    quota_stops: int | None
    thermal_throttles: int | None
    gpu_slowdown: bool | None


class NoiseProbe:
    """Begins when it is made; `end` says what happened since. processes: those of peers, by their ids."""

    def __init__(self, *, gpu: bool, processes: Sequence[int] = ()) -> None:
        self._gpu = gpu
        self._processes = tuple(processes)
        self._start = _Counters.read(self._processes)

    def end(self) -> Noise:
        start, end = self._start, _Counters.read(self._processes)
        total = _difference(start.total_s, end.total_s)
        own = end.own_s - start.own_s
        busy = _difference(start.busy_s, end.busy_s)
        stolen = _difference(start.stolen_s, end.stolen_s)
        reasons = query_gpus(_GPU_REASONS) if self._gpu else ()
        return Noise(
            load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
            others_percent=_share(None if busy is None else max(busy - own, 0.0), total),
            stolen_percent=_share(stolen, total),
            quota_stops=_whole_difference(start.quota_stops, end.quota_stops),
            thermal_throttles=_whole_difference(start.thermal_throttles, end.thermal_throttles),
            gpu_slowdown=any("Not Active" not in part for line in reasons for part in line.split(","))
            if reasons
            else None,
        )


def variation_percent(samples: Sequence[float], queries: int) -> float | None:
    """The coefficient of variation of calls that go round `queries` queries, each against its own query's median.

    So images that take longer than others are no noise. None with fewer than two rounds.
    """
    if len(samples) < 2 * queries:
        return None
    medians = [statistics.median(samples[query::queries]) for query in range(queries)]
    return compute_statistics([sample / medians[i % queries] for i, sample in enumerate(samples)]).cv_percent


def noise_notes(noise: Noise, stages: Mapping[str, Statistics], variation: float | None) -> list[str]:
    """A sentence for each thing that makes the figures doubtful; variation: of the whole calls, in percent."""
    notes = []
    if variation is not None and variation > MAX_CV_PERCENT:
        notes.append(f"noisy: calls on the same images vary by {variation:.0f}% (coefficient of variation)")
    cpus = os.cpu_count() or 1
    if noise.others_percent is None and noise.load_average is not None and noise.load_average > MAX_LOAD * cpus:
        notes.append(f"noisy: the load average is {noise.load_average:.1f} on {cpus} CPUs")
    if noise.others_percent is not None and noise.others_percent > MAX_OTHERS_PERCENT:
        load = "" if noise.load_average is None else f" (load average {noise.load_average:.1f})"
        notes.append(f"noisy: other programs took {noise.others_percent:.0f}% of the machine's CPU time{load}")
    if noise.stolen_percent is not None and noise.stolen_percent > 1:
        notes.append(f"noisy: the host took {noise.stolen_percent:.0f}% of the CPU time of this virtual machine")
    if noise.quota_stops:
        notes.append(f"throttled: the container's CPU limit stopped the process in {noise.quota_stops} periods")
    if noise.thermal_throttles:
        notes.append(f"throttled: the CPU lowered its clock for heat {noise.thermal_throttles} times")
    if noise.gpu_slowdown:
        notes.append("throttled: the GPU lowers its clock (nvidia-smi -q -d PERFORMANCE says why)")
    for stage in ("upload", "download"):
        if stage in stages and stages[stage].median >= stages["inference"].median:
            notes.append(f"{stage} takes as long as inference: the link to the device limits the latency")
    return notes


@dataclass(frozen=True)
class _Counters:
    """Since the start of the machine, in seconds of all CPUs; own_s: of the benchmark's processes."""

    total_s: float | None
    busy_s: float | None
    stolen_s: float | None
    own_s: float
    quota_stops: int | None
    thermal_throttles: int | None

    @classmethod
    def read(cls, processes: Sequence[int]) -> _Counters:
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        total, busy, stolen = _machine_times()
        return cls(
            total_s=total,
            busy_s=busy,
            stolen_s=stolen,
            own_s=own + sum(_process_seconds(process) for process in processes),
            quota_stops=_quota_stops(),
            thermal_throttles=_thermal_throttles(),
        )


def _machine_times() -> tuple[float | None, float | None, float | None]:
    """All CPU time, the busy part and the stolen part, from /proc/stat's line of all CPUs (man 5 proc)."""
    words = (read_line(Path("/proc/stat")) or "").split()
    if len(words) < 9 or words[0] != "cpu":
        return None, None, None
    user, nice, system, idle, wait, interrupts, soft, stolen = (
        int(word) / os.sysconf("SC_CLK_TCK") for word in words[1:9]
    )
    busy = user + nice + system + interrupts + soft
    return busy + idle + wait + stolen, busy, stolen


def _process_seconds(process: int) -> float:
    """CPU time of a process, from its /proc/…/stat: what follows the name in brackets begins with the third field."""
    fields = (read_line(Path(f"/proc/{process}/stat")) or "").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") if len(fields) > 12 else 0.0


def _quota_stops() -> int | None:
    try:
        lines = _CGROUP_STATISTICS.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    values = dict(line.split() for line in lines if len(line.split()) == 2)
    return int(values["nr_throttled"]) if "nr_throttled" in values else None


def _thermal_throttles() -> int | None:
    counts = [read_line(file) for file in _CPUS.glob("cpu[0-9]*/thermal_throttle/core_throttle_count")]
    known = [int(count) for count in counts if count is not None and count.isdigit()]
    return sum(known) if known else None


def _difference(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else end - start


def _whole_difference(start: int | None, end: int | None) -> int | None:
    return None if start is None or end is None else end - start


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else _PERCENT * part / whole
