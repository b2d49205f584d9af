"""A held document that goes deeper alone equals one that went through all layers at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from raw_llama import F16, Q8_0, Context, LoadModel

from asl_llamacpp.engine.binding import Engine, deferred_kv

N, N_ASKED, N_UBATCH, IL = 150, 40, 64, 2
MODELS = ["tiny-llama", "tiny-gemma2", "tiny-gpt-oss"]


def asked(context: Context, tokens: NDArray[np.int32]) -> NDArray[np.float32]:
    """Logits after a question to the document that the context holds in all layers."""
    engine = Engine(context.pointer)
    engine.resume(N, tokens[N : N + N_ASKED], 1, headroom=8)
    engine.run(0, context.model.n_layer)
    engine.end()
    return np.concatenate([context.logits()[None], context.decode_each(tokens[-8:], N + N_ASKED)])


@pytest.mark.parametrize("room", [(0, 0), (8, 300), (300, 8)], ids=["no more cells", "more cells", "enough cells"])
@pytest.mark.parametrize("kv_type", [F16, Q8_0])
@pytest.mark.parametrize("swa_full", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_in_the_context(load_model: LoadModel, name: str, swa_full: bool, kv_type: int, room: tuple[int, int]) -> None:
    model = load_model(name)
    tokens = model.tokens(N + N_ASKED + 8)
    kinds: dict[str, Any] = {"swa_full": swa_full, "kv_type": kv_type}
    with (
        Context(model, 512, N_UBATCH, creation=deferred_kv(), **kinds) as context,
        Context(model, 512, N_UBATCH, creation=deferred_kv(), **kinds) as other,
    ):
        whole = Engine(other.pointer)
        whole.begin(tokens[:N], 1, headroom=8)
        for il in range(model.n_layer):
            whole.run(il, il + 1)
        whole.hold(N)
        whole.set_aside()
        want = asked(other, tokens)

        engine = Engine(context.pointer)
        engine.begin(tokens[:N], 1, headroom=room[0])
        engine.run(0, IL)
        engine.hold(N)
        engine.set_aside()
        for il in range(IL, model.n_layer):
            engine.deepen(room[1])  # again and again, as after interruptions
            assert (engine.info().n_tokens, engine.info().il_next) == (N, il)
            engine.run(il, il + 1)
            engine.hold(N)
            assert engine.info().n_groups == 1
            engine.set_aside()
        info = engine.info()
        assert (info.n_held, info.il_held, info.held_in_cache, info.n_tokens) == (N, model.n_layer, True, 0)
        assert asked(context, tokens).tobytes() == want.tobytes()


def test_from_the_host(load_model: LoadModel) -> None:
    """Only hidden states are needed: the layers before have no cells, so that nothing can be held or decoded."""
    model = load_model("tiny-llama")
    tokens = model.tokens(N)
    with Context(model, 512, N_UBATCH, creation=deferred_kv()) as context:
        engine = Engine(context.pointer)
        engine.begin(tokens, 1, headroom=0)
        engine.run(0, IL)
        hidden = np.empty((N, 64), dtype=np.float32)
        engine.get_hidden(hidden)
        engine.run(IL, model.n_layer)
        sizes = engine.layer(IL).k_bytes, engine.layer(IL).v_bytes
        want = [np.empty((N, size), dtype=np.uint8) for size in sizes]
        got = [np.empty((N, size), dtype=np.uint8) for size in sizes]
        engine.get_kv(IL, 0, *want)
        engine.abort()

        engine.restore(tokens, IL, hidden)
        engine.deepen(0)
        engine.run(IL, IL + 1)
        engine.get_kv(IL, 0, *got)
        assert [part.tobytes() for part in got] == [part.tobytes() for part in want]
        with pytest.raises(ValueError, match="first layers have no cells here"):
            engine.hold(N)
        engine.run(IL + 1, model.n_layer)
        with pytest.raises(ValueError, match="nothing could be decoded"):
            engine.end()
        assert not engine.set_aside()
        engine.abort()
        engine.begin(tokens, 1, headroom=0)  # it is usable
        engine.run(0, model.n_layer)
        engine.end()


def test_wrong_calls(load_model: LoadModel) -> None:
    model = load_model("tiny-llama")
    tokens = model.tokens(N)
    with Context(model, 512, N_UBATCH, creation=deferred_kv()) as context:
        engine = Engine(context.pointer)
        with pytest.raises(ValueError, match="no document that could go deeper"):
            engine.deepen(0)
        engine.begin(tokens, 1, headroom=0)
        with pytest.raises(ValueError, match="in progress"):
            engine.deepen(0)
        engine.run(0, IL)
        engine.hold(N)
        engine.set_aside()
        with pytest.raises(ValueError, match="headroom"):
            engine.deepen(-1)
        assert engine.info().n_held == N  # nothing was changed
        engine.deepen(0)
        engine.run(IL, model.n_layer)
        engine.hold(N)
        engine.set_aside()
        with pytest.raises(ValueError, match="no document that could go deeper"):
            engine.deepen(0)
