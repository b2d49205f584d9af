"""Script: logits of the models of `arch_models` with the library in LLAMA_CPP_LIB_PATH, the unpatched one.

    python write_arch_logits.py OUT.npz MODEL.gguf...

For each model float32 [2, 1 + N_DECODE, n_vocab]: after the whole prompt, or only its tokens from FIRST_KEPT on at the
positions that they have in it; and after each token decoded then. Imports nothing of asl_llamacpp.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from arch_models import FIRST_KEPT, N_CTX, N_DECODE, N_PROMPT, N_UBATCH
from llama_cpp import llama_cpp as C
from raw_llama import Context, Model


def main(out: str, *paths: str) -> None:
    assert not hasattr(C._lib, "llama_layerwise_begin"), "this library is patched"
    arrays = {}
    for path in map(Path, paths):
        model = Model(path)
        tokens = model.tokens(N_PROMPT + N_DECODE)
        both = []
        with Context(model, N_CTX, N_UBATCH) as context:
            for start in [0, FIRST_KEPT]:
                context.clear()
                first = context.decode(tokens[start:N_PROMPT], start)
                both.append([first, *context.decode_each(tokens[N_PROMPT:], N_PROMPT)])
        C.llama_model_free(model.pointer)
        arrays[path.stem] = np.array(both)
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(*sys.argv[1:])
