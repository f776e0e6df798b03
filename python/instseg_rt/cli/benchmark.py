"""`instseg benchmark`: latency, throughput and accuracy of bundles."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from instseg_rt.benchmark.accuracy import Accuracy
from instseg_rt.benchmark.errors import BenchmarkError
from instseg_rt.benchmark.options import Options, numbers, words
from instseg_rt.benchmark.peers import PEERS
from instseg_rt.benchmark.plot import check_plot, plot_report
from instseg_rt.benchmark.records import Configuration, Report, Run
from instseg_rt.benchmark.report import (
    Table,
    accuracy_line,
    run_lines,
    run_tables,
    summary_table,
    write_json,
    write_markdown,
)
from instseg_rt.benchmark.run import run_benchmark
from instseg_rt.benchmark.scenarios import Limits, Scenario
from instseg_rt.cli import EXIT_INTERRUPTED, EXIT_OK
from instseg_rt.cli.console import stdout_console, table
from instseg_rt.cli.predict import add_runtime_arguments

_EPILOG = """\
A call goes from the encoded image file to the Result. Without --images it is a rendered scene of 640 x 640 pixels.
Every combination of --precision, --batch and --streams is measured. Ctrl-C shows and writes what there is (exit code
130). docs/benchmark.md says what is measured and how to compare fairly.

scenarios:
  single-stream  one call after the other; latency, with MLPerf's early-stopping estimate
  offline        all images are there, --streams calls at a time; images per second
  server         images arrive at random, --qps a second; does p99 stay within --latency-bound?

examples:
  instseg benchmark model.bundle
  instseg benchmark model.bundle --images photos/ --batch 1,4,8 --scenario offline --streams 1,2
  instseg benchmark model.bundle --scenario server --qps 20 --latency-bound 100
  instseg benchmark model.bundle --images photo.jpg --compare onnxruntime,openvino
  instseg benchmark small.bundle large.bundle --ap my_dataset --plot models.png --json models.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `instseg benchmark`."""
    defaults = Options(bundles=("",))
    parser.epilog = _EPILOG
    parser.add_argument("bundles", metavar="BUNDLE", nargs="+", help="bundle directory, or name of an embedded one")
    parser.add_argument("--images", metavar="INPUT", nargs="+", default=[], help="image files, folders, glob patterns")
    add_runtime_arguments(parser)
    parser.add_argument("--batch", default="1", metavar="LIST", help="images per call, such as 1,4,8 (default: 1)")
    parser.add_argument("--streams", default="1", metavar="LIST", help="calls at a time, such as 1,2 (default: 1)")
    parser.add_argument("--threshold", type=float, metavar="T", help="keep score > T (default: the bundle's)")
    parser.add_argument(
        "--scenario", choices=get_args(Scenario), default=defaults.scenario, help=f"default: {defaults.scenario}"
    )
    parser.add_argument(
        "--duration",
        type=float,
        default=defaults.limits.duration_s,
        metavar="S",
        help=f"seconds of each measurement, of at least {defaults.limits.min_calls} calls (default: %(default)g)",
    )
    parser.add_argument(
        "--warm-up",
        type=float,
        default=defaults.warm_up_s,
        metavar="S",
        help="seconds after which a warm-up ends that does not become stable (default: %(default)g)",
    )
    parser.add_argument("--qps", type=float, metavar="N", help="server: images that arrive in a second, on average")
    parser.add_argument("--latency-bound", type=float, metavar="MS", help="server: what 99%% of the answers may take")
    parser.add_argument(
        "--seed", type=int, default=defaults.seed, metavar="N", help="server: of the arrivals (default: 0)"
    )
    parser.add_argument("--compare", metavar="LIST", help=f"programs to measure in turn with it: {','.join(PEERS)}")
    parser.add_argument("--paddlex-python", type=Path, metavar="PATH", help="Python of an environment with PaddleX")
    parser.add_argument("--paddlex-model", type=Path, metavar="DIR", help="the model as PaddleX exported it")
    parser.add_argument("--ap", type=Path, metavar="DATASET", help="also mask AP on the val images of a COCO folder")
    parser.add_argument("--json", type=Path, metavar="FILE", help="everything, with every sample")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the tables")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="latency distributions, and AP against latency")


def run(args: argparse.Namespace) -> int:
    """Measure, show, write the files that were asked for."""
    options = Options(
        bundles=tuple(args.bundles),
        images=tuple(args.images),
        device=args.device,
        backend=args.backend,
        precisions=() if args.precision == "auto" else words(args.precision),
        batches=numbers(args.batch, "--batch"),
        streams=numbers(args.streams, "--streams"),
        threads=args.threads,
        threshold=args.threshold,
        scenario=args.scenario,
        limits=Limits(args.duration),
        warm_up_s=args.warm_up,
        qps=args.qps,
        latency_bound_ms=args.latency_bound,
        seed=args.seed,
        compare=words(args.compare),
        paddlex_python=args.paddlex_python,
        paddlex_model=args.paddlex_model,
        dataset=args.ap,
    )
    if args.plot is not None:
        check_plot(args.plot)
    for file in (args.json, args.markdown, args.plot):
        if file is not None and file.is_dir():
            raise BenchmarkError(f"{file}: expected a file to write, found a folder")
    report = run_benchmark(options, on_run=_show_run, on_accuracy=_show_accuracy)
    if len(report.runs) > 1:
        _show_table(summary_table(report.runs))
    print(report.environment)
    _write_files(report, args)
    if report.interrupted:
        print("interrupted: the figures above are all that was measured")
        return EXIT_INTERRUPTED
    return EXIT_OK


def _write_files(report: Report, args: argparse.Namespace) -> None:
    if args.json is not None:
        write_json(report, args.json)
    if args.markdown is not None:
        write_markdown(report, args.markdown)
    if args.plot is not None and report.runs:
        plot_report(report, args.plot)


def _show_run(run: Run) -> None:
    for shown in run_tables(run):
        _show_table(shown)
    for line in run_lines(run):
        print(line)
    print(flush=True)


def _show_accuracy(configuration: Configuration, accuracy: Accuracy) -> None:
    print(accuracy_line(configuration, accuracy), flush=True)


def _show_table(shown: Table) -> None:
    numbers_from = tuple(range(shown.names, len(shown.columns)))
    stdout_console().print(table(shown.title, shown.columns, shown.rows, right=numbers_from))
