"""Where the time of the networks goes: what the layers take, by kind, in the networks that a predictor runs.

Each bundle is run in a process of its own on one photo, with INSTSEG_OPENVINO_PROFILE: the OpenVINO plug-in writes what
OpenVINO's counters say, of its own convolutions too. Times are means over the calls, of all runs of a network for the
photo together; the first run of each network is left out, as it also makes buffers and kernels. The counters slow a
network by a few percent and tell whole microseconds. OpenVINO fuses what it can: an attention that it runs as one layer
counts as `fused`, though its matrix products count among the operations. Operations are those of a convolution's
definition, however it is computed. INSTSEG_WINOGRAD=0 in the environment profiles OpenVINO's own convolutions,
INSTSEG_AMX=0 ours without the matrix unit.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from end_to_end import find_bundles
from instseg_rt import load_bundle
from instseg_rt.benchmark.report import Table
from paddlex_comparison import THRESHOLDS
from report import REPORTS, BenchmarkError, environment, run, show_table, write_report
from stage_operations import OperationCounter, Shapes, operations_by_kind, operations_per_second, read_graph

VARIABLE = "INSTSEG_OPENVINO_PROFILE"
_KINDS = ("convolutions", "matrix products", "fused", "rest")
# OpenVINO's, and the plug-in's own.
_PRODUCTS = ("MatMul", "FullyConnected", "SplitProduct", "SampledProjection", "MaskExtents")
_COLUMNS = ("model", "precision", "networks, ms", "convolutions", "GFLOP/s", *_KINDS[1:])
_PRECISIONS = ("fp32", "bf16")

# Runs in a process of its own, which has nothing but the predictor.
_PROGRAM = """
import sys
from instseg_rt import Predictor
bundle, image, precision, threshold, calls = sys.argv[1:]
with Predictor(bundle, backend="openvino", precision=precision, threshold=float(threshold)) as predictor:
    for _ in range(int(calls)):
        predictor(image)
"""


@dataclass
class Profile:
    """Means in ms for one image. layers: by stage, name, type and implementation. operations: by kind."""

    model: str
    precision: str
    networks_ms: float = 0.0
    kinds_ms: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_KINDS, 0.0))
    layers_ms: dict[str, float] = field(default_factory=dict)
    operations: dict[str, int] = field(default_factory=dict)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, metavar="FOLDER", help="with bundles named NAME.bundle")
    parser.add_argument("--image", type=Path, required=True, metavar="PHOTO")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="of these models")
    parser.add_argument("--precision", nargs="+", choices=_PRECISIONS, default=["fp32"], metavar="P")
    parser.add_argument(
        "--repeat", type=int, default=7, metavar="N", help="calls after the first one (default: %(default)s)"
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


def kind(layer_type: str) -> str:
    """Of a layer with OpenVINO's type, or that of an operation of the plug-in's own."""
    if layer_type.removesuffix("BackpropData").endswith("Convolution"):
        return "convolutions"
    if layer_type in _PRODUCTS:
        return "matrix products"
    return "fused" if layer_type == "Subgraph" else "rest"


def count_operations(runs: Sequence[tuple[Path, Shapes]]) -> dict[str, int]:
    """By kind, of the networks in `runs`. Those with the same file and shapes are read once."""
    found: Counter[str] = Counter()
    for (file, shapes), times in Counter((file, tuple(sorted(shapes.items()))) for file, shapes in runs).items():
        for of_kind, operations in operations_by_kind(read_graph(file, dict(shapes))).items():
            found[of_kind] += times * operations
    return dict(found)


def run_predictor(bundle: Path, image: Path, precision: str, threshold: float, calls: int) -> list[dict[str, Any]]:
    """The profiles of the stages, as the plug-in writes them. Raises BenchmarkError with the process's last words."""
    with tempfile.TemporaryDirectory(prefix="instseg-network-profile-") as folder:
        options = (str(bundle), str(image), precision, str(threshold), str(calls))
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *options],
            env={**os.environ, VARIABLE: folder},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            words = [line for line in done.stderr.splitlines() if line.strip()]
            raise BenchmarkError(f"{bundle}: {words[-1] if words else f'exit code {done.returncode}'}")
        found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(Path(folder).glob("*.json"))]
    if not found:
        raise BenchmarkError(f"{bundle}: the OpenVINO plug-in wrote no profile: it is of another release than this")
    return found


def make_profile(
    model: str, precision: str, stages: Iterable[dict[str, Any]], calls: int, operations: dict[str, int]
) -> Profile:
    """For one image, from the profiles of the stages in `calls` calls of a predictor."""
    profile = Profile(model, precision, operations=operations)
    for stage in stages:
        if stage["calls"] == 0:  # nothing was found that it could look at
            continue
        runs_of_call = (stage["calls"] + stage["first_calls"]) / calls
        for layer in stage["layers"]:
            milliseconds = layer["microseconds"] / stage["calls"] * runs_of_call / 1e3
            name = f"{Path(stage['file']).stem}: {layer['name']} ({layer['type']}, {layer['implementation']})"
            profile.layers_ms[name] = profile.layers_ms.get(name, 0.0) + milliseconds
            profile.kinds_ms[kind(layer["type"])] += milliseconds
            profile.networks_ms += milliseconds
    return profile


def cells(profile: Profile) -> tuple[str, ...]:
    def share(of_kind: str) -> str:
        milliseconds = profile.kinds_ms[of_kind]
        return f"{milliseconds:.0f} ms, {milliseconds / profile.networks_ms:.0%}" if milliseconds else "0 ms, 0%"

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
        share("rest"),
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
        threshold, calls = THRESHOLDS[info.family], arguments.repeat + 1
        operations = count_operations(counter.runs(bundle, arguments.image, threshold))
        for precision in arguments.precision:
            stages = run_predictor(bundle, arguments.image, precision, threshold, calls)
            profiles.append(make_profile(info.model, precision, stages, calls, operations))
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
