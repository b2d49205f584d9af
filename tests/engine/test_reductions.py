"""Window scores that the graph combines before they come down: the same numbers as of every head's row."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from raw_llama import Context, LoadModel

from asl_llamacpp.engine.binding import Engine, deferred_kv
from asl_llamacpp.engine.kinds import Combining, Reduction
from asl_llamacpp.selection.scores import add_heads, token_scores

N, WINDOW = 330, 32
UBATCHES = {"in one ubatch": 256, "in two": 160, "in many": 16}
MODELS = ["tiny-llama", "tiny-gemma2", "tiny-gpt-oss"]

Run = Callable[[str, int, object], dict[int, NDArray[np.float32]]]


@pytest.fixture
def run(load_model: LoadModel) -> Iterator[Run]:
    """All layers of a model in one run: the scores of those that give some."""

    def scores(name: str, n_ubatch: int, asked: object) -> dict[int, NDArray[np.float32]]:
        model = load_model(name)
        with Context(model, 512, n_ubatch, creation=deferred_kv()) as context:
            engine = Engine(context.pointer)
            engine.begin(model.tokens(N), WINDOW, headroom=0)
            engine.run(0, model.n_layer, asked)  # type: ignore[arg-type]
            found = {il: engine.scores(il) for il in range(model.n_layer) if engine.layer(il).gives_scores}
            engine.abort()
        return found

    yield scores


@pytest.mark.parametrize("n_ubatch", UBATCHES.values(), ids=UBATCHES)
@pytest.mark.parametrize("name", MODELS)
def test_heads_added_up(run: Run, name: str, n_ubatch: int) -> None:
    each, summed = run(name, n_ubatch, True), run(name, n_ubatch, Reduction("sum"))
    for il, rows in each.items():
        assert summed[il].shape == (1, N)
        np.testing.assert_allclose(summed[il][0], rows.sum(axis=0, dtype=np.float64), rtol=1e-6)
        if n_ubatch == UBATCHES["in one ubatch"]:  # so it does not matter who adds them up
            np.testing.assert_array_equal(summed[il], add_heads(rows))
            np.testing.assert_array_equal(token_scores(summed[il], WINDOW, 7), token_scores(rows, WINDOW, 7))


@pytest.mark.parametrize("kernel", [1, 3, 7, 333, 4095])
@pytest.mark.parametrize("n_ubatch", UBATCHES.values(), ids=UBATCHES)
@pytest.mark.parametrize("name", MODELS)
def test_the_largest_of_the_heads(run: Run, name: str, n_ubatch: int, kernel: int) -> None:
    each, largest = run(name, n_ubatch, True), run(name, n_ubatch, Reduction("max", kernel))
    for il, rows in each.items():
        assert largest[il].shape == (N - WINDOW,)
        np.testing.assert_array_equal(largest[il], token_scores(rows, WINDOW, kernel, "max"))
        padded = np.pad(rows[:, : N - WINDOW].astype(np.float64), ((0, 0), (kernel // 2, kernel // 2)))
        means = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=1).mean(axis=2)
        np.testing.assert_allclose(largest[il], means.max(axis=0), rtol=1e-5)


@pytest.mark.parametrize("combining", ["each", "sum", "max"])
@pytest.mark.parametrize("n_ubatch", UBATCHES.values(), ids=UBATCHES)
def test_some_heads_of_some_layers(run: Run, load_model: LoadModel, n_ubatch: int, combining: Combining) -> None:
    each = run("tiny-llama", n_ubatch, True)
    chosen = {1: (0, 2, 3), 4: (1,), 5: (0, 3)}
    model = load_model("tiny-llama")
    with Context(model, 512, n_ubatch, creation=deferred_kv()) as context:
        engine = Engine(context.pointer)
        engine.begin(model.tokens(N), WINDOW, headroom=0)
        engine.run(0, model.n_layer, {il: Reduction(combining, 7, heads) for il, heads in chosen.items()})
        for il, heads in chosen.items():
            rows = each[il][list(heads)]
            if combining == "max":
                np.testing.assert_array_equal(engine.scores(il), token_scores(rows, WINDOW, 7, "max"))
            else:
                want = rows if combining == "each" else rows.sum(axis=0, keepdims=True, dtype=np.float64)
                np.testing.assert_allclose(engine.scores(il), want, rtol=1e-6)
        with pytest.raises(ValueError, match="layer 0 has no scores"):
            engine.scores(0)


def test_layers_may_differ(run: Run, load_model: LoadModel) -> None:
    model = load_model("tiny-llama")
    asked = {0: Reduction("sum"), 2: Reduction(), 3: Reduction("max", 3), 4: Reduction("sum", products=True)}
    each = run("tiny-llama", 256, True)
    with Context(model, 512, 256, creation=deferred_kv()) as context:
        engine = Engine(context.pointer)
        engine.begin(model.tokens(N), WINDOW, headroom=0)
        engine.run(0, 6, asked)
        np.testing.assert_array_equal(engine.scores(0), add_heads(each[0]))
        np.testing.assert_array_equal(engine.scores(2), each[2])
        np.testing.assert_array_equal(engine.scores(3), token_scores(each[3], WINDOW, 3, "max"))
        assert engine.scores(4).min() < 0  # as no attention is


def test_a_prompt_that_is_all_window(load_model: LoadModel) -> None:
    model = load_model("tiny-llama")
    with Context(model, 512, 64, creation=deferred_kv()) as context:
        engine = Engine(context.pointer)
        engine.begin(model.tokens(WINDOW), WINDOW, headroom=0)
        engine.run(0, 2, Reduction("max", 7))
        assert engine.scores(1).shape == (0,)
        engine.run(2, 3, Reduction("sum"))
        np.testing.assert_allclose(engine.scores(2).sum(), 4 * WINDOW, rtol=1e-4)


WRONG = {
    "must be odd, from 1 to 4095, not 4": {1: Reduction("max", 4)},
    "must be odd, from 1 to 4095, not 0": {1: Reduction("max", 0)},
    "must be odd, from 1 to 4095, not 4097": {1: Reduction("max", 4097)},
    "heads of layer 1 must be strictly increasing, from 0 to 3": {1: Reduction(heads=(0, 4))},
    "heads of layer 0 must be strictly increasing": {0: Reduction(heads=(-1, 2))},
    "must be strictly increasing": {1: Reduction(heads=(2, 2))},
    "not of layer 3": {1: Reduction(), 3: Reduction()},
}


@pytest.mark.parametrize(("message", "asked"), WRONG.items(), ids=WRONG)
def test_what_cannot_be_asked_for(load_model: LoadModel, message: str, asked: dict[int, Reduction]) -> None:
    model = load_model("tiny-llama")
    with Context(model, 512, 64, creation=deferred_kv()) as context:
        engine = Engine(context.pointer)
        engine.begin(model.tokens(N), WINDOW, headroom=0)
        with pytest.raises(ValueError, match=message):
            engine.run(0, 3, asked)
        engine.run(0, 3, True)  # nothing was changed
        assert np.isfinite(engine.scores(2)).all()


def test_a_sliding_window_gives_none(load_model: LoadModel) -> None:
    model = load_model("tiny-gemma2")
    with Context(model, 512, 64, creation=deferred_kv()) as context:
        engine = Engine(context.pointer)
        il = next(il for il in range(model.n_layer) if engine.layer(il).is_swa)
        engine.begin(model.tokens(N), WINDOW, headroom=0)
        with pytest.raises(ValueError, match=f"layer {il} gives no scores: it has a sliding window"):
            engine.run(0, model.n_layer, {il: Reduction()})


def test_an_unknown_combination() -> None:
    with pytest.raises(ValueError, match="combining must be one of each, sum, max, not 'mean'"):
        Reduction("mean")  # type: ignore[arg-type]
