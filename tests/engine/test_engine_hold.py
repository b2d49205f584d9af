"""Documents in the engine: a prompt that starts from held tokens equals one from scratch."""

from __future__ import annotations

import numpy as np
import pytest
from engines import engine_of
from numpy.typing import NDArray
from raw_llama import F16, Q8_0, Context, LoadModel, Model

from asl_llamacpp.engine.binding import Engine, deferred_kv, model_layers

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
        read(engine, first, il)
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


def read(engine: Engine, prompt: Tokens, il: int) -> None:
    """Run a prompt through the first `il` layers, and hold what others begin with."""
    engine.begin(prompt, WINDOW, headroom=8)
    engine.run(0, il)
    engine.hold(N_HELD)


HostState = tuple[int, list[tuple[int, NDArray[np.uint8], NDArray[np.uint8]]], NDArray[np.float32] | None]


def to_host(engine: Engine, model: Model, n: int, il_held: int, swa_full: bool) -> HostState:
    """The held document's layers as (first position, K, V), and its hidden states."""
    layers = []
    for il in range(il_held):
        layer, shape = engine.layer(il), model_layers(model.pointer)[il]
        first = 0 if swa_full or not layer.is_swa else max(0, n - shape.n_swa)
        k = np.empty((n - first, layer.k_bytes), dtype=np.uint8)
        v = np.empty((n - first, layer.v_bytes), dtype=np.uint8)
        engine.get_kv(il, first, k, v)
        layers.append((first, k, v))
    hidden = None
    if il_held < model.n_layer:
        hidden = np.empty((n, 64), dtype=np.float32)
        engine.get_hidden(hidden)
    return il_held, layers, hidden


def from_host(engine: Engine, state: HostState, prompt: Tokens, scores: bool = False) -> None:
    """Start `prompt` from the document, up to the layer that it has run through."""
    il_held, layers, hidden = state
    engine.restore(prompt[:N_HELD], il_held, hidden)
    info = engine.info()
    assert (info.n_held, info.il_held, info.held_in_cache, info.kv_bytes) == (N_HELD, il_held, False, 0)
    engine.resume(N_HELD, prompt[N_HELD:], WINDOW, headroom=8)
    for il, (first, k, v) in enumerate(layers):
        with pytest.raises(ValueError, match="once the KV"):
            engine.run(il, il + 1)
        engine.put_kv(il, first, k, v)
        engine.run(il, il + 1, scores=scores)


@pytest.mark.parametrize("way", ["host", "park"])
@pytest.mark.parametrize("swa_full", [True, False])
@pytest.mark.parametrize("kv_type", [F16, Q8_0])
@pytest.mark.parametrize("il", [1, 3, 0], ids=["1 layer", "3 layers", "all layers"])
@pytest.mark.parametrize("name", MODELS)
def test_documents_that_were_put_away_serve_as_well(
    load_model: LoadModel, name: str, il: int, kv_type: int, swa_full: bool, way: str
) -> None:
    """Two documents in turn, each question bit for bit as from scratch at the same ubatch borders.

    Where K and V are quantized, as right after its document's first question: a prompt from scratch attends to the
    document's cells before they are quantized.
    """
    model = load_model(name)
    il = il or model.n_layer
    tokens = model.tokens(2 * (N_HELD + 2 * N_ASKED) + 8)
    answer = tokens[-8:]
    half = N_HELD + 2 * N_ASKED
    documents = [prompts(tokens[i * half : (i + 1) * half])[:2] for i in range(2)]
    settings = {"swa_full": swa_full, "kv_type": kv_type}

    def finish(engine: Engine, context: Context, seed: int) -> Tokens:
        if il < model.n_layer:
            engine.keep(some_of(seed))
            engine.run(il, model.n_layer)
        engine.end()
        return np.concatenate([context.logits()[None], context.decode_each(answer, N)])

    with (
        Context(model, 512, N_HELD, creation=deferred_kv(), **settings) as context,
        Context(model, 512, N_HELD, creation=deferred_kv(), **settings) as other,
    ):
        engine, states = Engine(context.pointer), []
        for i, (first, _) in enumerate(documents):
            engine.begin(first, WINDOW, headroom=8)
            engine.run(0, il)
            engine.hold(N_HELD)
            if way == "host":
                states.append(to_host(engine, model, N_HELD, il, swa_full))
            finish(engine, context, seed=0)
            if way == "park":
                engine.park(i)
                info = engine.info()
                assert info.n_parked == i + 1 and info.parked_bytes > 0 and info.kv_bytes == info.n_held == 0
        for i, (_, prompt) in enumerate(documents):
            if way == "host":
                from_host(engine, states[i], prompt)
            else:
                engine.unpark(i)
                assert engine.info().held_in_cache and engine.info().n_parked == 1 - i
                engine.resume(N_HELD, prompt[N_HELD:], WINDOW, headroom=8)
                engine.run(0, il)
            got = finish(engine, context, seed=1)
            scratch = Engine(other.pointer)
            if kv_type == F16:
                scratch.begin(prompt, WINDOW, headroom=8)
            else:
                scratch.begin(documents[i][0], WINDOW, headroom=8)
                scratch.run(0, il)
                scratch.hold(N_HELD)
                finish(scratch, other, seed=0)
                scratch.resume(N_HELD, prompt[N_HELD:], WINDOW, headroom=8)
            scratch.run(0, il)
            want = finish(scratch, other, seed=1)
            assert got.tobytes() == want.tobytes()
            for layer in range(model.n_layer):
                ours, theirs = engine.layer(layer), scratch.layer(layer)
                # a sliding window's ring comes back with no more than the next tokens see
                assert ours.n_cells == theirs.n_cells or (ours.is_swa and ours.n_cells < theirs.n_cells)


def test_layers_from_the_host_may_be_compressed(load_model: LoadModel) -> None:
    """The scores are those of the whole prompt, and only what each layer keeps stays on the device."""
    model, il, n_cells = load_model("tiny-llama"), 3, 60
    tokens = model.tokens(N_HELD + 3 * N_ASKED + 8)
    first, second, _ = prompts(tokens)
    cells = np.tile(np.concatenate([np.arange(n_cells - WINDOW), np.arange(N - WINDOW, N)]), (2, 1))
    with (
        Context(model, 512, N_HELD, creation=deferred_kv()) as context,
        Context(model, 512, N_HELD, creation=deferred_kv()) as other,
    ):
        engine, scratch = Engine(context.pointer), Engine(other.pointer)
        read(engine, first, il)
        state = to_host(engine, model, N_HELD, il, swa_full=True)
        _, layers, hidden = state
        engine.abort()
        engine.restore(second[:N_HELD], il, hidden)
        engine.resume(N_HELD, second[N_HELD:], WINDOW, headroom=8)
        scratch.begin(second, WINDOW, headroom=8)
        for i, (start, k, v) in enumerate(layers):
            engine.put_kv(i, start, k, v)
            for one in (engine, scratch):
                one.run(i, i + 1, scores=True)
            np.testing.assert_array_equal(engine.scores(i), scratch.scores(i))
            for one in (engine, scratch):
                one.compress(i, cells)
        assert engine.info().n_held == 0, "what is compressed serves no other question"
        for one in (engine, scratch):
            one.keep(some_of(1))
            one.run(il, model.n_layer)
            one.end()
        assert context.decode_each(tokens[-8:], N).tobytes() == other.decode_each(tokens[-8:], N).tobytes()


@pytest.mark.parametrize("borders", [[1, 2, 3], [2, 3], [1, 3]], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_known_layers_may_take_several_runs(load_model: LoadModel, name: str, borders: list[int]) -> None:
    """Scores, cells and answers are those of one run, bit for bit; the question has several ubatches."""
    model, n_ubatch = load_model(name), 16
    tokens = model.tokens(N_HELD + 3 * N_ASKED + 8)
    found = []
    for ends in ([3], borders):
        with Context(model, 512, n_ubatch, creation=deferred_kv(), swa_full=True) as context:
            engine = Engine(context.pointer)
            first, *rest = prompts(tokens)
            engine.begin(first, WINDOW, headroom=8)
            engine.run(0, 3)
            engine.hold(N_HELD)
            engine.run(3, model.n_layer)
            engine.end()
            seen: list[bytes] = []
            for seed, prompt in enumerate(rest, start=1):
                engine.resume(N_HELD, prompt[N_HELD:], WINDOW, headroom=8)
                for begin, end in zip([0, *ends], ends, strict=False):
                    engine.run(begin, end, scores=True)
                    full = [il for il in range(begin, end) if not engine.layer(il).is_swa]
                    seen += [engine.scores(il).tobytes() for il in full]
                engine.keep(some_of(seed))
                engine.run(3, model.n_layer)
                engine.end()
                seen += [context.logits().tobytes(), context.decode_each(tokens[-8:], N).tobytes()]
                seen += [engine.positions(il).tobytes() for il in range(model.n_layer)]
            found.append(seen)
    assert found[0] == found[1]


def test_layers_with_a_ring_of_cells_take_one_run(load_model: LoadModel) -> None:
    """What the first ubatch needs of a ring is gone after the last one."""
    model = load_model("tiny-gemma2")
    tokens = model.tokens(N)
    with Context(model, 512, N_UBATCH, creation=deferred_kv()) as context:
        engine = Engine(context.pointer)
        engine.begin(tokens, WINDOW, 8)
        engine.run(0, 3)
        engine.hold(N_HELD)
        engine.run(3, model.n_layer)
        engine.end()
        engine.resume(N_HELD, tokens[N_HELD:], WINDOW, 8)
        with pytest.raises(ValueError, match="run together"):
            engine.run(0, 2)
        engine.run(0, 3)
        engine.run(3, model.n_layer)
        engine.end()


@pytest.mark.parametrize("n_more", [-30, 0, 20])
def test_hidden_states_are_those_of_the_whole_prompt(load_model: LoadModel, n_more: int) -> None:
    """Read, held with fewer or more tokens than before, gathered and run further, bit for bit as from scratch."""
    model, il, n = load_model("tiny-llama"), 2, N_HELD + n_more
    tokens = model.tokens(N_HELD + 3 * N_ASKED + 8)
    first, second, third = prompts(tokens)
    third = np.concatenate([second[:n], third[N_HELD:]])
    with (
        Context(model, 512, N_HELD, creation=deferred_kv()) as context,
        Context(model, 512, N_HELD, creation=deferred_kv()) as other,
    ):
        engine, scratch = Engine(context.pointer), Engine(other.pointer)
        read(engine, first, il)
        engine.run(il, model.n_layer)
        engine.end()
        engine.resume(N_HELD, second[N_HELD:], WINDOW, headroom=8)
        scratch.begin(second, WINDOW, headroom=8)
        states = np.empty((2, N, 64), dtype=np.float32)
        for one, found in zip((engine, scratch), states, strict=True):
            one.run(0, il)
            one.get_hidden(found)
            part = np.empty((N_HELD // 2, 64), dtype=np.float32)
            one.get_hidden(part)
            assert part.tobytes() == found[: N_HELD // 2].tobytes()
            one.hold(n)
            one.keep(some_of(1))
            one.run(il, model.n_layer)
            one.end()
            held = np.empty((n, 64), dtype=np.float32)
            one.get_hidden(held)
            assert held.tobytes() == found[:n].tobytes()
            with pytest.raises(ValueError, match="no hidden states of"):
                one.get_hidden(np.empty((n + 1, 64), dtype=np.float32))
        assert states[0].tobytes() == states[1].tobytes()
        assert context.logits().tobytes() == other.logits().tobytes()
        for one in (engine, scratch):
            one.resume(n, third[n:], WINDOW, headroom=8)
            one.run(0, il)
            one.run(il, il + 1)  # all of them, in one tensor again
            one.run(il + 1, model.n_layer)
            one.end()
        assert context.logits().tobytes() == other.logits().tobytes()


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
    with engine_of(model, 256) as (_, engine):
        with pytest.raises(ValueError, match="holds 0 tokens"):
            engine.resume(N_HELD, tokens[:40], WINDOW, 0)
        engine.begin(tokens, WINDOW, 8)
        with pytest.raises(ValueError, match="no hidden states"):
            engine.hold(N_HELD)
        engine.run(0, 2)
        for n in (0, -1, N + 1):
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
        with pytest.raises(ValueError, match="no run of these goes deeper"):
            engine.run(0, 3)
        engine.abort()
        assert engine.info().n_held == 0 and engine.info().kv_bytes == 0


def test_misuse_of_documents_elsewhere_is_refused(load_model: LoadModel) -> None:
    model = load_model("tiny-llama")
    tokens, hidden = model.tokens(N), np.zeros((N_HELD, 64), dtype=np.float32)
    with engine_of(model, 256) as (_, engine):
        for number in (0, -1):
            with pytest.raises(ValueError, match="number"):
                engine.unpark(number)
            with pytest.raises(ValueError, match="number"):
                engine.drop(number)
        with pytest.raises(ValueError, match="no document"):
            engine.park(0)
        for il, states in ((0, hidden), (7, hidden), (2, None), (2, hidden[1:]), (model.n_layer, hidden)):
            with pytest.raises(ValueError, match=r"layers, not|must be"):
                engine.restore(tokens[:N_HELD], il, states)
        with pytest.raises(ValueError, match="vocabulary"):
            engine.restore(tokens[:N_HELD] + 9999, 2, hidden)
        with pytest.raises(ValueError, match="no hidden states"):
            engine.get_hidden(hidden)
        k = np.zeros((N_HELD, 256), dtype=np.uint8)
        with pytest.raises(ValueError, match="no cells"):
            engine.get_kv(0, 0, k, k)
        with pytest.raises(ValueError, match="no prefill"):
            engine.put_kv(0, 0, k, k)

        engine.begin(tokens, WINDOW, 8)
        with pytest.raises(ValueError, match="not wanted"):
            engine.put_kv(0, 0, k, k)
        with pytest.raises(ValueError, match="in progress"):
            engine.restore(tokens[:N_HELD], 2, hidden)
        engine.run(0, 2)
        for first, rows in ((1, k[:, 1:].copy()), (N - 1, k), (-1, k)):
            with pytest.raises(ValueError, match=r"bytes of K|not hold|no such"):
                engine.get_kv(0, first, rows, rows)
        engine.hold(N_HELD)
        engine.park(3)
        engine.begin(tokens, WINDOW, 8)
        engine.run(0, 2)
        engine.hold(N_HELD)
        with pytest.raises(ValueError, match="taken"):
            engine.park(3)
        with pytest.raises(ValueError, match="in progress"):
            engine.unpark(3)
        engine.abort()
        engine.drop(3)
        assert engine.info().parked_bytes == 0

        engine.restore(tokens[:N_HELD], 2, hidden)
        with pytest.raises(ValueError, match="no document"):
            engine.park(0)
        engine.resume(N_HELD, tokens[N_HELD:], WINDOW, 8)
        for il, first, rows in ((1, 0, k), (0, 1, k[1:]), (0, 0, k[1:]), (0, 0, k[:, 1:].copy())):
            with pytest.raises(ValueError, match=r"not wanted|earlier position|bytes of K"):
                engine.put_kv(il, first, rows, rows)
        with pytest.raises(ValueError, match="no hidden states"):
            engine.get_hidden(hidden)
        engine.abort()
        assert engine.info().n_held == 0
