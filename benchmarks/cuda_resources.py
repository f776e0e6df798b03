"""What the CUDA kernels need of the GPU: registers, spills, stack and shared memory, from the compiler.

Compiles the sources of libinstseg_cuda.so once more, for one architecture, with the commands of a configured build
(`cmake --preset cuda`), and reads what ptxas says. Needs nvcc and c++filt, but no GPU.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from report import REPORTS, BenchmarkError, run, write_report

DEFAULT_BUILD = Path("build/cuda")
# Kernels that run once per pixel, cell, value or pair: a spill there costs on every call.
HOT = ("PreprocessBody", "MultiplyBody", "RenderBody", "PoolRoisBody", "RankBody", "SuppressBody", "OverlapBody")

_ENTRY = re.compile(r"Compiling entry function '(?P<name>[^']+)' for '(?P<arch>[^']+)'")
_STACK = re.compile(r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill")
_REGISTERS = re.compile(r"Used (?P<registers>\d+) registers")
_SHARED = re.compile(r"(?P<shared>\d+) bytes smem")


@dataclass(frozen=True)
class Kernel:
    """Bytes, but for registers; stack is local memory that is no spill, such as an array that is indexed."""

    name: str
    arch: str
    registers: int = 0
    spill_stores: int = 0
    spill_loads: int = 0
    stack: int = 0
    shared: int = 0

    @property
    def spills(self) -> bool:
        return self.spill_stores > 0 or self.spill_loads > 0

    @property
    def hot(self) -> bool:
        return any(body in self.name for body in HOT)


def parse_ptxas(text: str) -> list[Kernel]:
    """The kernels of the output of `ptxas -v`, in its order."""
    kernels: list[Kernel] = []
    for line in text.splitlines():
        if entry := _ENTRY.search(line):
            kernels.append(Kernel(entry["name"], entry["arch"]))
        elif not kernels:
            continue
        elif stack := _STACK.search(line):
            kernels[-1] = replace(
                kernels[-1],
                stack=int(stack["stack"]),
                spill_stores=int(stack["stores"]),
                spill_loads=int(stack["loads"]),
            )
        elif registers := _REGISTERS.search(line):
            shared = _SHARED.search(line)
            kernels[-1] = replace(
                kernels[-1], registers=int(registers["registers"]), shared=int(shared["shared"]) if shared else 0
            )
    return kernels


def short_name(demangled: str) -> str:
    """The body of a kernel of this project with its template arguments; the first word of others."""
    match = re.search(r"run_body<(.*)>\(", demangled)
    if match is None:
        return re.split(r"[<(]", demangled.removeprefix("void "), maxsplit=1)[0].rsplit("::", 1)[-1]
    return re.sub(r"\([\w:]+\)(?=\w)", "", match[1].replace("instseg::cuda::", "").replace("instseg::", "")).strip()


def compile_command(command: str, arch: int) -> list[str]:
    """The command of the build, for one architecture, with ptxas's report, and without its output."""
    words = [word for word in shlex.split(command) if not word.startswith("--generate-code")]
    while words and "nvcc" not in Path(words[0]).name:  # a compiler launcher would keep the report for itself
        words.pop(0)
    if "-o" in words:
        words[words.index("-o") + 1] = "/dev/null"
    return [*words, f"--generate-code=arch=compute_{arch},code=[sm_{arch}]", "-Xptxas=-v"]


def cuda_commands(build: Path) -> list[tuple[str, Path, str]]:
    """Name, working folder and command of every CUDA source of the build."""
    file = build / "compile_commands.json"
    if not file.is_file():
        raise BenchmarkError(f"{file} is not there: run `cmake --preset cuda` first")
    entries = json.loads(file.read_text(encoding="utf-8"))
    found = [(Path(e["file"]).name, Path(e["directory"]), e["command"]) for e in entries if e["file"].endswith(".cu")]
    if not found:
        raise BenchmarkError(f"{file} has no CUDA source: configure with INSTSEG_CUDA=ON")
    return found


def demangle(text: str) -> str:
    tool = shutil.which("c++filt")
    if tool is None:
        raise BenchmarkError("c++filt is not installed: it comes with binutils")
    return subprocess.run([tool], input=text, capture_output=True, text=True, check=True).stdout


def measure(build: Path, arch: int) -> list[Kernel]:
    kernels: list[Kernel] = []
    for name, folder, command in cuda_commands(build):
        print(f"compiling {name} for sm_{arch}", file=sys.stderr)
        done = subprocess.run(compile_command(command, arch), cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchmarkError(f"{name} does not compile: {done.stderr.strip()[-400:]}")
        kernels += parse_ptxas(demangle(done.stderr))
    return [replace(kernel, name=short_name(kernel.name)) for kernel in kernels]


def print_table(kernels: list[Kernel]) -> None:
    print("| kernel | registers | spilled bytes | stack | shared |\n| --- | --: | --: | --: | --: |")
    for kernel in sorted(kernels, key=lambda k: (not k.hot, k.name)):
        spilled = kernel.spill_stores + kernel.spill_loads
        print(f"| `{kernel.name}` | {kernel.registers} | {spilled} | {kernel.stack} | {kernel.shared} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=DEFAULT_BUILD, help=f"configured build folder ({DEFAULT_BUILD})")
    parser.add_argument("--arch", type=int, default=75, help="compute capability, as 75 for 7.5 (75)")
    parser.add_argument("--output", type=Path, default=REPORTS / "cuda_resources.json", help="JSON report")
    arguments = parser.parse_args()
    kernels = measure(arguments.build, arguments.arch)
    print_table(kernels)
    write_report(arguments.output, "cuda_resources", {"arch": arguments.arch}, kernels)
    spilling = sorted({kernel.name for kernel in kernels if kernel.hot and kernel.spills})
    if spilling:
        raise BenchmarkError(f"hot kernels spill registers: {', '.join(spilling)}")


if __name__ == "__main__":
    sys.exit(run(main))
