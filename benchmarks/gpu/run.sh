#!/usr/bin/env bash
# Run this on a machine with an NVIDIA GPU, and send us build/gpu/result-*.json.
#
#     benchmarks/gpu/run.sh            # all steps that are left; each stops after 9 minutes, so start it again until it says "done"
#     benchmarks/gpu/run.sh STEP...    # environment, build, engine, speed, accuracy, report
#
# With network, a checkout is enough. Without, run collect.sh elsewhere first. Needed: Python 3.10+, cmake, a C++ compiler, nvcc.
# REHEARSE="memory=device,accept=cuda" runs it on the software GPU of the tests instead, with thin models.
set -euo pipefail
cd "$(dirname "$0")/../.."

out=build/gpu
kit=build/gpu-kit
limit=${STEP_SECONDS:-540}
venv=$out/venv
bin=$PWD/$venv/bin
backend=${BACKEND--DGGML_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=native}
jobs=$(getconf _NPROCESSORS_ONLN)
mkdir -p "$out"

if [ -n "${REHEARSE:-}" ]; then
    backend="-DASL_BUILD_SOFTWARE_GPU=ON"
    export ASL_SOFTWARE_GPU=$PWD/$out/native/software_gpu/libsoftware-gpu.so
fi
if [ -f "$kit/llama.cpp.tar.xz" ]; then
    export ASL_LLAMA_CPP_SDIST=$PWD/$kit/llama.cpp.tar.xz
fi

environment() {
    local pip="$bin/python -m pip --disable-pip-version-check --quiet"
    "${PYTHON:-python3}" -m venv --system-site-packages "$venv"
    if [ -d "$kit/wheels" ]; then
        $pip install --no-index --find-links "$kit/wheels" -r "$kit/requirements.txt" llama-cpp-python
    else
        make .venv/.test .venv/.model
        rm -rf "$venv"
        ln -s ../../.venv "$venv"
    fi
    for first in "$kit"/models/*.part-00; do
        [ -f "$first" ] || continue
        mkdir -p "$out/models"
        cat "${first%00}"* > "$out/models/$(basename "${first%.part-00}")"
    done
}

build() {
    export PATH=$bin:$PATH
    cmake --log-level=NOTICE -S . -B "$out/native" -G Ninja -DPython3_EXECUTABLE="$bin/python" -DASL_BUILD_STOCK=ON $backend
    cmake --build "$out/native" --parallel "$jobs"
    cmake --install "$out/native" --prefix . > "$out/install.log"
}

engine() {
    # bit-identity holds on one device with one kernel; what a GPU computes otherwise is compared within tolerances
    PYTHONPATH=$PWD:$PWD/tests/helpers "$bin/python" -m pytest -q -p no:cacheprovider tests/gpu
}

speed() {
    PYTHONPATH=$PWD "$bin/python" -m benchmarks.gpu --stock "$out/native/stock/lib" --rehearse "${REHEARSE:-}" \
        ${SHAPES:+--shapes "$SHAPES"} ${LENGTHS:+--lengths "$LENGTHS"} ${ROUNDS:+--rounds "$ROUNDS"}
}

accuracy() {
    if ! ls "$out"/models/*.gguf > /dev/null 2>&1; then
        echo "no models of the accuracy grid: collect.sh --models brings them; step skipped"
        return
    fi
    local model
    for model in "$out"/models/*.gguf; do
        PYTHONPATH=$PWD "$bin/python" -m asl_llamacpp.cli eval -m "$model" --length 1024 --length 2048 --n-gpu-layers -1 \
            --budget 1/4 --budget 1/8 --samples 2 --out "$out/accuracy-$(basename "$model" .gguf)"
    done
}

report() {
    PYTHONPATH=$PWD "$bin/python" -m benchmarks.gpu.report "$out"
}

steps=("$@")
[ ${#steps[@]} -gt 0 ] || steps=(environment build engine speed accuracy report)
export -f environment build engine speed accuracy report
export out kit venv bin backend jobs REHEARSE SHAPES LENGTHS ROUNDS
for step in "${steps[@]}"; do
    [ $# -eq 0 ] && [ -f "$out/$step.done" ] && continue
    echo "== $step"
    if timeout "$limit" bash -euo pipefail -c "$step"; then
        touch "$out/$step.done"
    elif [ $? -eq 124 ]; then
        echo "$step took $limit seconds and is not done: start run.sh again, it goes on where it was"
        exit 75
    else
        echo "$step failed; what it printed is above"
        exit 1
    fi
done
echo "done: send us $(ls "$out"/result-*.json 2> /dev/null || echo "$out")"
