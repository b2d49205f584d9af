#!/usr/bin/env bash
# Run this on a Mac, and send us build/gpu/result-*.json. Needed: Python 3.10+, Xcode's command line tools, network.
#
#     benchmarks/gpu/run_mac.sh        # start it again until it says "done"; each step stops after 9 minutes
#
# 8 GB of memory take the 1B shape, 24 GB the 8B one: SHAPES=1B benchmarks/gpu/run_mac.sh
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "$(uname)" != Darwin ] && [ -z "${REHEARSE:-}" ]; then
    echo "this is no Mac: run.sh is for NVIDIA GPUs" >&2
    exit 2
fi
# macOS has no timeout: a step is then not stopped, but goes on where it was after Ctrl-C all the same
if ! command -v timeout > /dev/null; then
    timeout() { shift; "$@"; }
    export -f timeout
fi
# Metal is on by itself, with its shaders in the library
BACKEND= SHAPES=${SHAPES:-1B,8B} LENGTHS=${LENGTHS:-8192,32768} exec bash benchmarks/gpu/run.sh "$@"
