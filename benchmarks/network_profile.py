"""Where the time of the networks goes: what the layers take, by kind, while a predictor runs an image.

The networks are the predictor's own, with the plug-in's convolutions and products among OpenVINO's (its variable
INSTSEG_OPENVINO_PROFILE). The layers' counters slow a network by a few percent. OpenVINO fuses what it can: an
attention that it runs as one layer counts as `fused`, though its matrix products count among the operations. GFLOP are
of the convolutions' definition, whatever way they are computed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from end_to_end import find_bundles
from instseg_rt import Predictor, load_bundle
from instseg_rt.benchmark.report import Table
from paddlex_comparison import THRESHOLDS
from report import REPORTS, environment, run, show_table, write_report
from stage_operations import OperationCounter, operations_by_kind, operations_per_second, read_graph

_VARIABLE = "INSTSEG_OPENVINO_PROFILE"
_KINDS = {
    "Convolution": "convolutions",
    "GroupConvolution": "convolutions",
    "ConvolutionBackpropData": "convolutions",
    "GroupConvolutionBackpropData": "convolutions",
    "WinogradConvolution": "convolutions",
    "SplitConvolution": "convolutions",
    "SplitProduct": "matrix products",
    "MatMul": "matrix products",
    "FullyConnected": "matrix products",
    "Subgraph": "fused",
}
_REST = "rest"
_COLUMNS = ("model", "precision", "networks, ms", "convolutions", "GFLOP/s", "matrix products", "fused", "rest")


@dataclass
class Profile:
    """Medians in ms of a call's runs of a layer together. layers: by stage, name and implementation. operations: of
    one call, by kind."""

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
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=["fp32"], metavar="P")
    parser.add_argument(
        "--repeat", type=int, default=7, metavar="N", help="calls of each predictor (default: %(default)s)"
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


@contextmanager
def _profiles_in(folder: Path) -> Iterator[None]:
    """Sessions that are made and closed inside leave their profiles there."""
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = str(folder)
    try:
        yield
    finally:
        os.environ.pop(_VARIABLE)
        if before is not None:
            os.environ[_VARIABLE] = before


def profile_bundle(bundle: Path, image: Path, precision: str, threshold: float, repeat: int) -> Profile:
    """Of `repeat` calls, after one that makes the buffers. Its operations are not counted here."""
    profile = Profile(load_bundle(bundle).model, precision)
    with tempfile.TemporaryDirectory() as folder:
        with _profiles_in(Path(folder)), Predictor(bundle, precision=precision, threshold=threshold) as predictor:
            for _ in range(repeat + 1):
                predictor(image)
        for file in sorted(Path(folder).glob("*.json")):
            _add_stage(profile, json.loads(file.read_text(encoding="utf-8")), repeat)
    return profile


def _add_stage(profile: Profile, stage: dict[str, Any], repeat: int) -> None:
    """Every call runs a stage as often: on the same image it finds the same."""
    runs = stage["runs"] // (repeat + 1)
    for layer in stage["layers"]:
        samples = layer["microseconds"]
        calls = [sum(samples[first : first + runs]) for first in range(runs, len(samples), runs)] if runs else []
        milliseconds = statistics.median(calls) / 1e3 if calls else 0.0
        if milliseconds == 0:
            continue
        profile.kinds_ms[_KINDS.get(layer["type"], _REST)] += milliseconds
        name = f"{Path(stage['stage']).stem}: {layer['name']} ({layer['type']}, {layer['implementation']})"
        profile.layers_ms[name] = profile.layers_ms.get(name, 0.0) + milliseconds
        profile.networks_ms += milliseconds


def count_operations(counter: OperationCounter, bundle: Path, image: Path, threshold: float) -> dict[str, int]:
    """Of a call, by kind, on the shapes that the networks really get."""
    found: dict[str, int] = {}
    for file, shapes in counter.runs(bundle, image, threshold):
        for kind, operations in operations_by_kind(read_graph(file, shapes)).items():
            found[kind] = found.get(kind, 0) + operations
    return found


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
        threshold = THRESHOLDS[info.family]
        operations = count_operations(counter, bundle, arguments.image, threshold)
        for precision in arguments.precision:
            profiles.append(profile_bundle(bundle, arguments.image, precision, threshold, arguments.repeat))
            profiles[-1].operations = operations
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
