"""K and V in quantized types: a prefill computes with f16, and quantizes each layer once, when it has run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from gguf import GGMLQuantizationType
from numpy.typing import NDArray
from quantized_cells import Bytes, quantized, restored
from raw_llama import Context, LoadModel, Model
from stock_states import read_state, with_cells, write_state
from tiny_models import ALL_MODELS

from asl_llamacpp.engine.binding import Engine, deferred_kv, model_layers

N, N_UBATCH, WINDOW, N_DECODE, N_SHALLOW = 150, 64, 32, 6, 2
KEPT = np.r_[3:40:2, N - WINDOW : N].astype(np.int32)

TYPES = {kind.name.lower(): int(kind) for kind in GGMLQuantizationType}
QUANTIZED = ["q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]

Cells = list[tuple[Bytes, Bytes]]
Logits = NDArray[np.float32]


@dataclass(frozen=True)
class Kinds:
    """The types of K and V."""

    k: str
    v: str

    def context(self, model: Model, layered: bool = True, **params: object) -> Context:
        kinds = {"type_k": TYPES[self.k], "type_v": TYPES[self.v]}
        return Context(model, 512, N_UBATCH, creation=deferred_kv() if layered else None, **kinds, **params)

    def quantized(self, cells: Cells, head_dim: int) -> Cells:
        k, v = TYPES[self.k], TYPES[self.v]
        return [(quantized(a, k, head_dim, True), quantized(b, v, head_dim, False)) for a, b in cells]

    def restored(self, cells: Cells, head_dim: int) -> Cells:
        k, v = TYPES[self.k], TYPES[self.v]
        return [(restored(a, k, head_dim, True), restored(b, v, head_dim, False)) for a, b in cells]


PLAIN = Kinds("f16", "f16")
KINDS = [*(Kinds(kind, kind) for kind in QUANTIZED), Kinds("q8_0", "f16"), Kinds("f16", "q4_0"), Kinds("q8_0", "q5_1")]


def cells_of(engine: Engine, first: int, n: int, layers: range) -> Cells:
    """K and V at positions first..first+n-1, of the layers that hold them all."""
    out = []
    for il in layers:
        layer = engine.layer(il)
        if set(range(first, first + n)) <= set(engine.positions(il).tolist()):
            k, v = (np.empty((n, size), dtype=np.uint8) for size in (layer.k_bytes, layer.v_bytes))
            engine.get_kv(il, first, k, v)
            out.append((k, v))
    return out


def assert_equal(got: Cells, want: Cells) -> None:
    assert len(got) == len(want) > 0
    for i, (ours, theirs) in enumerate(zip(got, want, strict=True)):
        for name, a, b in zip("KV", ours, theirs, strict=True):
            assert a.shape == b.shape and (a == b).all(), f"layer {i}, {name}: {(a != b).any(axis=1).sum()} cells"


def prefill(engine: Engine, tokens: NDArray[np.int32], n_layer: int, pruned: bool) -> None:
    engine.begin(tokens, WINDOW, headroom=0)
    engine.run(0, N_SHALLOW, scores=True)
    if pruned:
        engine.keep(KEPT)
    engine.run(N_SHALLOW, n_layer)
    engine.end()


@pytest.mark.parametrize("pruned", [False, True], ids=["whole", "pruned"])
@pytest.mark.parametrize("kinds", KINDS, ids=lambda kinds: f"{kinds.k}-{kinds.v}")
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-head-96", "tiny-gemma2", "tiny-gpt-oss"])
def test_cells_are_those_of_f16_quantized_once(load_model: LoadModel, name: str, kinds: Kinds, pruned: bool) -> None:
    """And so are the scores and the logits those of f16, bit for bit."""
    model, head_dim = load_model(name), ALL_MODELS[name].head_dim
    tokens = model.tokens(N)
    results = []
    for each in (kinds, PLAIN):
        with each.context(model) as context:
            engine = Engine(context.pointer)
            prefill(engine, tokens, model.n_layer, pruned)
            places = [(0, N), (N - WINDOW, WINDOW)]  # rings and pruned layers have the window's
            cells = [each_cells for place in places for each_cells in cells_of(engine, *place, range(model.n_layer))]
            results.append((cells, context.logits()))
    (got, logits), (want, logits_f16) = results
    assert_equal(got, kinds.quantized(want, head_dim))
    assert logits.tobytes() == logits_f16.tobytes()


@pytest.mark.parametrize(
    ("name", "kinds"),
    [*((name, kinds) for name in ("tiny-llama", "tiny-head-96") for kinds in KINDS), ("smollm2", KINDS[0])],
    ids=lambda value: f"{value.k}-{value.v}" if isinstance(value, Kinds) else None,
)
def test_llama_cpp_decodes_the_same_from_its_own_cells_quantized(
    load_model: LoadModel, name: str, kinds: Kinds
) -> None:
    """The state of a plain f16 prefill, its cells quantized, goes on in a plain context of that type: the same bits."""
    model, head_dim = load_model(name), 96 if name == "tiny-head-96" else 64
    tokens = model.tokens(N + N_DECODE)

    def new_cells(cells: Bytes, is_k: bool) -> tuple[int, Bytes]:
        kind = TYPES[kinds.k if is_k else kinds.v]
        return kind, quantized(cells, kind, head_dim, is_k)

    with PLAIN.context(model, layered=False) as plain, kinds.context(model, layered=False) as stock:
        first = plain.decode(tokens[:N])
        write_state(stock.pointer, with_cells(read_state(plain.pointer), new_cells))
        want = stock.decode_each(tokens[N:], N)
    with kinds.context(model) as context:
        prefill(Engine(context.pointer), tokens[:N], model.n_layer, pruned=False)
        assert context.logits().tobytes() == first.tobytes()
        assert context.decode_each(tokens[N:], N).tobytes() == want.tobytes()


# ---- documents ------------------------------------------------------------------------------------------------------

N_HELD, N_ASKED = 110, 40


class Questions:
    """A document that has run through the first layers, and prompts that begin with it."""

    def __init__(self, model: Model, kinds: Kinds) -> None:
        self.model, self.kinds = model, kinds
        tokens = model.tokens(N_HELD + 4 * N_ASKED + N_DECODE)
        self.document, self.answer = tokens[:N_HELD], tokens[-N_DECODE:]
        self.questions = tokens[N_HELD:-N_DECODE].reshape(4, N_ASKED)

    def read(self, engine: Engine) -> None:
        """The document, with the first question."""
        engine.begin(np.concatenate([self.document, self.questions[0]]), WINDOW, headroom=8)
        engine.run(0, N_SHALLOW)
        engine.hold(N_HELD)

    def finish(self, context: Context, engine: Engine) -> Logits:
        engine.keep(KEPT)
        engine.run(N_SHALLOW, self.model.n_layer)
        engine.end()
        return np.concatenate([context.logits()[None], context.decode_each(self.answer, N)])

    def ask(self, context: Context, engine: Engine, i: int) -> tuple[Logits, Cells]:
        """Question i about the document held; and its cells in the document's layers."""
        engine.resume(N_HELD, self.questions[i], WINDOW, headroom=8)
        engine.run(0, N_SHALLOW, scores=True)
        cells = cells_of(engine, N_HELD, N_ASKED, range(N_SHALLOW))
        return self.finish(context, engine), cells

    def state(self, engine: Engine) -> tuple[list[tuple[int, Bytes, Bytes]], NDArray[np.float32]]:
        layers = []
        for il in range(N_SHALLOW):
            layer, shape = engine.layer(il), model_layers(self.model.pointer)[il]
            first = max(0, N_HELD - shape.n_swa) if layer.is_swa else 0
            k, v = (np.empty((N_HELD - first, size), dtype=np.uint8) for size in (layer.k_bytes, layer.v_bytes))
            engine.get_kv(il, first, k, v)
            layers.append((first, k, v))
        hidden = np.empty((N_HELD, 64), dtype=np.float32)
        engine.get_hidden(hidden)
        return layers, hidden

    def ask_restored(
        self, context: Context, engine: Engine, i: int, layers: list[tuple[int, Bytes, Bytes]], hidden: Logits
    ) -> tuple[Logits, Cells]:
        """The same about a document whose state comes from the host."""
        engine.restore(self.document, N_SHALLOW, hidden)
        engine.resume(N_HELD, self.questions[i], WINDOW, headroom=8)
        for il, (first, k, v) in enumerate(layers):
            engine.put_kv(il, first, k, v)
            engine.run(il, il + 1, scores=True)
        cells = cells_of(engine, N_HELD, N_ASKED, range(N_SHALLOW))
        return self.finish(context, engine), cells


@pytest.mark.parametrize("kinds", KINDS, ids=lambda kinds: f"{kinds.k}-{kinds.v}")
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-head-96", "tiny-gemma2", "tiny-gpt-oss"])
def test_a_document_answers_alike_wherever_it_lies_and_whatever_was_asked_before(
    load_model: LoadModel, name: str, kinds: Kinds
) -> None:
    """Bit for bit: in the cache, parked, from the host; and its own cells never change."""
    asked = Questions(load_model(name), kinds)
    with kinds.context(asked.model) as context, kinds.context(asked.model) as other:
        engine, second = Engine(context.pointer), Engine(other.pointer)
        asked.read(engine)
        layers, hidden = asked.state(engine)
        asked.finish(context, engine)
        before = cells_of(engine, 0, N_HELD, range(N_SHALLOW))
        for i in (1, 2, 3, 2):
            if i == 3:
                engine.park(7)
                engine.unpark(7)
            logits, cells = asked.ask(context, engine, i)
            want, want_cells = asked.ask_restored(other, second, i, layers, hidden)
            assert logits.tobytes() == want.tobytes(), i
            assert_equal(cells, want_cells)
            assert_equal(cells_of(engine, 0, N_HELD, range(N_SHALLOW)), before)


@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])  # the others' factors and offsets may be fused into one rounding
@pytest.mark.parametrize("name", ["tiny-llama", "tiny-head-96"])
def test_a_question_is_computed_on_the_documents_cells_in_f16(load_model: LoadModel, name: str, kind: str) -> None:
    """As on an f16 context that got the document's quantized cells, back in f16; what is new is quantized once."""
    kinds, head_dim = Kinds(kind, kind), ALL_MODELS[name].head_dim
    asked = Questions(load_model(name), kinds)
    with kinds.context(asked.model) as context, PLAIN.context(asked.model) as plain:
        engine = Engine(context.pointer)
        asked.read(engine)
        layers, hidden = asked.state(engine)
        asked.finish(context, engine)
        logits, cells = asked.ask(context, engine, 1)
        f16 = kinds.restored([(k, v) for _, k, v in layers], head_dim)
        second = Engine(plain.pointer)
        want, want_cells = asked.ask_restored(plain, second, 1, [(0, k, v) for k, v in f16], hidden)
        assert_equal(cells, kinds.quantized(want_cells, head_dim))
        assert logits[0].tobytes() == want[0].tobytes()


def test_the_first_question_again_is_close(load_model: LoadModel) -> None:
    """Asked first, it attends to the document's exact cells; asked again, to those that were kept."""
    asked = Questions(load_model("tiny-llama"), Kinds("q8_0", "q8_0"))
    with asked.kinds.context(asked.model) as context:
        engine = Engine(context.pointer)
        asked.read(engine)
        first = asked.finish(context, engine)
        again, _ = asked.ask(context, engine, 0)
    assert np.corrcoef(first.ravel(), again.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gemma2"])
def test_a_question_that_is_stopped_leaves_the_document(load_model: LoadModel, name: str) -> None:
    """Stopped in any layer, the next one is answered as if nothing had been asked."""
    asked = Questions(load_model(name), Kinds("q8_0", "q8_0"))
    with asked.kinds.context(asked.model, swa_full=True) as context:
        engine = Engine(context.pointer)
        asked.read(engine)
        asked.finish(context, engine)
        want, _ = asked.ask(context, engine, 1)
        for stopped in range(N_SHALLOW):

            def stop(il_begin: int, *_: int, at: int = stopped) -> None:
                if il_begin == at:
                    raise KeyboardInterrupt

            engine.progress = stop
            engine.resume(N_HELD, asked.questions[2], WINDOW, headroom=8)
            with pytest.raises(KeyboardInterrupt):
                engine.run(0, N_SHALLOW)
            engine.progress = None
            assert asked.ask(context, engine, 1)[0].tobytes() == want.tobytes()


# ---- memory ---------------------------------------------------------------------------------------------------------


def test_one_layer_at_a_time_is_held_in_f16(load_model: LoadModel) -> None:
    model = load_model("tiny-llama")
    peaks = {}
    for name, kinds in {"q8_0": Kinds("q8_0", "q8_0"), "f16": PLAIN}.items():
        with kinds.context(model) as context:
            engine = Engine(context.pointer)
            engine.begin(model.tokens(N), WINDOW, headroom=0)
            engine.run(0, model.n_layer)
            engine.end()
            info = engine.info()
            peaks[name] = (info.kv_bytes, info.kv_bytes_peak, engine.layer(0).bytes)
    kv, peak, _ = peaks["q8_0"]
    assert peaks["f16"][0] == peaks["f16"][1]
    assert peak == kv + peaks["f16"][2] < peaks["f16"][0]


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-gemma2"])
def test_what_runs_beside_the_prompt_is_exact_too(load_model: LoadModel, name: str) -> None:
    """Tokens that ask nothing see the same f16 cells, and leave none."""
    model, found = load_model(name), []
    for each in (KINDS[0], PLAIN):
        with each.context(model) as context:
            engine = Engine(context.pointer)
            engine.begin(model.tokens(N), WINDOW, headroom=0)
            engine.contrast(N - 40, model.tokens(20, seed=1))
            engine.run(0, model.n_layer, scores=True)
            scores = [engine.contrast_scores(il) for il in range(model.n_layer) if not engine.layer(il).is_swa]
            engine.end()
            cells = cells_of(engine, N - WINDOW, WINDOW, range(model.n_layer))
            found.append((np.concatenate(scores), cells, context.logits()))
    (got, cells, logits), (want, f16, logits_f16) = found
    assert got.tobytes() == want.tobytes() and logits.tobytes() == logits_f16.tobytes()
    assert_equal(cells, KINDS[0].quantized(f16, ALL_MODELS[name].head_dim))
