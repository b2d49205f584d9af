"""Documents in the engine: a prompt that starts from held tokens equals one from scratch."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import LoadModel
from numpy.typing import NDArray
from raw_llama import Context

from asl_llamacpp.engine.binding import Engine, deferred_kv

N_HELD, N_ASKED, WINDOW, N_UBATCH = 150, 45, 32, 64
N = N_HELD + N_ASKED
MODELS = ["tiny-llama", "tiny-gemma2", "tiny-gpt-oss"]

Tokens = NDArray[np.int32]


def some_of(seed: int) -> Tokens:
    past = np.random.default_rng(seed).choice(N - WINDOW, 50, replace=False)
    return np.concatenate([np.sort(past), np.arange(N - WINDOW, N)]).astype(np.int32)


def prompts(model_tokens: Tokens) -> list[Tokens]:
    """One document, three questions; then tokens of an answer."""
    document = model_tokens[:N_HELD]
    rest = model_tokens[N_HELD:]
    return [np.concatenate([document, rest[i * N_ASKED : (i + 1) * N_ASKED]]) for i in range(3)]


def from_scratch(context: Context, tokens: Tokens, il: int, kept: Tokens, answer: Tokens) -> tuple[object, Tokens]:
    """As the held way runs it, ubatch borders and all: scores of layer il - 1, logits."""
    engine = Engine(context.pointer)
    engine.begin(tokens, WINDOW, headroom=8)
    engine.run(0, il, scores=True)
    scores = None if engine.layer(il - 1).is_swa else engine.scores(il - 1)
    engine.keep(kept)
    engine.run(il, context.model.n_layer)
    engine.end()
    return scores, np.concatenate([context.logits()[None], context.decode_each(answer, N)])


@pytest.mark.parametrize("swa_full", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_questions_equal_prompts_from_scratch(load_model: LoadModel, name: str, swa_full: bool) -> None:
    model = load_model(name)
    tokens = model.tokens(N_HELD + 3 * N_ASKED + 8)
    answer, il = tokens[-8:], 3
    with (
        Context(model, 512, N_UBATCH, creation=deferred_kv(), swa_full=swa_full) as context,
        Context(model, 512, N_UBATCH, creation=deferred_kv(), swa_full=swa_full) as other,
    ):
        engine = Engine(context.pointer)
        first, *rest = prompts(tokens)
        engine.begin(first, WINDOW, headroom=8)
        engine.run(0, il)
        engine.hold(N_HELD)
        engine.keep(some_of(0))
        engine.run(il, model.n_layer)
        engine.end()
        context.decode_each(answer, N)
        info = engine.info()
        assert (info.n_held, info.il_held) == (N_HELD, il)
        for seed, prompt in enumerate(rest, start=1):
            want_scores, want = from_scratch(other, prompt, il, some_of(seed), answer)
            engine.resume(N_HELD, prompt[N_HELD:], WINDOW, headroom=8)
            engine.run(0, il, scores=True)
            if want_scores is not None:
                np.testing.assert_allclose(engine.scores(il - 1), want_scores, rtol=0, atol=0.02)
            engine.keep(some_of(seed))
            engine.run(il, model.n_layer)
            engine.end()
            got = np.concatenate([context.logits()[None], context.decode_each(answer, N)])
            # ubatch borders lie elsewhere, and flash attention adds up in float16
            np.testing.assert_allclose(got, want, rtol=0, atol=0.05)
            assert engine.info().n_held == N_HELD
            assert [engine.layer(i).n_cells for i in range(model.n_layer)] == [
                Engine(other.pointer).layer(i).n_cells for i in range(model.n_layer)
            ]


def test_the_document_goes_deeper_when_asked_to(load_model: LoadModel) -> None:
    model = load_model("tiny-llama")
    tokens = model.tokens(N_HELD + 3 * N_ASKED + 8)
    answer = tokens[-8:]
    with (
        Context(model, 512, N_UBATCH, creation=deferred_kv()) as context,
        Context(model, 512, N_UBATCH, creation=deferred_kv()) as other,
    ):
        engine = Engine(context.pointer)
        first, second, third = prompts(tokens)
        engine.begin(first, WINDOW, headroom=8)
        engine.run(0, 2)
        engine.hold(N_HELD)
        engine.run(2, model.n_layer)  # nothing is dropped for the first question
        engine.end()

        engine.resume(N_HELD, second[N_HELD:], WINDOW, headroom=8)
        engine.run(0, 2)
        engine.run(2, 3)
        engine.run(3, 4)
        engine.hold(N_HELD)
        engine.keep(some_of(1))
        engine.run(4, model.n_layer)
        engine.end()
        got = np.concatenate([context.logits()[None], context.decode_each(answer, N)])
        np.testing.assert_allclose(got, from_scratch(other, second, 4, some_of(1), answer)[1], rtol=0, atol=0.05)
        assert engine.info().il_held == 4

        engine.resume(N_HELD, third[N_HELD:], WINDOW, headroom=8)
        engine.run(0, 4)
        engine.keep(some_of(2))
        engine.run(4, model.n_layer)
        engine.end()
        got = np.concatenate([context.logits()[None], context.decode_each(answer, N)])
        np.testing.assert_allclose(got, from_scratch(other, third, 4, some_of(2), answer)[1], rtol=0, atol=0.05)


def test_a_part_of_the_held_tokens_will_do(load_model: LoadModel) -> None:
    model, shared = load_model("tiny-llama"), 100
    tokens = model.tokens(2 * N)
    other_tokens = np.concatenate([tokens[:shared], tokens[N : 2 * N - shared]])
    with (
        Context(model, 512, N_UBATCH, creation=deferred_kv()) as context,
        Context(model, 512, N_UBATCH, creation=deferred_kv()) as other,
    ):
        engine = Engine(context.pointer)
        engine.begin(tokens[:N], WINDOW, headroom=8)
        engine.run(0, 3)
        engine.hold(N_HELD)
        engine.run(3, model.n_layer)
        engine.end()
        engine.resume(shared, other_tokens[shared:], WINDOW, headroom=8)
        engine.run(0, 3)
        engine.keep(some_of(1))
        engine.run(3, model.n_layer)
        engine.end()
        got = np.concatenate([context.logits()[None], context.decode_each(tokens[-8:], N)])
        want = from_scratch(other, other_tokens, 3, some_of(1), tokens[-8:])[1]
        np.testing.assert_allclose(got, want, rtol=0, atol=0.05)
        assert engine.info().n_held == shared


def test_misuse_is_refused_and_clearing_forgets(load_model: LoadModel) -> None:
    model = load_model("tiny-llama")
    tokens = model.tokens(N)
    with Context(model, 256, N_UBATCH, creation=deferred_kv()) as context:
        engine = Engine(context.pointer)
        with pytest.raises(ValueError, match="holds 0 tokens"):
            engine.resume(N_HELD, tokens[:40], WINDOW, 0)
        engine.begin(tokens, WINDOW, 8)
        with pytest.raises(ValueError, match="no hidden states"):
            engine.hold(N_HELD)
        engine.run(0, 2)
        for n in (0, -1, N, N + 1):
            with pytest.raises(ValueError, match="can be held"):
                engine.hold(n)
        engine.hold(N_HELD)
        with pytest.raises(ValueError, match="in progress"):
            engine.resume(N_HELD, tokens[:40], WINDOW, 0)
        engine.keep(some_of(0))
        with pytest.raises(ValueError, match="hold before keep"):
            engine.hold(N_HELD)
        engine.run(2, model.n_layer)
        engine.end()
        with pytest.raises(ValueError, match="more than n_ctx"):
            engine.resume(N_HELD, model.tokens(200), WINDOW, 0)
        with pytest.raises(ValueError, match="window"):
            engine.resume(N_HELD, tokens[:10], WINDOW, 0)
        engine.resume(N_HELD, tokens[:40], WINDOW, 0)
        with pytest.raises(ValueError, match="run together"):
            engine.run(0, 1)
        engine.abort()
        assert engine.info().n_held == 0 and engine.info().kv_bytes == 0
