"""Script: logits of an ordinary context, to compare the library in LLAMA_CPP_LIB_PATH with another one.

    python write_logits.py OUT.npz MODEL.gguf...

Imports nothing of asl_llamacpp: it must run on the unpatched library.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from llama_cpp import llama_cpp as C
from raw_llama import Context, Model

N_DECODE = 6
CASES = [(True, 64, 100), (False, 64, 100), (True, 512, 530)]
"""(flash_attn, n_ubatch, n_prompt); the last prompt is longer than Gemma's sliding window."""


def main(out: str, *paths: str) -> None:
    arrays = {"patched": np.array(hasattr(C._lib, "llama_layerwise_begin"))}
    for path in paths:
        model = Model(Path(path))
        for flash_attn, n_ubatch, n in CASES:
            tokens = model.tokens(n + N_DECODE)
            with Context(model, 1024, n_ubatch, flash_attn) as context:
                rows = [context.decode(tokens[:n])[None], context.decode_each(tokens[n:], n)]
            arrays[f"{Path(path).stem}: flash_attn={flash_attn} n_ubatch={n_ubatch} n={n}"] = np.concatenate(rows)
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
