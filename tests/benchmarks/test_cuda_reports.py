"""What the reports on CUDA kernels read from the compiler, and from the logs of the check on a GPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cuda_report import Step, read_steps, read_times, table
from cuda_resources import Kernel, compile_command, cuda_commands, parse_ptxas, short_name
from report import BenchmarkError

PTXAS = """\
ptxas info    : 29 bytes gmem, 232 bytes cmem[4]
ptxas info    : Compiling entry function 'void instseg::cuda::run_body<instseg::cuda::PreprocessBody<(instseg::Sampling)2, float> >(instseg::cuda::PreprocessBody<(instseg::Sampling)2, float>)' for 'sm_75'
ptxas info    : Function properties for void instseg::cuda::run_body<instseg::cuda::PreprocessBody<(instseg::Sampling)2, float> >(instseg::cuda::PreprocessBody<(instseg::Sampling)2, float>)
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 54 registers, used 1 barriers, 2560 bytes smem, 1928 bytes cmem[0]
ptxas info    : Compiling entry function 'void cub::detail::EmptyKernel<void>()' for 'sm_75'
    64 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 4 registers, used 0 barriers, 352 bytes cmem[0]
"""  # noqa: E501


def test_ptxas_output_is_read() -> None:
    first, second = parse_ptxas(PTXAS)
    assert (first.registers, first.shared, first.spills, first.hot, first.arch) == (54, 2560, False, True, "sm_75")
    assert (second.registers, second.stack, second.spill_stores, second.spill_loads) == (4, 64, 8, 12)
    assert second.spills and not second.hot


def test_kernels_have_short_names() -> None:
    first, second = parse_ptxas(PTXAS)
    assert short_name(first.name) == "PreprocessBody<2, float>"
    assert short_name(second.name) == "EmptyKernel"
    assert Kernel(short_name(first.name), "sm_75").hot


def test_the_command_is_for_one_architecture() -> None:
    command = 'ccache /usr/bin/nvcc -O3 "--generate-code=arch=compute_75,code=[sm_75]" -x cu -c a.cu -o a.o'
    assert compile_command(command, 80) == [
        *("/usr/bin/nvcc", "-O3", "-x", "cu", "-c", "a.cu", "-o", "/dev/null"),
        *("--generate-code=arch=compute_80,code=[sm_80]", "-Xptxas=-v"),
    ]


def test_a_build_without_cuda_is_named(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="cmake --preset cuda"):
        cuda_commands(tmp_path)
    entry = {"file": "/a.cpp", "directory": "/", "command": "g++ /a.cpp"}
    (tmp_path / "compile_commands.json").write_text(json.dumps([entry]), encoding="utf-8")
    with pytest.raises(BenchmarkError, match="INSTSEG_CUDA=ON"):
        cuda_commands(tmp_path)


def test_a_step_fails_by_its_status_or_its_log(tmp_path: Path) -> None:
    logs = {
        "build": ("0", ""),
        "tests": ("0", "[  SKIPPED ] CudaMasks.One\n[  PASSED  ] 0 tests.\n"),
        "sanitizer_memcheck": ("0", "========= ERROR SUMMARY: 0 errors\n"),
        "sanitizer_racecheck": ("9", "========= RACECHECK SUMMARY: 2 hazards displayed\n"),
        "sanitizer_initcheck": ("0", "========= no summary\n"),
    }
    lines = [f"{name}\t{status}\t1.5" for name, (status, _) in logs.items()]
    (tmp_path / "steps.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name, (_, text) in logs.items():
        (tmp_path / f"{name}.log").write_text(text, encoding="utf-8")
    steps = {step.name: step for step in read_steps(tmp_path)}
    assert [name for name, step in steps.items() if step.passed] == ["build", "sanitizer_memcheck"]
    assert steps["sanitizer_racecheck"].summary == "RACECHECK SUMMARY: 2 hazards displayed"
    assert read_times(tmp_path) == {}


def test_the_table_has_gpu_and_times() -> None:
    op = {"op": "RoIAlign", "batch": 8, "median_ms": 1.25, "min_ms": 1.0, "workspace_bytes": 2_500_000}
    text = table([Step("tests", True, 3.0, "")], {"gpu": "Tesla T4", "ops": [op]})
    assert text.startswith("Tesla T4, 20")
    assert "| RoIAlign | 8 | 1.250 | 1.000 | 2.5 |" in text
