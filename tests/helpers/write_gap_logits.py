"""Script: logits after tokens at positions with gaps, and after each token decoded then, for any library.

    python write_gap_logits.py OUT.npy MODEL.gguf IN.npz

IN.npz: `tokens` of a prompt and what follows it, `kept` positions in the prompt, `n` tokens of it, `n_ubatch`. For
models with M-RoPE: others get no such positions from llama_decode. Imports nothing of asl_llamacpp.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from raw_llama import Context, Model


def main(out: str, path: str, given: str) -> None:
    what = np.load(given)
    tokens, kept, n = what["tokens"], what["kept"], int(what["n"])
    with Context(Model(Path(path)), 512, int(what["n_ubatch"])) as context:
        first = context.decode(tokens[kept], kept)
        np.save(out, np.concatenate([first[None], context.decode_each(tokens[n:], n)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
