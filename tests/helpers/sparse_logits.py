"""Logits of the unpatched llama.cpp after tokens at positions with gaps, which its llama_decode refuses.

Before each gap the state is saved and written back with one number changed: the last cell is said to be right before
the next token. Its K stays rotated by its true position, and a causal mask without a sliding window looks the same.

    python sparse_logits.py OUT.npz IN.npz

Imports nothing of asl_llamacpp: it must run on the unpatched library (LLAMA_CPP_LIB_PATH).
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from llama_cpp import llama_cpp as C
from numpy.typing import NDArray
from raw_llama import Context, Model
from stock_states import HEADER, read_state, write_state

Ints = NDArray[np.int32]
Logits = NDArray[np.float32]


def decode_sparse(context: Context, tokens: Ints, positions: Ints) -> Logits:
    """The logits after the last of the tokens, which are decoded in runs of positions without a gap."""
    context.clear()
    borders = [0, *(np.flatnonzero(np.diff(positions) > 1) + 1).tolist(), len(positions)]
    for begin, end in pairwise(borders):
        first = int(positions[begin])
        if begin:
            move_last_cell(context, begin, first - 1)
        logits = context.decode(tokens[begin:end], first)
    return logits


def move_last_cell(context: Context, n_cells: int, position: int) -> None:
    state = bytearray(read_state(context.pointer))
    assert struct.unpack_from("<II", state, HEADER) == (1, n_cells)
    struct.pack_into("<i", state, HEADER + 8 + 12 * (n_cells - 1), position)
    write_state(context.pointer, bytes(state))


def stock_logits(
    lib: Path, folder: Path, model: Path, tokens: Ints, positions: Ints, more: Ints, n_ubatch: int, n_past: int
) -> Logits:
    """Of the library in `lib`: after the tokens at `positions`, and after each of `more`, which follow `n_past`.

    float32 [1 + len(more), n_vocab]. It runs in a process of its own; `folder` is for its files.
    """
    inp, out = folder / "in.npz", folder / "out.npz"
    numbers = {"n_ubatch": n_ubatch, "n_past": n_past}
    np.savez(inp, model=str(model), tokens=tokens, positions=positions, more=more, **numbers)
    environment = {**os.environ, "LLAMA_CPP_LIB_PATH": str(lib)}
    command = [sys.executable, __file__, str(out), str(inp)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    found = np.load(out)
    assert not found["patched"]
    return np.asarray(found["logits"])


def main(out: str, inp: str) -> None:
    given = np.load(inp)
    n_past, positions, more = int(given["n_past"]), given["positions"], given["more"]
    model = Model(Path(str(given["model"])))
    with Context(model, n_past + len(more), int(given["n_ubatch"])) as context:
        rows = [decode_sparse(context, given["tokens"], positions)]
        if len(more) and positions[-1] != n_past - 1:
            move_last_cell(context, len(positions), n_past - 1)
        rows += list(context.decode_each(more, n_past))
    np.savez(out, logits=np.stack(rows), patched=np.array(hasattr(C._lib, "llama_layerwise_begin")))


if __name__ == "__main__":
    main(*sys.argv[1:])
