"""Script: the KV cache is enlarged where memory is short; run with failing_malloc.c preloaded.

    python alloc_growth.py MODEL.gguf

Exits with 0, or says what went wrong.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from alloc_failures import FOREVER, failing  # isort: skip
from asl_llamacpp.engine.binding import Engine, deferred_kv

from raw_llama import Context, Model  # isort: skip

N_CTX = 8192
N_PAST, N_MORE = 2816, 434  # an eighth is more than the smallest step
LAYER = 3000 * 2 * 64 * 2 * 2  # bytes of a layer's K and V, less than the ones that are allocated here


def cells(engine: Engine) -> list[int]:
    return [engine.layer(il).n_cells_max for il in range(6)]


def main(path: str) -> None:
    model = Model(Path(path))
    tokens = model.tokens(N_CTX)
    with Context(model, N_CTX, creation=deferred_kv()) as roomy, Context(model, N_CTX, creation=deferred_kv()) as tight:
        engine = Engine(tight.pointer)
        for context in (roomy, tight):
            context.decode(tokens[:N_PAST])
        more = tokens[N_PAST : N_PAST + N_MORE]

        with failing(LAYER, 2, 1):  # the third layer has no room for an eighth more
            assert tight.try_decode(more, N_PAST) == 0
        assert tight.logits().tobytes() == roomy.decode(more, N_PAST).tobytes(), "other logits"
        assert cells(engine) == [3584] * 6, f"{cells(engine)}: not the smallest step"  # 3250 and 256, padded

        before = engine.info()
        with failing(LAYER, 0, FOREVER):
            try:
                engine.make_room(2000, 1000)
            except MemoryError as error:
                assert "no memory for the KV of 5250 tokens" in str(error)
            else:
                raise AssertionError("no MemoryError")
            assert tight.try_decode(tokens[:1000], N_PAST + N_MORE) == 1
        assert engine.info().n_grow == before.n_grow and engine.layer(0).n_cells == 3250, "what was there is gone"

        with failing(LAYER, 0, 1):
            engine.make_room(2000, 1000)
        assert cells(engine) == [5632] * 6, cells(engine)  # 5250 and 256, padded
        for context in (roomy, tight):
            context.decode(tokens[3250:3300], 3250)
        assert tight.logits().tobytes() == roomy.logits().tobytes(), "other logits after that"


if __name__ == "__main__":
    assert ctypes.CDLL(None).fail_allocations
    main(*sys.argv[1:])
