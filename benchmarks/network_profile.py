"""Where the time of the networks goes: what OpenVINO's layers take, by kind, on the shapes that an image leads to.

The layers' own counters slow a network by a few percent. OpenVINO fuses what it can: an attention that it runs as one
layer counts as `fused`, though its matrix products count among the operations.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from end_to_end import find_bundles
from instseg_rt import load_bundle
from instseg_rt.benchmark.report import Table
from paddlex_comparison import THRESHOLDS
from report import REPORTS, environment, run, show_table, write_report
from stage_operations import OperationCounter, Shapes, operations_by_kind, operations_per_second, read_graph

_KINDS = {
    "Convolution": "convolutions",
    "GroupConvolution": "convolutions",
    "ConvolutionBackpropData": "convolutions",
    "GroupConvolutionBackpropData": "convolutions",
    "MatMul": "matrix products",
    "FullyConnected": "matrix products",
    "Subgraph": "fused",
}
_REST = "rest"
_COLUMNS = ("model", "precision", "networks, ms", "convolutions", "GFLOP/s", "matrix products", "fused", "rest")
_OPENVINO_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


@dataclass
class Profile:
    """Medians in ms. layers: of single layers, by stage, name and OpenVINO's implementation. operations: by kind."""

    model: str
    precision: str
    networks_ms: float = 0.0
    kinds_ms: dict[str, float] = field(default_factory=lambda: dict.fromkeys((*_KINDS.values(), _REST), 0.0))
    layers_ms: dict[str, float] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, metavar="FOLDER", help="with bundles named NAME.bundle")
    parser.add_argument("--image", type=Path, required=True, metavar="PHOTO")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="of these models")
    parser.add_argument("--precision", nargs="+", choices=_OPENVINO_PRECISIONS, default=["fp32"], metavar="P")
    parser.add_argument(
        "--repeat", type=int, default=7, metavar="N", help="runs of each network (default: %(default)s)"
    )
    parser.add_argument("--layers", type=int, default=0, metavar="N", help="also the N layers that take longest")
    parser.add_argument(
        "--report", type=Path, default=REPORTS / "network_profile.json", metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="the table as Markdown")
    arguments = parser.parse_args()
    if arguments.repeat < 1:
        parser.error(f"--repeat {arguments.repeat}: 1 or more")
    return arguments


def profile_bundle(model: str, runs: Sequence[tuple[Path, Shapes]], precision: str, repeat: int) -> Profile:
    """Of the networks in `runs`, with random inputs. Those with the same file and shapes are measured once."""
    profile = Profile(model, precision)
    times = Counter((file, tuple(sorted(shapes.items()))) for file, shapes in runs)
    for (file, shapes), count in times.items():
        graph = read_graph(file, dict(shapes))
        for kind, operations in operations_by_kind(graph).items():
            profile.operations[kind] = profile.operations.get(kind, 0) + count * operations
        for layer, (kind, milliseconds) in _layer_times(graph, precision, repeat).items():
            profile.kinds_ms[kind] += count * milliseconds
            name = f"{file.stem}: {layer}"
            profile.layers_ms[name] = profile.layers_ms.get(name, 0.0) + count * milliseconds
            profile.networks_ms += count * milliseconds
    return profile


def _layer_times(graph: Any, precision: str, repeat: int) -> dict[str, tuple[str, float]]:
    """Kind and median in ms by name and implementation, of layers that were executed."""
    import openvino

    # As the backend's, but for the counters.
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _OPENVINO_PRECISIONS[precision],
        "PERF_COUNT": True,
    }
    request = openvino.Core().compile_model(graph, "CPU", settings).create_infer_request()
    generator = np.random.default_rng(0)
    inputs = [generator.standard_normal(tuple(port.shape), np.float32) for port in graph.inputs]
    request.infer(inputs)  # the first one makes buffers
    samples: dict[str, list[float]] = {}
    kinds: dict[str, str] = {}
    for _ in range(repeat):
        request.infer(inputs)
        for layer in request.profiling_info:
            milliseconds = layer.real_time.total_seconds() * 1e3
            if milliseconds > 0:
                name = f"{layer.node_name} ({layer.node_type}, {layer.exec_type})"
                samples.setdefault(name, []).append(milliseconds)
                kinds[name] = _KINDS.get(layer.node_type, _REST)
    return {name: (kinds[name], statistics.median(values)) for name, values in samples.items()}


def cells(profile: Profile) -> tuple[str, ...]:
    def share(kind: str) -> str:
        milliseconds = profile.kinds_ms[kind]
        return f"{milliseconds:.0f} ms, {milliseconds / profile.networks_ms:.0%}"

    convolutions_s = profile.kinds_ms["convolutions"] / 1e3
    rate = f"{profile.operations['convolutions'] / convolutions_s / 1e9:.0f}" if convolutions_s else "–"
    return (
        profile.model,
        profile.precision,
        f"{profile.networks_ms:.0f}",
        share("convolutions"),
        rate,
        share("matrix products"),
        share("fused"),
        share(_REST),
    )


def main() -> None:
    arguments = parse_arguments()
    bundles = find_bundles(arguments.bundles, arguments.only)
    rate = operations_per_second()
    counter = OperationCounter()
    profiles: list[Profile] = []
    for bundle in bundles:
        info = load_bundle(bundle)
        print(f"{info.model} …", file=sys.stderr)
        runs = counter.runs(bundle, arguments.image, THRESHOLDS[info.family])
        profiles += [profile_bundle(info.model, runs, precision, arguments.repeat) for precision in arguments.precision]
    shown = Table("Layers by kind", _COLUMNS, [cells(each) for each in profiles], names=2)
    show_table(shown, arguments.markdown)
    for profile in profiles if arguments.layers else ():
        print(f"{profile.model}, {profile.precision}:")
        slowest = sorted(profile.layers_ms.items(), key=lambda layer: layer[1], reverse=True)
        for layer, milliseconds in slowest[: arguments.layers]:
            print(f"  {milliseconds:8.2f} ms  {layer}")
    print(f"the peak in float32: {rate / 1e9:.0f} GFLOP/s, NumPy's product of two large matrices")
    print(environment())
    write_report(arguments.report, "network_profile", {**vars(arguments), "operations_per_second": rate}, profiles)


if __name__ == "__main__":
    sys.exit(run(main))
