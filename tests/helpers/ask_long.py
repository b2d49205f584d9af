"""Script: three questions about one long document, on a software GPU that computes nothing: only the host works.

python ask_long.py MODEL.gguf N POLICY

prints for each question, as a line of JSON, how many tokens were reused and the layer of the selection. A process of
its own, since a graph that is too large ends it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import asl_llamacpp

# isort: split
import numpy as np
from software_gpu import SoftwareGpu

N_QUESTION = 64


def main(path: str, n: str, policy: str) -> None:
    random = np.random.default_rng(0)
    document, *questions = (random.integers(3, 259, size).tolist() for size in (int(n), *[N_QUESTION] * 3))
    with SoftwareGpu(accept="cuda", compute=False, delay=0):
        llm = asl_llamacpp.Llama(
            path, kv_policy=policy, n_ctx=int(n) + 512, n_gpu_layers=-1, n_threads=1, n_threads_batch=1, verbose=False
        )
        for question in questions:
            llm.reset()
            llm.eval([*document, *question])
            llm.eval([3])
            report = llm.last_prefill
            assert report is not None
            print(json.dumps({"reused": report.reused, "layer": report.selection_layer}), flush=True)
        llm.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
