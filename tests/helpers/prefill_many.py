"""Script: many prefills of changing length and kind; prints the resident bytes of the process after each.

python prefill_many.py MODEL.gguf N
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from asl_llamacpp.engine.binding import Engine, deferred_kv

from raw_llama import Context, Model  # isort: skip

WINDOW = 32


def selected(n: int, n_past: int, seed: int = 0) -> NDArray[np.int32]:
    """n_past random positions before the window, and the window."""
    past = np.random.default_rng(seed).choice(n - WINDOW, n_past, replace=False)
    return np.concatenate([np.sort(past), np.arange(n - WINDOW, n)]).astype(np.int32)


def prefill(engine: Engine, tokens: NDArray[np.int32], kept: NDArray[np.int32], headroom: int) -> None:
    """Two layers on all tokens, the others on those kept."""
    engine.begin(tokens, WINDOW, headroom)
    engine.run(0, 2, scores=True)
    engine.keep(kept)
    engine.run(2, engine.info().n_layer)
    engine.end()


def one_of_many(model: Model, context: Context, engine: Engine, i: int) -> None:
    """Prefill number i: plain, aborted, pruned and grown while decoding, or pruned with room."""
    n = 64 + (i * 37) % 400
    tokens = model.tokens(n + 3, seed=i)
    kind = i % 4
    if kind == 0:
        context.clear()
        context.decode(tokens[:n])
    elif kind == 1:
        engine.begin(tokens[:n], WINDOW, headroom=0)
        engine.run(0, 1 + i % 5, scores=True)
        engine.abort()
        return
    else:
        prefill(engine, tokens[:n], selected(n, n // 4, seed=i), headroom=0 if kind == 2 else 600)
    context.decode_each(tokens[n:], n)


def main(path: str, n: str) -> None:
    model, process = Model(Path(path)), psutil.Process()
    with Context(model, 1024, 64, creation=deferred_kv()) as context:
        engine = Engine(context.pointer)
        for i in range(int(n)):
            one_of_many(model, context, engine, i)
            gc.collect(0)
            print(process.memory_info().rss)


if __name__ == "__main__":
    main(*sys.argv[1:])
