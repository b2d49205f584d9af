#!/usr/bin/env bash
# On a machine with network: what run.sh needs on one without, into build/gpu-kit (about 55 MB).
#
#     benchmarks/gpu/collect.sh [--models] [--python 3.12]
#
# --models adds the two small models of the accuracy grid (330 MB), in parts of 48 MB. Copy the checkout with the kit in it.
set -euo pipefail
cd "$(dirname "$0")/../.."

kit=build/gpu-kit
python=3.12
models=
while [ $# -gt 0 ]; do
    case $1 in
        --models) models=yes ;;
        --python) python=$2; shift ;;
        *) sed -n '2,6s/^# \?//p' "$0"; exit 2 ;;
    esac
    shift
done

make .venv/.test
pip=".venv/bin/python -m pip --disable-pip-version-check"
mkdir -p "$kit/wheels" "$kit/models"

# the source, without what no build of ours needs; its checksum is pinned too
ASL_LLAMA_CPP_SDIST=$(ls build/llama_cpp_python-*.tar.gz) .venv/bin/python vendor/fetch.py --pack "$kit/llama.cpp.tar.xz"

# the bindings alone; the library is built where it runs
CMAKE_ARGS="-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF" $pip wheel --quiet --no-deps --no-build-isolation \
    --wheel-dir "$kit/wheels" build/llama_cpp_python-*.tar.gz

.venv/bin/python -m benchmarks.gpu.requirements > "$kit/requirements.txt"
platforms=$(for tag in manylinux_2_28 manylinux_2_27 manylinux_2_24 manylinux_2_17 manylinux2014 manylinux_2_12 manylinux2010 manylinux_2_5 manylinux1; do
    echo --platform "${tag}_x86_64"
done)
$pip download --quiet --only-binary=:all: --python-version "$python" --implementation cp $platforms \
    --dest "$kit/wheels" -r "$kit/requirements.txt"

if [ -n "$models" ]; then
    make .venv/.model
    .venv/bin/python -m benchmarks.gpu.models "$kit/models"
fi
du -sh "$kit"
