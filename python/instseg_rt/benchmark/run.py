"""Runs a benchmark: predictors, warm-up, scenarios, peers, accuracy."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from instseg_rt.benchmark import early_stopping, scenarios
from instseg_rt.benchmark.accuracy import Accuracy, AccuracyCheck
from instseg_rt.benchmark.clock import Clock, SystemClock
from instseg_rt.benchmark.environment import environment
from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.benchmark.images import image_files
from instseg_rt.benchmark.noise import NoiseProbe, noise_notes, variation_percent
from instseg_rt.benchmark.options import Options, combinations
from instseg_rt.benchmark.peers import BF16, PADDLEX
from instseg_rt.benchmark.peers.found import Peer, check_agreement
from instseg_rt.benchmark.ratios import paired_ratio
from instseg_rt.benchmark.records import Comparison, Configuration, Report, Run, Samples, ServerFigures
from instseg_rt.benchmark.scenarios import Limits, Query, Served
from instseg_rt.benchmark.subjects import LATENCY, TOTAL, WAIT, Call, PredictorSubject, Subject
from instseg_rt.benchmark.warm_up import WarmUp, warm_up
from instseg_rt.predictor import Predictor

MakePredictor = Callable[..., Predictor]
_PERCENTILES = (90, 99)  # MLPerf's, of single-stream and multi-stream
_SERVER_PERCENTILE = 99


def run_benchmark(
    options: Options,
    *,
    on_run: Callable[[Run], None] = lambda _run: None,
    on_accuracy: Callable[[Configuration, Accuracy], None] = lambda _configuration, _accuracy: None,
    clock: Clock | None = None,
    make_predictor: MakePredictor = Predictor,
) -> Report:
    """Measure everything that `options` name. Ctrl-C ends it: the report has what there is until then.

    on_run, on_accuracy: get each figure when it is there. Raises the package's errors, `BenchmarkError` for what cannot
    be measured as asked.
    """
    report = Report(environment(), _plain_settings(options))
    check = AccuracyCheck(options.dataset) if options.dataset is not None else None
    with tempfile.TemporaryDirectory(prefix="instseg-benchmark-") as folder:
        images = image_files(options.images, Path(folder))
        bench = _Bench(options, images, clock or SystemClock(), report, on_run)
        evaluated: dict[tuple[str, str], Accuracy] = {}
        try:
            for bundle, precision, streams in combinations(options):
                done = len(report.runs)
                with bench.predictor(make_predictor, bundle, precision, streams) as (predictor, load_s):
                    if check is not None:
                        check.check(predictor)
                    bench.measure_batches(predictor, make_predictor, bundle, streams, load_s)
                    key = bundle, precision
                    if check is not None and key not in evaluated:
                        evaluated[key] = check.measure(predictor)
                        on_accuracy(report.runs[done].configuration, evaluated[key])
                for run in report.runs[done:]:
                    run.accuracy = evaluated.get(key)
        except KeyboardInterrupt:
            report.interrupted = True
    return report


class _Bench:
    """What all measurements of one benchmark share."""

    def __init__(
        self, options: Options, images: list[Path], clock: Clock, report: Report, on_run: Callable[[Run], None]
    ) -> None:
        self._options = options
        self._images = images
        self._clock = clock
        self._report = report
        self._on_run = on_run

    @contextlib.contextmanager
    def predictor(self, make: MakePredictor, bundle: str, precision: str, streams: int) -> Any:
        """A predictor, and the seconds that making it took."""
        options = self._options
        start = self._clock.now()
        with make(
            bundle,
            device=options.device,
            backend=options.backend,
            precision=precision,
            threshold=options.threshold,
            threads=options.threads,
            contexts=streams,
        ) as predictor:
            largest = predictor.info.batch.max
            if max(options.batches) > largest:
                raise BenchmarkError(f"--batch: {max(options.batches)}, but the largest batch of {bundle} is {largest}")
            yield predictor, self._clock.now() - start

    def measure_batches(
        self, predictor: Predictor, make: MakePredictor, bundle: str, streams: int, load_s: float
    ) -> None:
        """A run for each batch size goes to the report."""
        for batch in self._options.batches:
            configuration = Configuration(
                bundle=bundle,
                model=predictor.info.model,
                family=predictor.info.family,
                device=predictor.device,
                backend=predictor.backend,
                precision=predictor.precision,
                threads=self._options.threads,
                batch=batch,
                streams=streams,
                threshold=predictor.threshold,
            )
            with contextlib.ExitStack() as stack:
                peers = [self._peer(name, predictor, make, stack) for name in self._options.compare]
                measurement = _Measurement(self._options, configuration, self._images, self._clock, predictor, peers)
                run = measurement.run(load_s)
            if run is not None:
                self._report.runs.append(run)
                self._on_run(run)
            if measurement.interrupted:
                raise KeyboardInterrupt

    def _peer(self, name: str, predictor: Predictor, make: MakePredictor, stack: contextlib.ExitStack) -> Peer:
        options = self._options
        peer: Peer
        if name == PADDLEX:
            from instseg_rt.benchmark.peers.paddlex_peer import PaddlexPeer

            assert options.paddlex_python is not None and options.paddlex_model is not None
            peer = PaddlexPeer(
                options.paddlex_python, options.paddlex_model, predictor.info, predictor.threshold, options.threads
            )
        elif name == BF16:
            from instseg_rt.benchmark.peers.own_precision import OwnPrecisionPeer

            other = make(
                predictor.info.path,
                device=options.device,
                backend=options.backend,
                precision=name,
                threshold=predictor.threshold,
                threads=options.threads,
            )
            peer = OwnPrecisionPeer(other, self._clock)
        else:
            from instseg_rt.benchmark.peers.pipeline import PipelinePeer

            peer = PipelinePeer(name, predictor.info, predictor.threshold, options.threads, self._clock)
        stack.callback(peer.close)
        return peer


class _Measurement:
    """One configuration: warm-up, scenario, figures."""

    def __init__(
        self,
        options: Options,
        configuration: Configuration,
        images: Sequence[Path],
        clock: Clock,
        predictor: Predictor,
        peers: list[Peer],
    ) -> None:
        self.interrupted = False
        self._options = options
        self._configuration = configuration
        self._images = images
        self._clock = clock
        self._predictor = predictor
        self._ours = PredictorSubject(predictor, clock)
        self._peers = peers
        self._subjects: list[Subject] = [self._ours, *peers]
        self._queries = scenarios.make_queries(images, configuration.batch)
        self._calls: list[Call] = []
        self._rounds: list[tuple[Call, ...]] = []
        self._served: list[Served] = []
        self._arrivals: list[float] = []

    def run(self, load_s: float) -> Run | None:
        """None where it was interrupted before the first measured call."""
        instances = self._first_pass()
        warm_ups = [self._warm_up(subject) for subject in self._subjects]
        processes = [peer.process_id for peer in self._peers if peer.process_id is not None]
        probe = NoiseProbe(gpu=self._configuration.device != "cpu", processes=processes)
        start = self._clock.now()
        try:
            elapsed = self._scenario()
        except KeyboardInterrupt:
            self.interrupted = True
            elapsed = self._clock.now() - start
        noise = probe.end()
        calls = self._finished()
        if not calls:
            return None
        samples = Samples.of(self._stages())
        notes = noise_notes(noise, samples.statistics, self._variation(samples))
        for subject, done in zip(self._subjects, warm_ups, strict=True):
            notes += _warm_up_notes(subject.name, done)
        if instances == 0:
            notes.append(
                "nothing was found in the images: there were no masks to make; lower --threshold, or use others"
            )
        if self.interrupted:
            notes.append("interrupted: the measurement ended before its time")
        single = self._options.scenario == "single-stream"
        return Run(
            configuration=self._configuration,
            scenario=self._options.scenario,
            images=len(self._images),
            instances=instances,
            load_s=load_s,
            warm_up=warm_ups[0],
            elapsed_s=elapsed,
            images_per_second=sum(call.images for call in calls) / elapsed if not self._peers and elapsed else None,
            samples=samples,
            early_stopping=[early_stopping.estimate(samples.samples_ms[TOTAL], p) for p in _PERCENTILES if single],
            server=self._server_figures(elapsed),
            comparisons=self._comparisons(samples, warm_ups[1:]),
            noise=noise,
            notes=notes,
            interrupted=self.interrupted,
        )

    def _first_pass(self) -> int:
        """The number of instances in the images; peers that must agree find the same."""
        found: list[int] = []
        self._predictor.warm_up(self._configuration.batch)
        for query in self._queries:
            results, _ = self._ours.predict(query)
            found += [len(result) for result in results]
            for peer in self._peers:
                seen = peer.find(query[0])
                if peer.must_agree:
                    check_agreement(peer.name, query[0], results[0], seen)
        if (streams := self._configuration.streams) > 1:
            # So that every stream has seen sizes of the images.
            passes = Limits(0.0, min_calls=streams * len(self._queries))
            scenarios.offline(self._ours, self._queries, streams, passes, self._clock, [])
        return sum(found[: len(self._images)])  # what fills the last batch is there twice

    def _warm_up(self, subject: Subject) -> WarmUp:
        return warm_up(lambda i: subject(self._queries[i % len(self._queries)]), self._clock, self._options.warm_up_s)

    def _scenario(self) -> float:
        """Makes the measured calls; the seconds that they took."""
        options, streams = self._options, self._configuration.streams
        if options.scenario == "single-stream":
            return scenarios.single_stream(self._subjects, self._queries, options.limits, self._clock, self._rounds)
        if options.scenario == "offline":
            return scenarios.offline(self._ours, self._queries, streams, options.limits, self._clock, self._calls)
        assert options.qps is not None
        self._arrivals = list(scenarios.arrival_times(options.qps, options.limits.duration_s, options.seed))
        if not self._arrivals:
            raise BenchmarkError(
                f"--qps: at {options.qps:g} a second nothing arrives in {options.limits.duration_s:g} s: use a longer "
                "--duration"
            )
        queries: list[Query] = list(self._queries)
        return scenarios.server(self._ours, queries, streams, self._arrivals, self._clock, self._served)

    def _finished(self) -> list[Call]:
        return self._calls + [calls[0] for calls in self._rounds] + [query.call for query in self._served]

    def _stages(self) -> list[dict[str, float]]:
        if self._served:
            return [
                {
                    **query.call.milliseconds,
                    WAIT: (query.begun_s - query.arrived_s) * 1e3,
                    LATENCY: query.latency_ms,
                }
                for query in self._served
            ]
        return [call.milliseconds for call in self._finished()]

    def _variation(self, samples: Samples) -> float | None:
        """None where calls of several streams on several images end in any order."""
        if self._configuration.streams > 1 and len(self._queries) > 1:
            return None
        return variation_percent(samples.samples_ms[TOTAL], len(self._queries))

    def _server_figures(self, elapsed: float) -> ServerFigures | None:
        options = self._options
        if options.scenario != "server" or options.qps is None or options.latency_bound_ms is None:
            return None
        queries = len(self._served) if self.interrupted else len(self._arrivals)
        unanswered = queries - len(self._served)
        over = unanswered + sum(query.latency_ms > options.latency_bound_ms for query in self._served)
        return ServerFigures(
            qps=options.qps,
            arrived_qps=queries / max(query.arrived_s for query in self._served),
            answered_qps=len(self._served) / elapsed,
            latency_bound_ms=options.latency_bound_ms,
            queries=queries,
            unanswered=unanswered,
            over=over,
            needed=early_stopping.needed_calls(over, _SERVER_PERCENTILE),
            holds=early_stopping.is_shown(over, queries, _SERVER_PERCENTILE),
        )

    def _comparisons(self, ours: Samples, warm_ups: list[WarmUp]) -> list[Comparison]:
        comparisons = []
        for index, (peer, done) in enumerate(zip(self._peers, warm_ups, strict=True), start=1):
            theirs = Samples.of([calls[index].milliseconds for calls in self._rounds])
            shared = [stage for stage in ours.samples_ms if stage in theirs.samples_ms]
            ratios = {stage: paired_ratio(ours.samples_ms[stage], theirs.samples_ms[stage]) for stage in shared}
            comparisons.append(Comparison(peer.name, peer.version, done, theirs, ratios))
        return comparisons


def _warm_up_notes(name: str, done: WarmUp) -> list[str]:
    if done.stable:
        return []
    last = ", ".join(f"{median:.2f}" for median in done.medians_ms[-3:])
    return [f"{name} was not stable after {done.seconds:.0f} s of warm-up: the last medians are {last} ms"]


def _plain_settings(options: Options) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, Path) else value for key, value in dataclasses.asdict(options).items()}
