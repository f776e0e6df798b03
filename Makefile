# Needs Python 3.11 or later, a C++20 compiler and make. Everything else goes into .venv and build/.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= $(shell nproc)

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# What pyproject.toml's [build-system] asks for, and the build tools themselves: in .venv, so that a rebuild is incremental.
BUILD_REQUIREMENTS := "scikit-build-core>=0.11" "pybind11>=3" "openvino>=2026.0" "cmeel-yaml-cpp>=0.8" "cmake>=3.25" ninja

.PHONY: help setup demo test test-cpp test-python check-cuda sanitize lint format clean

help:
	@echo "make demo    build, install into $(VENV) and predict a rendered scene; results in output/demo/"
	@echo "make test    build and run all tests, C++ and Python"
	@echo "make check-cuda  compile the CUDA ops and their tests, for one architecture; needs nvcc, but no GPU"
	@echo "make sanitize  the C++ tests under the address, undefined-behaviour and thread sanitizers"
	@echo "make lint    ruff, mypy, clang-format"
	@echo "make format  apply ruff's and clang-format's layout"
	@echo "make setup   only build and install (runtime and command line)"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip

$(VENV)/.build-tools: pyproject.toml | $(BIN)/python
	$(PIP) install --quiet $(BUILD_REQUIREMENTS)
	@touch $@

$(VENV)/.dev-tools: pyproject.toml | $(VENV)/.build-tools
	@echo "installing the training, export and test packages (some 1.1 GB, once)"
	$(BIN)/python tools/extras.py pyproject.toml train export int8 rtx dev > $(VENV)/extras.txt
	$(PIP) install --quiet -r $(VENV)/extras.txt
	@touch $@

setup: $(VENV)/.build-tools
	PATH="$(abspath $(BIN)):$$PATH" CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) $(PIP) install --quiet --no-build-isolation .

demo: setup
	$(BIN)/instseg demo --output output/demo

test: test-cpp test-python

test-cpp: $(VENV)/.dev-tools
	PATH="$(abspath $(BIN)):$$PATH" cmake --preset dev -G Ninja -DPython_EXECUTABLE="$(abspath $(BIN))/python"
	PATH="$(abspath $(BIN)):$$PATH" cmake --build --preset dev --parallel $(JOBS)
	PATH="$(abspath $(BIN)):$$PATH" ctest --preset dev

test-python: $(VENV)/.dev-tools setup
	$(BIN)/python -m pytest

# One architecture: all of it compiles and links, and no hot kernel spills. The tests of it run on a GPU only.
CUDA_ARCH ?= 75
CUDA_BUILD := build/check-cuda
check-cuda: $(VENV)/.dev-tools
	@if command -v nvcc > /dev/null || [ -n "$$CUDACXX" ]; then \
	  export PATH="$(abspath $(BIN)):$$PATH" && \
	  cmake --preset cuda -B $(CUDA_BUILD) -G Ninja -DCMAKE_CUDA_ARCHITECTURES=$(CUDA_ARCH)-real \
	    -DPython_EXECUTABLE="$(abspath $(BIN))/python" && \
	  cmake --build $(CUDA_BUILD) --parallel $(JOBS) --target instseg_cuda instseg_cuda_tests instseg_cuda_bench && \
	  python benchmarks/cuda_resources.py --build $(CUDA_BUILD) --arch $(CUDA_ARCH); \
	else \
	  echo "check-cuda: nvcc was not found: the CUDA ops are not compiled"; \
	fi

sanitize: $(VENV)/.dev-tools
	for preset in asan tsan; do \
	  PATH="$(abspath $(BIN)):$$PATH" cmake --preset $$preset -G Ninja -DPython_EXECUTABLE="$(abspath $(BIN))/python" && \
	  PATH="$(abspath $(BIN)):$$PATH" cmake --build --preset $$preset --parallel $(JOBS) && \
	  PATH="$(abspath $(BIN)):$$PATH" ctest --preset $$preset || exit 1; \
	done

lint: $(VENV)/.dev-tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy benchmarks
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.cpp' '*.hpp' '*.h' '*.c' '*.cu' '*.cuh')

format: $(VENV)/.dev-tools
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $$(git ls-files '*.cpp' '*.hpp' '*.h' '*.c' '*.cu' '*.cuh')

clean:
	rm -rf build $(VENV) output
