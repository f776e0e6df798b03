"""Mask AP of bundles in float32, and with what flows between their operators rounded to bfloat16.

For a machine whose processor cannot compute in bfloat16: an estimate of what `precision="bf16"` costs. Where it can,
`instseg benchmark BUNDLE --precision fp32,bf16 --ap DATASET` measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from accuracy_arguments import accuracy_parser
from report import run, write_report

ALLOWED_LOSS = 0.003


@dataclass(frozen=True)
class Row:
    """Mask AP, 0 to 1."""

    bundle: str
    fp32: float
    bf16: float

    def __str__(self) -> str:
        loss = self.fp32 - self.bf16
        verdict = "within" if loss <= ALLOWED_LOSS else "more than"
        return f"| {self.bundle} | {self.fp32:.4f} | {self.bf16:.4f} | {loss:+.4f}, {verdict} {ALLOWED_LOSS} |"


def measure(bundle: Path, dataset: Path) -> Row:
    import onnx

    from instseg_export.bundle_manifest import read_manifest, stage_file
    from instseg_export.precision.accuracy import evaluate
    from instseg_export.precision.bfloat16 import bfloat16_graph
    from instseg_export.precision.comparison import GraphStage, RunStage, stage_predictor

    manifest = read_manifest(bundle)
    exact: dict[str, RunStage] = {}
    rounded: dict[str, RunStage] = {}
    for stage in manifest["stages"]:
        graph = onnx.load(stage_file(bundle, stage))
        exact[stage["name"]] = GraphStage(graph)
        rounded[stage["name"]] = GraphStage(bfloat16_graph(graph))
    found = []
    for stages in (exact, rounded):
        with stage_predictor(bundle, stages) as predictor:
            found.append(evaluate(predictor, dataset).mask_ap)
    return Row(bundle.name, *found)


def main() -> None:
    arguments = accuracy_parser(__doc__, "bf16_accuracy.json").parse_args()
    rows = []
    print("| bundle | mask AP FP32 | BF16, estimated | loss |\n|---|---|---|---|", flush=True)
    for bundle in arguments.bundles:
        rows.append(measure(bundle, arguments.dataset))
        print(rows[-1], flush=True)
    write_report(arguments.report, "bf16_accuracy", {"dataset": arguments.dataset}, rows)


if __name__ == "__main__":
    raise SystemExit(run(main))
