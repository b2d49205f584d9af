"""Wrong arguments and call orders, and contexts that cannot be used: a clear error, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from llama_cpp import llama_cpp as C
from numpy.typing import NDArray
from pruned_prefill import KEPT, N_CTX, WINDOW, Logits, N, Prefill
from raw_llama import Context, LoadModel

from asl_llamacpp.engine.binding import Engine, UnsupportedModelError, deferred_kv

N_LAYER = 6


# ---- what is refused ------------------------------------------------------------------------------------------------


def at(positions: NDArray[np.int64] | list[int]) -> NDArray[np.int32]:
    return np.asarray(positions, dtype=np.int32)


def with_token(tokens: NDArray[np.int32], token: int) -> NDArray[np.int32]:
    return np.concatenate([tokens[:5], [token], tokens[5:N]]).astype(np.int32)


WRONG: list[tuple[str, str, Callable[[Prefill], object], str]] = [
    ("no tokens", "idle", lambda p: p.engine.begin([], 1, 0), "no tokens"),
    ("token too large", "idle", lambda p: p.engine.begin(with_token(p.tokens, 259), 32, 0), "token 5 is 259, outside"),
    ("negative token", "idle", lambda p: p.engine.begin(with_token(p.tokens, -1), 32, 0), "token 5 is -1, outside"),
    (
        "prompt too long",
        "idle",
        lambda p: p.engine.begin(p.model.tokens(513), 32, 0),
        "513 tokens, more than n_ctx = 512",
    ),
    ("no window", "idle", lambda p: p.engine.begin(p.tokens[:N], 0, 0), "window must have between"),
    ("negative window", "idle", lambda p: p.engine.begin(p.tokens[:N], -3, 0), "window must have between"),
    ("window beyond prompt", "idle", lambda p: p.engine.begin(p.tokens[:N], N + 1, 0), "window must have between"),
    ("negative headroom", "idle", lambda p: p.engine.begin(p.tokens[:N], 32, -1), "headroom must not be negative"),
    ("run before begin", "idle", lambda p: p.engine.run(0, 1), "no prefill is in progress"),
    ("keep before begin", "idle", lambda p: p.engine.keep(KEPT), "no prefill is in progress"),
    ("end before begin", "idle", lambda p: p.engine.end(), "no prefill is in progress"),
    ("scores before begin", "idle", lambda p: p.engine.scores(0), "layer 0 has no scores"),
    ("layer below", "idle", lambda p: p.engine.layer(-1), "no layer -1"),
    ("layer above", "idle", lambda p: p.engine.layer(N_LAYER), "no layer 6"),
    ("positions below", "idle", lambda p: p.engine.positions(-1), "no layer -1"),
    ("positions above", "idle", lambda p: p.engine.positions(N_LAYER), "no layer 6"),
    ("begin twice", "begun", lambda p: p.engine.begin(p.tokens[:N], 32, 0), "prefill is in progress"),
    ("check within", "begun", lambda p: p.engine.check(), "prefill is in progress"),
    ("wrong first layer", "begun", lambda p: p.engine.run(1, 2), "next layer to run is 0, not 1"),
    ("negative layer", "begun", lambda p: p.engine.run(-1, 2), "next layer to run is 0, not -1"),
    ("no layers", "begun", lambda p: p.engine.run(0, 0), "must end between 1 and 6"),
    ("backwards", "begun", lambda p: p.engine.run(0, -1), "must end between 1 and 6"),
    ("too many layers", "begun", lambda p: p.engine.run(0, 7), "must end between 1 and 6"),
    ("scores before run", "begun", lambda p: p.engine.scores(0), "layer 0 has no scores"),
    ("end before run", "begun", lambda p: p.engine.end(), "layers 0 to 5 have not run"),
    ("begin between layers", "shallow", lambda p: p.engine.begin(p.tokens[:9], 1, 0), "prefill is in progress"),
    ("layer again", "shallow", lambda p: p.engine.run(1, 3), "next layer to run is 2, not 1"),
    ("layer left out", "shallow", lambda p: p.engine.run(3, 6), "next layer to run is 2, not 3"),
    ("scores of a later layer", "shallow", lambda p: p.engine.scores(2), "layer 2 has no scores"),
    ("scores of no layer", "shallow", lambda p: p.engine.scores(99), "no layer 99"),
    ("keep nothing", "shallow", lambda p: p.engine.keep(at([])), "fewer positions than the observation window"),
    ("keep too few", "shallow", lambda p: p.engine.keep(KEPT[-31:]), "fewer positions than the observation window"),
    ("keep too many", "shallow", lambda p: p.engine.keep(at(np.arange(N + 1))), "more positions than tokens"),
    ("keep unsorted", "shallow", lambda p: p.engine.keep(at([7, 6, *KEPT[-32:]])), "strictly increasing"),
    ("keep twice the same", "shallow", lambda p: p.engine.keep(at([7, 7, *KEPT[-32:]])), "strictly increasing"),
    ("keep a negative", "shallow", lambda p: p.engine.keep(at([-1, *KEPT[-32:]])), "-1 is not among the tokens"),
    ("keep beyond", "shallow", lambda p: p.engine.keep(at([*KEPT[-32:], N])), "200 is not among the tokens"),
    ("drop the window", "shallow", lambda p: p.engine.keep(at(np.arange(40))), "window must be kept"),
    (
        "drop one of the window",
        "shallow",
        lambda p: p.engine.keep(at([*range(40), *KEPT[-31:]])),
        "window must be kept",
    ),
    ("end too early", "shallow", lambda p: p.engine.end(), "layers 2 to 5 have not run"),
    ("keep what is gone", "kept", lambda p: p.engine.keep(at([30, *KEPT[-32:]])), "30 is not among the tokens"),
    ("keep more again", "kept", lambda p: p.engine.keep(at(np.arange(N))), "more positions than tokens"),
    ("run from the start", "kept", lambda p: p.engine.run(0, 2), "next layer to run is 2, not 0"),
    ("scores not asked for", "ran", lambda p: p.engine.scores(5), "layer 5 has no scores"),
    ("scores of an earlier run", "ran", lambda p: p.engine.scores(0), "layer 0 has no scores"),
    ("keep after the last layer", "ran", lambda p: p.engine.keep(KEPT[-32:]), "all layers have run"),
    ("run too far", "ran", lambda p: p.engine.run(6, 7), "must end between"),
    ("run after end", "ended", lambda p: p.engine.run(0, 1), "no prefill is in progress"),
    ("keep after end", "ended", lambda p: p.engine.keep(KEPT), "no prefill is in progress"),
    ("end twice", "ended", lambda p: p.engine.end(), "no prefill is in progress"),
    ("scores after end", "ended", lambda p: p.engine.scores(0), "layer 0 has no scores"),
]


@pytest.mark.parametrize(("phase", "call", "message"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_wrong_call_changes_nothing(
    prefill: Prefill, want: Logits, phase: str, call: Callable[[Prefill], object], message: str
) -> None:
    prefill.go_to(phase)
    before = prefill.state()
    with pytest.raises(ValueError, match=message) as caught:
        call(prefill)
    assert type(caught.value) is ValueError
    assert prefill.state() == before
    # the same prefill goes on as if nothing had happened
    assert prefill.answer(since=phase).tobytes() == want.tobytes()


def test_scores_survive_a_wrong_call(prefill: Prefill) -> None:
    prefill.go_to("shallow")
    before = prefill.engine.scores(1)
    with pytest.raises(ValueError, match="strictly increasing"):
        prefill.engine.keep(KEPT[::-1].copy())
    with pytest.raises(ValueError, match="next layer"):
        prefill.engine.run(4, 5, scores=True)
    assert prefill.engine.scores(1).tobytes() == before.tobytes()


def test_new_prompt_replaces_the_old_one(prefill: Prefill, want: Logits) -> None:
    prefill.answer()
    other = prefill.model.tokens(90, seed=1)
    prefill.engine.begin(other, 16, 0)
    prefill.engine.run(0, N_LAYER)
    prefill.engine.end()
    assert prefill.answer().tobytes() == want.tobytes()


@pytest.mark.parametrize("phase", ["begun", "shallow", "kept", "ran"])
def test_decode_during_a_prefill_is_refused(prefill: Prefill, want: Logits, phase: str) -> None:
    prefill.go_to(phase)
    before = prefill.state()
    assert prefill.context.try_decode([5], N) == 1
    assert prefill.context.try_decode(prefill.tokens[:100]) != 0
    assert prefill.state() == before
    assert prefill.answer(since=phase).tobytes() == want.tobytes()


# ---- contexts that cannot be used -----------------------------------------------------------------------------------


def test_ordinary_context_is_refused(load_model: LoadModel) -> None:
    model = load_model("tiny-llama")
    tokens = model.tokens(41)
    with Context(model, N_CTX) as context, Context(model, N_CTX) as other:
        engine = Engine(context.pointer)
        context.decode(tokens[:40])
        calls: list[Callable[[], object]] = [
            engine.check,
            lambda: engine.begin(tokens, 1, 0),
            lambda: engine.run(0, 1),
            lambda: engine.scores(0),
            lambda: engine.keep(KEPT),
            engine.end,
            engine.info,
            lambda: engine.layer(0),
            lambda: engine.positions(0),
        ]
        for call in calls:
            with pytest.raises(ValueError, match="created without llama_layerwise_defer_kv"):
                call()
        engine.abort()
        other.decode(tokens[:40])
        assert context.decode(tokens[40:], 40).tobytes() == other.decode(tokens[40:], 40).tobytes()


def test_embeddings_context_is_refused(prefill: Prefill, want: Logits) -> None:
    refused = pytest.raises(UnsupportedModelError, match="embeddings")
    with Context(prefill.model, N_CTX, creation=deferred_kv(), embeddings=True) as context, refused:
        Engine(context.pointer).begin(prefill.tokens[:N], WINDOW, 0)
    C.llama_set_embeddings(prefill.context.pointer, True)
    with pytest.raises(UnsupportedModelError, match="embeddings"):
        prefill.go_to("begun")
    C.llama_set_embeddings(prefill.context.pointer, False)
    assert prefill.answer().tobytes() == want.tobytes()


def test_more_than_one_sequence_is_refused(load_model: LoadModel) -> None:
    with pytest.raises(ValueError, match="cannot create"):
        Context(load_model("tiny-llama"), N_CTX, creation=deferred_kv(), n_seq_max=2)
    with Context(load_model("tiny-llama"), N_CTX, n_seq_max=2):
        pass
