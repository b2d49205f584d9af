"""Script: each of some pieces of code on a software GPU, in a process of its own that it may bring down.

echo '{"name": ["options", "code"]}' | python gpu_errors.py

prints {"name": [status, "stderr"]}; a negative status is the signal that ended the process. They are forked from this
process, which has imported everything and started no thread.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import asl_llamacpp  # noqa: F401

# isort: split
import ggml_device
import numpy as np
from software_gpu import SoftwareGpu, library


def run(options: dict[str, object], code: str) -> None:
    gpu = SoftwareGpu(**options)
    gpu.__enter__()
    names = {**vars(ggml_device), "np": np, "gpu": gpu, "device": ggml_device.Device()}
    exec(code, names)


def forked(options: dict[str, object], code: str) -> tuple[int, str]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 2)
        status = 1
        try:
            run(options, code)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading) as errors:
        text = errors.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), text


if __name__ == "__main__":
    library()
    cases = json.load(sys.stdin)
    json.dump({name: forked(*case) for name, case in cases.items()}, sys.stdout)
