"""What the cache may serve: nothing that was pruned for another prompt, everything that stays true."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from llama_fixtures import (
    PRUNE,
    WHOLE,
    cells,
    default_model,
    greedy,
    logits,
    prompt,
    prompt_logits,
    run_python,
    text,
)
from llama_fixtures import load as load_real
from llama_fixtures import load_narrow as load

# isort: split
import llama_cpp
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding

import asl_llamacpp

DOCUMENT = prompt(150)
OTHER = prompt(110, start=250)
SHORT = prompt(40)
TURN = prompt(12, start=200)


def fresh_logits(tokens: list[int], kv_policy: str = PRUNE) -> np.ndarray:
    return prompt_logits(load(kv_policy=kv_policy), tokens)


# ---- eval -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cuts", [(100,), (30, 100), (64,), (65, 140)], ids=str)
def test_eval_in_chunks_equals_eval_at_once(cuts: tuple[int, ...]) -> None:
    """More of a prompt is prefilled together with what was there; only single tokens are decoded."""
    llm = load(kv_policy=PRUNE)
    llm.eval(DOCUMENT)
    at_once, report = logits(llm), llm.last_prefill
    llm.reset()
    for begin, end in pairwise((0, *cuts, 150)):
        llm.eval(DOCUMENT[begin:end])
        assert llm.n_tokens == end and llm._input_ids.tolist() == DOCUMENT[:end]
    assert logits(llm).tobytes() == at_once.tobytes()
    assert llm.last_prefill.n_prompt == 150
    np.testing.assert_array_equal(llm.last_prefill.selected, report.selected)
    assert llm.last_prefill.cells == report.cells


@pytest.mark.parametrize("kind", [np.array, tuple], ids=("array", "tuple"))
def test_eval_takes_any_sequence(kind: type) -> None:
    """As the parent's does, which only slices and iterates."""
    llm = load(kv_policy=PRUNE)
    llm.eval(kind(DOCUMENT))
    assert llm.n_tokens == 150
    assert llm.last_prefill.selection_layer == 14


def test_single_tokens_are_decoded() -> None:
    llm = load(kv_policy=PRUNE)
    llm.eval(DOCUMENT)
    report = llm.last_prefill
    llm.eval(TURN[:1])
    assert llm.last_prefill is report
    assert cells(llm) == [151] * 15 + [65] * 15


def test_eval_is_not_confused_by_an_unfinished_answer() -> None:
    """An open generator of an earlier answer does not turn the next prompt's prefill into plain decoding."""
    llm = load(kv_policy=PRUNE)
    stream = llm.generate(SHORT, temp=0.0)
    next(stream)
    llm.reset()
    llm.eval(DOCUMENT)
    assert llm.last_prefill.n_prompt == 150
    assert llm.last_prefill.selection_layer == 14
    stream.close()


# ---- the same prompt, a continuation, another prompt ---------------------------------------------------------------


def test_same_prompt_is_served_from_the_cache() -> None:
    llm = load_real(kv_policy=PRUNE)
    answer = greedy(llm, DOCUMENT, 8)
    report = llm.last_prefill
    assert greedy(llm, DOCUMENT, 8) == answer
    assert greedy(llm, DOCUMENT, 3) == answer[:3]
    assert llm.last_prefill.cells is report.cells and llm.last_prefill.reused == 150
    assert cells(llm)[0] == 152 and cells(llm)[-1] == 66


def test_same_prompt_right_after_its_prefill_is_not_evaluated_again() -> None:
    llm = load(kv_policy=PRUNE)
    llm.eval(DOCUMENT)
    before, report = logits(llm), llm.last_prefill
    stream = llm.generate(DOCUMENT, temp=0.0)
    assert next(stream) == int(before.argmax())
    assert llm.last_prefill is report and logits(llm).tobytes() == before.tobytes()


@pytest.mark.parametrize("n_turn", [0, 1, 12])
def test_continuation_is_prefilled_anew(n_turn: int) -> None:
    """However little is new: after 4 answer tokens, of which 3 were evaluated, as few as one token."""
    llm = load(kv_policy=PRUNE)
    conversation = DOCUMENT + greedy(llm, DOCUMENT, 4) + TURN[:n_turn]
    report = llm.last_prefill
    served = prompt_logits(llm, conversation)
    assert llm.last_prefill is not report
    assert llm.last_prefill.n_prompt == len(conversation)
    assert served.tobytes() == fresh_logits(conversation).tobytes()


@pytest.mark.slow
def test_kv_reuse_continues_on_the_pruned_cache() -> None:
    llm = load_real(kv_policy=PRUNE, kv_reuse=True)
    conversation = DOCUMENT + greedy(llm, DOCUMENT, 4) + TURN
    report = llm.last_prefill
    first = prompt_logits(llm, conversation)
    assert llm.last_prefill is report
    assert cells(llm) == [len(conversation)] * 15 + [64 + 4 + len(TURN)] * 15

    # the same by hand: the document pruned, the rest decoded on top of it
    by_hand = load_real(kv_policy=PRUNE)
    by_hand.eval(DOCUMENT)
    for token in conversation[150:]:
        by_hand.eval([token])
    assert by_hand.last_prefill.n_prompt == 150
    assert np.corrcoef(first, logits(by_hand))[0, 1] > 0.999

    # a shorter, an equal and a diverging prompt afterwards
    assert prompt_logits(llm, conversation[:-3]).shape == first.shape and llm.last_prefill is report
    assert greedy(llm, DOCUMENT, 2) == greedy(load_real(kv_policy=PRUNE), DOCUMENT, 2) and llm.last_prefill is report
    changed = [*DOCUMENT[:-1], TURN[0], *TURN]
    assert prompt_logits(llm, changed).tobytes() == prompt_logits(load_real(kv_policy=PRUNE), changed).tobytes()


@pytest.mark.parametrize(
    ("before", "after"),
    [(DOCUMENT, OTHER), (OTHER, DOCUMENT), (DOCUMENT, SHORT), (SHORT, DOCUMENT), (DOCUMENT, DOCUMENT[:120])],
    ids=("other", "longer", "short", "long after short", "a prefix of it"),
)
def test_another_prompt_is_answered_as_by_a_fresh_object(before: list[int], after: list[int]) -> None:
    llm = load(kv_policy=PRUNE)
    greedy(llm, before, 5)
    report = llm.last_prefill
    assert prompt_logits(llm, after).tobytes() == fresh_logits(after).tobytes()
    assert llm.last_prefill is not report


def test_short_prompts_keep_the_parents_prefix_reuse() -> None:
    llm = load(kv_policy=PRUNE)
    greedy(llm, SHORT, 2)
    evaluated: list[int] = []
    decode = llm._ctx.decode
    llm._ctx.decode = lambda batch: (evaluated.append(batch.n_tokens()), decode(batch))  # type: ignore[method-assign]
    greedy(llm, SHORT + TURN[:8], 1)
    assert evaluated == [8]
    assert llm.last_prefill.n_prompt == 48 and llm.last_prefill.selection_layer is None


def test_full_keeps_the_parents_prefix_reuse() -> None:
    answers = []
    parent = llama_cpp.Llama(str(default_model()), verbose=False, n_threads=1, n_threads_batch=1)
    for llm in (load_real(kv_policy="full"), parent):
        evaluated: list[int] = []
        decode = llm._ctx.decode
        llm._ctx.decode = lambda batch, e=evaluated, d=decode: (e.append(batch.n_tokens()), d(batch))
        answers.append([greedy(llm, DOCUMENT, 3), greedy(llm, DOCUMENT + TURN, 3), greedy(llm, DOCUMENT[:90], 2)])
        assert evaluated == [150, 1, 1, 12, 1, 1, 1, 1]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("positional", [True, False])
def test_generate_with_reset_false_goes_on(positional: bool) -> None:
    """`reset`, the eighth argument, may be given either way; the tokens follow those evaluated so far."""
    llm = load(kv_policy=PRUNE)
    llm.eval(DOCUMENT[:100])
    rest = DOCUMENT[100:]
    stream = llm.generate(rest, 40, 0.95, 0.05, 1.0, 0.0, 1.0, False) if positional else None
    stream = stream or llm.generate(rest, temp=0.0, reset=False)
    first = next(stream)
    assert llm.last_prefill.n_prompt == 150
    assert first == int(fresh_logits(DOCUMENT).argmax())
    assert logits(llm).tobytes() == fresh_logits(DOCUMENT).tobytes()


def test_prompt_that_ends_in_a_whole_cache_is_not_pruned_twice() -> None:
    """Where the rule never fires the engine keeps all cells, and the logits are those of `full`."""
    whole = load(kv_policy=WHOLE)
    full = load(kv_policy="full", flash_attn=True)
    assert prompt_logits(whole, DOCUMENT).tobytes() == prompt_logits(full, DOCUMENT).tobytes()
    report = whole.last_prefill
    assert report.selected is None and report.cells == [150] * 30
    greedy(whole, DOCUMENT, 3)
    assert whole.last_prefill.cells is report.cells


# ---- more than one answer at a time ---------------------------------------------------------------------------------


def test_two_objects_take_turns() -> None:
    other = "asl:layer=9,select_k=40,window=16"
    expected = [greedy(load(kv_policy=PRUNE), DOCUMENT, 5), greedy(load(kv_policy=other), OTHER, 5)]
    one, two = load(kv_policy=PRUNE), load(kv_policy=other)
    streams = one.generate(DOCUMENT, temp=0.0), two.generate(OTHER, temp=0.0)
    answers: list[list[int]] = [[], []]
    for _ in range(5):
        for answer, stream in zip(answers, streams, strict=True):
            answer.append(next(stream))
    assert answers == expected
    assert (one.last_prefill.selection_layer, two.last_prefill.selection_layer) == (14, 9)


def speculative(**settings: object) -> asl_llamacpp.Llama:
    draft = LlamaPromptLookupDecoding(num_pred_tokens=4)
    return load_real(draft_model=draft, logits_all=True, flash_attn=True, **settings)


@pytest.mark.slow
def test_speculative_decoding_equals_plain_decoding() -> None:
    repetitive = DOCUMENT[20:] + DOCUMENT[60:80]  # the draft model copies from the prompt
    for kv_policy in ("full", PRUNE):
        plain = load_real(kv_policy=kv_policy, flash_attn=True)
        assert greedy(speculative(kv_policy=kv_policy), repetitive, 16) == greedy(plain, repetitive, 16)
    llm = speculative(kv_policy=PRUNE)
    answer = text(llm, repetitive)
    report = llm.last_prefill
    assert report.selection_layer == 14 and report.n_prompt == 150
    assert text(llm, repetitive) == answer and llm.last_prefill.cells is report.cells


@pytest.mark.slow
def test_speculative_decoding_survives_an_abandoned_answer() -> None:
    """Closing an older generator does not make the drafts of a newer one look like a prompt."""
    result = run_python(f"""
from llama_cpp.llama_speculative import LlamaPromptLookupDecoding
llm = load(kv_policy={PRUNE!r}, logits_all=True, draft_model=LlamaPromptLookupDecoding(num_pred_tokens=4))
abandoned = llm.generate({OTHER}, temp=0.0)
next(abandoned)
stream = llm.generate({DOCUMENT}, temp=0.0)
answer, report = [next(stream)], llm.last_prefill
abandoned.close()
answer += [next(stream) for _ in range(7)]
assert llm.last_prefill is report, "drafts were prefilled as a prompt"
print(answer)
""")
    assert result.returncode == 0, result.stderr[:2000]
    assert result.stdout.strip() == str(greedy(load_real(kv_policy=PRUNE), DOCUMENT, 8))
