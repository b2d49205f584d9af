"""A model that is given its tokens by a reader: the same bits as from what it would compute without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import pytest
from llama_fixtures import greedy, load, load_narrow, logits, narrow_path
from numpy.typing import NDArray
from raw_llama import Context, Model

from asl_llamacpp import Llama, PrefillReport
from asl_llamacpp.engine.binding import Engine, deferred_kv
from asl_llamacpp.store.pruned_cache import PrunedCache

N_CTX, SELECT_K, WINDOW, LAYER = 2048, 256, 32, 14
SIZES = f"layer={LAYER},select_k={SELECT_K},window={WINDOW}"
TEXT = " ".join(f"The box number {i} holds {i * 7} green marbles and a letter from Zürich." for i in range(40))
QUESTION = "How many marbles are in box 7?"
MIXED = "Grüße aus 東京, wo 🧑‍🚀 und 🦊 wohnen; naïve Ωμέγα = 0x7f. \t<|im_end|> isn't special here.\n" * 9

Logits = NDArray[np.float32]


@pytest.fixture(scope="module", params=["original", "compact"])
def llm(request: pytest.FixtureRequest) -> Iterator[Llama]:
    reading = {"reader": narrow_path(), "positions": request.param}
    with closing(load_narrow(kv_policy=f"asl:{SIZES}", n_ctx=N_CTX, **reading)) as llm:
        yield llm


def report_of(llm: Llama) -> PrefillReport:
    assert llm.last_prefill is not None
    return llm.last_prefill


def evaluated(llm: Llama, tokens: list[int], n: int) -> Logits:
    """Logits after the first `n` tokens, the prompt, and after each of the rest."""
    llm.reset()
    llm.eval(tokens[:n])
    rows = [logits(llm)]
    for token in tokens[n:]:
        llm.eval([token])
        rows.append(logits(llm))
    return np.stack(rows)


def test_the_logits_are_those_of_the_chosen_tokens_alone(llm: Llama) -> None:
    """At their own positions by the engine of a bare context; one behind the other by llama_decode."""
    prompt = llm.read(text=TEXT).prompt(QUESTION)
    n, tokens = len(prompt), [*prompt, *greedy(llm, prompt, 3)]
    got, report = evaluated(llm, tokens, n), report_of(llm)
    selected = report.selected
    assert selected is not None and len(selected) == SELECT_K
    compact = report.position_shift > 0
    creation = {} if compact else {"creation": deferred_kv()}
    with Context(Model(narrow_path()), N_CTX, **creation) as context:  # type: ignore[arg-type]
        if compact:
            first, at = context.decode([tokens[i] for i in selected]), SELECT_K
        else:
            engine = Engine(context.pointer)
            engine.begin(tokens[:n], WINDOW, headroom=256)
            engine.keep(selected)
            engine.run(0, context.model.n_layer)
            engine.end()
            first, at = context.logits(), n
        want = np.concatenate([first[None], context.decode_each(tokens[n:], at)])
    assert got.tobytes() == want.tobytes(), np.abs(got - want).max(axis=1)


def test_a_model_that_reads_for_itself_ranks_as_it_does_alone(llm: Llama) -> None:
    """What it runs of the prompt is what the first of two passes runs, and the scores are the same bits."""
    question = "And how many are in box 11?"  # a prompt that was just evaluated would not be read again
    read = llm.read(text=TEXT).ask(question, max_tokens=1).report
    with closing(load_narrow(kv_policy=f"asl-2pass:{SIZES}", n_ctx=N_CTX)) as alone:
        document = alone.read(text=TEXT)
        want = document.ask(question, max_tokens=1).report
    assert read is not None and read.read is not None and read.selected is not None and want.scores is not None
    assert read.read.scores is not None and read.read.scores.tobytes() == want.scores.tobytes()
    assert (read.read.selection_layer, read.n_prompt) == (want.selection_layer, want.n_prompt) == (LAYER, read.n_prompt)
    # the same rule, but that the template's head is always kept here
    n, head = read.n_prompt, document.n_head
    free = np.arange(head, n - max(WINDOW, n - len(document.tokens)))
    best = free[np.argsort(-want.scores[free], kind="stable")][: SELECT_K - head - (n - free[-1] - 1)]
    want_kept = np.sort(np.r_[np.arange(head), best, np.arange(free[-1] + 1, n)])
    np.testing.assert_array_equal(read.selected, want_kept)


# ---- two vocabularies -----------------------------------------------------------------------------------------------


def piece(llm: Llama, token: int) -> bytes:
    buffer = bytes(64)
    size = llama_cpp.llama_token_to_piece(llm._model.vocab, token, buffer, 64, 0, True)
    return buffer[:size]


def test_scores_of_another_vocabularys_tokens_are_the_largest_of_their_bytes(
    tiny_path: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte by byte, for a model whose tokens are the bytes of every letter, and a reader's with whole words."""
    settings = {"n_ctx": 2048, "reader": narrow_path(), "kv_policy": f"asl:{SIZES}"}
    with closing(load(tiny_path("tiny-llama"), **settings)) as llm:
        assert llm.reader is not None
        reader: Any = llm.reader.llm
        cache, prompts = reader.pruned_cache, []

        def prefill(tokens: list[int], *arguments: Any, **more: Any) -> PrefillReport:
            prompts.append(tokens)
            return PrunedCache.prefill(cache, tokens, *arguments, **more)

        monkeypatch.setattr(cache, "prefill", prefill)
        tokens = llm.tokenize(MIXED.encode(), special=False)
        llm.eval(tokens)
        report = report_of(llm)
        read = report.read
        assert read is not None and read.scores is not None and len(prompts) == 1
        theirs = [piece(reader, token) for token in prompts[0]]
        ours = [b"" if token == llm.token_bos() else piece(llm, token) for token in tokens]
    text, said = b"".join(ours), b"".join(theirs)
    begin = said.index(text)
    sizes = [len(part) for part in theirs[: len(read.scores)]]
    of_bytes = np.full(len(said), read.scores.max(), dtype=np.float32)  # the reader's window is as good as the best
    of_bytes[: sum(sizes)] = np.repeat(read.scores, sizes)
    begins = begin + np.cumsum([0, *map(len, ours[:-1])])
    want = np.array([of_bytes[i : i + len(part)].max() if part else 0 for i, part in zip(begins, ours, strict=True)])
    assert report.scores is not None and report.selected is not None
    n, fixed = len(tokens), np.zeros(len(tokens), dtype=bool)
    np.testing.assert_array_equal(report.scores, want[: n - WINDOW])
    fixed[[0, *range(n - WINDOW, n)]] = True
    kept = np.isin(np.arange(n), report.selected)
    assert kept.sum() == SELECT_K and kept[fixed].all()
    assert want[kept & ~fixed].min() >= want[~kept].max()
