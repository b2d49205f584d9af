"""Tokens that ask nothing, run beside a prompt: scores are those of a prompt of their own, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from raw_llama import Context, LoadModel, Model

from asl_llamacpp.engine.binding import Engine, deferred_kv

N, N_SEEN, WINDOW, N_UBATCH, N_CTX = 700, 650, 32, 128, 1024
MODELS = ["tiny-llama", "tiny-gemma2", "tiny-gpt-oss"]

Floats = NDArray[np.float32]


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest, load_model: LoadModel) -> Model:
    return load_model(request.param)


@pytest.fixture
def engine(model: Model) -> Iterator[tuple[Context, Engine]]:
    with Context(model, N_CTX, N_UBATCH, creation=deferred_kv()) as context:
        yield context, Engine(context.pointer)


def contrast_of(model: Model) -> NDArray[np.int32]:
    return model.tokens(N + 400)[-21:]


def full_layers(engine: Engine, n_layer: int) -> list[int]:
    return [il for il in range(n_layer) if not engine.layer(il).is_swa]


def assert_like(got: Floats, expected: Floats) -> None:
    np.testing.assert_allclose(got, expected, rtol=0, atol=2e-3)  # flash attention adds up in float16
    assert expected.max() > 0.02


def test_scores_are_those_of_a_prompt_with_that_end(model: Model, engine: tuple[Context, Engine]) -> None:
    _, ours = engine
    tokens, other = model.tokens(N), contrast_of(model)
    got: dict[int, Floats] = {}
    ours.begin(tokens, WINDOW, 8)
    ours.contrast(N_SEEN, other)
    for begin, end in ((0, 1), (1, 2), (2, model.n_layer)):
        ours.run(begin, end, scores=True)
        for il in full_layers(ours, model.n_layer):
            if begin <= il < end:
                got[il] = ours.contrast_scores(il)
    ours.abort()
    ours.begin(np.concatenate([tokens[:N_SEEN], other]), len(other), 8)
    ours.run(0, model.n_layer, scores=True)
    for il in full_layers(ours, model.n_layer):
        expected = ours.scores(il)[:, :N_SEEN]
        assert_like(got[il], expected)
    assert len(got) == len(full_layers(ours, model.n_layer))


def cells(engine: Engine, il: int) -> list[int]:
    """Positions of the cells; of a ring those that the next token looks at: older ones may be taken."""
    positions: list[int] = engine.positions(il).tolist()
    return sorted(positions)[-48:] if engine.layer(il).is_swa else positions


def prefill(
    ours: Engine, tokens: NDArray[np.int32], contrast: NDArray[np.int32] | None, resumed: int = 0
) -> dict[int, Floats]:
    """Up to a selection after layer 2 and to the end, with the scores that were seen."""
    if resumed:
        ours.resume(resumed, tokens[resumed:N], WINDOW, 8)
    else:
        ours.begin(tokens[:N], WINDOW, 8)
    if contrast is not None:
        ours.contrast(max(N_SEEN, resumed), contrast)
    n_layer = ours.info().n_layer
    ours.run(0, 3, scores=True)
    seen = {il: ours.scores(il) for il in full_layers(ours, 3)}
    if not resumed:
        ours.hold(600)
    ours.keep(np.r_[3:200, 640:N].astype(np.int32))
    ours.run(3, n_layer)
    ours.end()
    return seen


def test_nothing_else_changes(model: Model, engine: tuple[Context, Engine]) -> None:
    """Scores, logits, cells, and what is decoded afterwards are the same bit for bit; with a held document too."""
    context, ours = engine
    tokens, states = model.tokens(N + 20), []
    for contrast in (None, contrast_of(model)):
        told = []
        for resumed in (0, 600):
            seen = prefill(ours, tokens, contrast, resumed)
            logits = context.logits()
            after = context.decode_each(tokens[N:], N)
            layers = [cells(ours, il) for il in range(model.n_layer)]
            told.append((seen, logits, after, layers))
        states.append(told)
        context.clear()
    for plain, beside in zip(*states, strict=True):
        assert plain[0].keys() == beside[0].keys()
        assert all(np.array_equal(plain[0][il], beside[0][il]) for il in plain[0])
        assert np.array_equal(plain[1], beside[1])
        assert np.array_equal(plain[2], beside[2])
        assert plain[3] == beside[3]


def test_beside_a_document_whose_state_comes_from_the_host(model: Model, engine: tuple[Context, Engine]) -> None:
    """The scores are those of the same prompt in one piece, and the answer that of one without a contrast."""
    context, ours = engine
    tokens, other, n_held, depth = model.tokens(N), contrast_of(model), 660, 3
    ours.begin(tokens, WINDOW, 8)
    ours.run(0, depth)
    kv = []
    for il in range(depth):
        layer = ours.layer(il)
        first = n_held - 48 if layer.is_swa else 0
        k, v = (np.empty((n_held - first, int(n)), dtype=np.uint8) for n in (layer.k_bytes, layer.v_bytes))
        ours.get_kv(il, first, k, v)
        kv.append((first, k, v))
    hidden = np.empty((n_held, 64), dtype=np.float32)
    ours.get_hidden(hidden)
    ours.abort()
    answers, scores = [], []
    for contrast in (None, other):
        ours.restore(tokens[:n_held], depth, hidden)
        ours.resume(n_held, tokens[n_held:], WINDOW, 8)
        if contrast is not None:
            ours.contrast(n_held, contrast)
        for il in range(model.n_layer):
            if il < depth:
                ours.put_kv(il, *kv[il])
            ours.run(il, il + 1, scores=True)
            if contrast is not None and not ours.layer(il).is_swa:
                scores.append(ours.contrast_scores(il))
        ours.end()
        answers.append(context.logits())
    assert np.array_equal(*answers)
    context.clear()
    ours.begin(np.concatenate([tokens[:n_held], other]), len(other), 8)
    ours.run(0, model.n_layer, scores=True)
    for got, il in zip(scores, full_layers(ours, model.n_layer), strict=True):
        assert_like(got, ours.scores(il)[:, :n_held])


def test_what_is_refused(model: Model, engine: tuple[Context, Engine]) -> None:
    """The message says what would do, and the prefill goes on as if nothing had been said."""
    context, ours = engine
    tokens, other = model.tokens(N), contrast_of(model)
    with pytest.raises(ValueError, match="no prefill is in progress"):
        ours.contrast(1, other)
    ours.begin(tokens, WINDOW, 8)
    for n_seen, given, why in (
        (0, other, "follows between 1 and 700"),
        (N + 1, other, "follows between 1 and 700"),
        (N_SEEN, other[:0], "between 1 and n_ubatch = 128"),
        (N_SEEN, model.tokens(N_UBATCH + 1), "between 1 and n_ubatch = 128"),
        (N_SEEN, [-1], "outside of the vocabulary"),
        (N_SEEN, [10**8], "outside of the vocabulary"),
    ):
        with pytest.raises(ValueError, match=why):
            ours.contrast(n_seen, given)
    with pytest.raises(ValueError, match="has no scores"):
        ours.contrast_scores(0)
    ours.run(0, 2)
    with pytest.raises(ValueError, match="begins with the first"):
        ours.contrast(N_SEEN, other)
    ours.run(2, model.n_layer)
    ours.end()
    logits = context.logits()
    context.clear()
    ours.begin(tokens, WINDOW, 8)
    ours.run(0, model.n_layer)
    ours.end()
    np.testing.assert_allclose(context.logits(), logits, atol=1e-4)


def test_a_ring_has_forgotten_what_lies_far_back(load_model: LoadModel) -> None:
    model = load_model("tiny-gemma2")
    with Context(model, N_CTX, N_UBATCH, creation=deferred_kv()) as context:
        ours = Engine(context.pointer)
        ours.begin(model.tokens(N), WINDOW, 8)
        with pytest.raises(ValueError, match="sliding-window layers have forgotten"):
            ours.contrast(N - 120, model.tokens(9))
        ours.contrast(N - 119, model.tokens(9))
        ours.run(0, model.n_layer, scores=True)
        ours.end()
