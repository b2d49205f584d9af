"""Documents that were put away serve the next question as if it were prefilled alone, wherever they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import oracle
import pytest
from llama_fixtures import PRUNE, cells, greedy, logits, prompt
from llama_fixtures import load as load_real
from llama_fixtures import load_narrow as load
from numpy.random import default_rng

from asl_llamacpp import Llama, PrefillReport

DOCUMENTS = [prompt(330), oracle.prompts()[1].tokens.tolist()[40:400]]
QUESTIONS = [recorded.tokens.tolist()[-40:] for recorded in oracle.prompts()[1:]]

WAYS: dict[str, dict[str, Any]] = {
    "device": {"kv_policy": PRUNE, "document_store": "device"},
    "ram": {"kv_policy": PRUNE},
    "disk": {"kv_policy": PRUNE, "document_store": "disk"},
    "budget": {"kv_policy": PRUNE, "kv_budget": 128},
    "budget on disk": {
        "kv_policy": "fastkv:layer=11,select_k=128,window=16",
        "kv_budget": 96,
        "document_store": "disk",
    },
    "selected": {"kv_policy": f"{PRUNE},keep=selected"},
    "selected on the device": {"kv_policy": f"{PRUNE},keep=selected", "document_store": "device"},
    "selected in a budget": {"kv_policy": f"{PRUNE},keep=selected", "kv_budget": 60},
    "selected in a budget on disk": {
        "kv_policy": "fastkv:layer=11,select_k=128,window=16,keep=selected",
        "kv_budget": 96,
        "document_store": "disk",
    },
    "heads": {"kv_policy": f"{PRUNE},keep=heads"},
    "snapkv": {"kv_policy": "snapkv:budget=96,window=16"},
    "gemfilter": {"kv_policy": "gemfilter:layer=12,select_k=128"},
    "two passes": {"kv_policy": "asl-2pass:layer=14,select_k=128,window=16"},
    "several layers' scores": {"kv_policy": "asl:layer=14,heads=max,score_layers=4,select_k=128,window=16"},
    "contrast": {"kv_policy": "asl:layer=14,contrast=true,units=sentences,select_k=128,window=16"},
    "contrast in a budget": {"kv_policy": "fastkv:layer=11,contrast=true,select_k=128,window=16", "kv_budget": 96},
    "never pruned": {"kv_policy": "asl:tau=1e-9,l_max=none,select_k=64,window=16"},
}


def report_of(llm: Llama) -> PrefillReport:
    assert llm.last_prefill is not None
    return llm.last_prefill


def same_as_alone(llm: Llama, tokens: list[int], settings: dict[str, Any], make: Callable[..., Llama] = load) -> None:
    """The answer that `llm` gives equals that of a new object, which gets an ubatch border where the document ends."""
    answer = greedy(llm, tokens, 4)
    report, last, held = report_of(llm), logits(llm), cells(llm)
    assert report.reused >= 300
    alone = make(**{**settings, "document_min": None, "document_store": "ram", "n_ubatch": report.reused})
    assert greedy(alone, tokens, 4) == answer
    np.testing.assert_array_equal(report_of(alone).selected, report.selected)
    assert report_of(alone).selection_layer == report.selection_layer
    assert cells(alone) == held
    assert logits(alone).tobytes() == last.tobytes()
    alone.close()


QUICK = ("device", "budget", "disk")


@pytest.mark.parametrize("way", [way if way in QUICK else pytest.param(way, marks=pytest.mark.slow) for way in WAYS])
def test_two_documents_in_turn(way: str) -> None:
    settings, make = WAYS[way], load_real if way == "ram" else load
    llm = make(document_min=256, **settings)
    for document in DOCUMENTS:
        greedy(llm, document + QUESTIONS[0], 2)
        assert report_of(llm).reused == 0
    for i, question in enumerate(QUESTIONS[1:3]):
        for document in DOCUMENTS:
            same_as_alone(llm, document + question, settings, make)
        greedy(llm, prompt(20 + i), 1)  # something else in between takes the context
    places = {known.place for known in llm.documents}
    assert len(llm.documents) == 2 and places == {settings.get("document_store", "ram")}
    llm.close()


@pytest.mark.slow
def test_the_rule_goes_deeper_for_a_document_on_the_host() -> None:
    """The state grows by the missing layers; later questions start there."""
    rule = "asl:l_min=7,l_obs=4,tau=0.6,select_k=128,window=16"
    llm = load_real(kv_policy=rule, document_min=256, kv_budget=200)
    layers = []
    for question in QUESTIONS[:5]:
        greedy(llm, DOCUMENTS[0] + question, 1)
        report = report_of(llm)
        (known,) = llm.documents
        assert report.selection_layer is not None and known.layers == report.selection_layer + 1
        layers.append(known.layers)
        if len(layers) > 1:
            assert report.reused >= len(DOCUMENTS[0])
    assert layers == sorted(layers)


@pytest.mark.parametrize("budget", [None, 128])
@pytest.mark.parametrize("keep", ["all", "selected"])
def test_a_ring_of_cells(tiny_path: Callable[[str], Path], keep: str, budget: int | None) -> None:
    """Sliding windows that hold no more than they see: their cells come back from the host, at the right positions."""
    model = tiny_path("tiny-gemma2")
    tokens = default_rng(0).integers(3, 250, 705).tolist()
    questions = [[3 + token % 250 for token in question] for question in QUESTIONS[:2]]
    settings: dict[str, Any] = {
        "kv_policy": f"fastkv:layer=3,select_k=256,keep={keep}", "swa_full": False, "n_ctx": 1024, "n_batch": 1024,
        "kv_budget": budget,
    }  # fmt: skip
    documents = [tokens[:700], tokens[5:705]]
    llm = load(model, document_min=256, n_ubatch=700, **settings)
    for document in documents:
        greedy(llm, document + questions[0], 2)
    for document in documents:
        prompt_tokens = document + questions[1]
        answer = greedy(llm, prompt_tokens, 4)
        report, last = report_of(llm), logits(llm)
        assert report.reused == 700
        alone = load(model, document_min=None, n_ubatch=700, **settings)
        assert greedy(alone, prompt_tokens, 4) == answer
        assert logits(alone).tobytes() == last.tobytes()
        alone.close()
    llm.close()


def test_the_least_recently_used_go_first() -> None:
    """Documents of 3.4 MiB each; one of them is in the context, and three fit the limit beside it."""
    llm = load(kv_policy=PRUNE, document_min=200, document_limit="12MiB")
    documents = [prompt(300)[10 * i :] + prompt(300)[: 10 * i] for i in range(6)]
    for i in (0, 1, 2, 0, 3, 4, 5):
        greedy(llm, documents[i] + QUESTIONS[0], 1)
    known = llm.documents
    assert [one.place for one in known] == ["context", "ram", "ram", "ram"]
    assert sum(one.n_bytes for one in known[1:]) <= 12 << 20
    for i, reused in ((5, 300), (0, 300), (1, 0), (2, 0)):
        greedy(llm, documents[i] + QUESTIONS[1], 1)
        assert report_of(llm).reused == reused, i


def test_no_room_for_any_document() -> None:
    llm = load(kv_policy=PRUNE, document_min=200, document_limit=0)
    greedy(llm, DOCUMENTS[0] + QUESTIONS[0], 1)
    greedy(llm, DOCUMENTS[0] + QUESTIONS[1], 1)
    assert report_of(llm).reused > 0  # the one in the context costs nothing more
    greedy(llm, DOCUMENTS[1] + QUESTIONS[1], 1)
    greedy(llm, DOCUMENTS[0] + QUESTIONS[2], 1)
    assert report_of(llm).reused == 0


@pytest.mark.parametrize("settings", [{}, {"kv_budget": 128}], ids=["held", "copied"])
def test_a_document_beyond_the_limit_is_told_of_once(settings: dict[str, Any]) -> None:
    """Nothing is dropped silently: the report says so before another prompt comes. Each is of 3.4 MiB or more."""
    llm = load(kv_policy=PRUNE, document_min=200, document_limit="3MiB", **settings)
    greedy(llm, DOCUMENTS[0] + QUESTIONS[0], 1)
    (note,) = report_of(llm).notes
    assert "state of this prompt takes" in note and "3.0 MiB" in note and "raise document_limit" in note
    assert f"note       {note}" in str(report_of(llm)) and report_of(llm).to_dict()["notes"] == [note]
    greedy(llm, DOCUMENTS[1] + QUESTIONS[0], 1)
    assert report_of(llm).notes == []
    greedy(llm, DOCUMENTS[0] + QUESTIONS[1], 1)
    assert report_of(llm).reused == 0
    roomy = load(kv_policy=PRUNE, document_min=200, **settings)
    greedy(roomy, DOCUMENTS[0] + QUESTIONS[0], 1)
    assert report_of(roomy).notes == []


def test_a_full_disk_costs_the_state_only(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(spool: object, array: object) -> object:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("asl_llamacpp.store.spool.Spool.__call__", full)
    llm = load(kv_policy=PRUNE, document_min=200, document_store="disk")
    greedy(llm, DOCUMENTS[0] + QUESTIONS[0], 1)
    with pytest.warns(RuntimeWarning, match="No space left"):
        greedy(llm, DOCUMENTS[1] + QUESTIONS[0], 1)
    budgeted = load(kv_policy=PRUNE, kv_budget=128, document_min=200, document_store="disk")
    with pytest.warns(RuntimeWarning, match="No space left"):
        greedy(budgeted, DOCUMENTS[0] + QUESTIONS[0], 1)
    same_as_alone(llm, DOCUMENTS[1] + QUESTIONS[1], {"kv_policy": PRUNE})


@pytest.mark.parametrize(
    ("settings", "error", "why"),
    [
        ({"document_store": "tape"}, ValueError, "'device', 'ram', 'disk'"),
        ({"document_limit": "4 apples"}, ValueError, "4GiB"),
        ({"document_limit": "10%"}, ValueError, "4GiB"),
        ({"document_limit": -1}, ValueError, "document_limit must be at least 0"),
        ({"document_min": 0}, ValueError, "document_min must be at least 1"),
        ({"document_folder": "/no/such/folder"}, NotADirectoryError, "make it first"),
        ({"document_store": "device", "kv_budget": 100}, ValueError, "kv_budget does not leave it there"),
        ({"document_store": "device", "kv_policy": "gemfilter"}, ValueError, "gemfilter"),
    ],
)
def test_bad_settings(settings: dict[str, Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        load(**{"kv_policy": PRUNE, **settings})


def test_an_interrupted_question_keeps_the_document() -> None:
    llm = load(kv_policy=PRUNE, document_min=200)
    greedy(llm, DOCUMENTS[0] + QUESTIONS[0], 1)

    def interrupt(progress: object) -> None:
        raise KeyboardInterrupt

    llm.on_progress = interrupt
    with pytest.raises(KeyboardInterrupt):
        greedy(llm, DOCUMENTS[0] + QUESTIONS[1], 1)
    llm.on_progress = None
    same_as_alone(llm, DOCUMENTS[0] + QUESTIONS[1], {"kv_policy": PRUNE})


def test_an_interrupt_between_two_layers_keeps_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python runs and not the engine, whose callback it does not come from."""
    from asl_llamacpp.prefill import layer_run

    llm = load(kv_policy=PRUNE, document_min=200)
    greedy(llm, DOCUMENTS[0] + QUESTIONS[0], 1)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for method in ("run_layers", "go_on_with", "keep_document"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(layer_run.LayerRun, method, interrupt)
            greedy(llm, DOCUMENTS[0] + QUESTIONS[1], 1)
        (known,) = llm.documents
        assert known.layers == 15, method
    same_as_alone(llm, DOCUMENTS[0] + QUESTIONS[1], {"kv_policy": PRUNE})


@pytest.mark.parametrize("settings", [{"kv_budget": 100}, {"kv_policy": "gemfilter:layer=5,select_k=128"}])
def test_the_first_layer_that_is_compressed_may_be_the_last_known(gemma_path: Path, settings: dict[str, Any]) -> None:
    """All layers before the first with full attention have sliding windows, which are never compressed.

    A question of 64 tokens and more, so that the fresh prompt has an ubatch border where the document ends: this
    model's weights round differently where an ubatch begins elsewhere.
    """
    questions = [QUESTIONS[0] + QUESTIONS[1], QUESTIONS[1] + QUESTIONS[2]]
    n_ubatch = len(DOCUMENTS[0])
    options = {"kv_policy": "fastkv:layer=5,select_k=128,window=16", "n_ubatch": n_ubatch, **settings}
    llm = load(gemma_path, document_min=256, **options)
    for question in questions:
        answer = greedy(llm, DOCUMENTS[0] + question, 3)
    report = report_of(llm)
    assert report.reused == n_ubatch
    alone = load(gemma_path, document_min=None, **options)
    assert greedy(alone, DOCUMENTS[0] + questions[1], 3) == answer
    assert logits(alone).tobytes() == logits(llm).tobytes()


def test_a_state_that_is_refused_changes_nothing() -> None:
    """The document would have been parked, and the context emptied."""
    other = load_real(kv_policy="asl:layer=12,select_k=64,window=16")
    greedy(other, prompt(100), 1)
    saved = other.save_state()
    llm = load_real(kv_policy=PRUNE, document_min=200, document_store="device")
    tokens = DOCUMENTS[0] + QUESTIONS[0]
    want = greedy(llm, tokens, 4)
    with pytest.raises(RuntimeError, match="policy"):
        llm.load_state(saved)
    assert greedy(llm, tokens, 4) == want


@pytest.mark.parametrize("call", ["begin", "resume", "unpark", "park"])
def test_an_interrupt_as_the_engine_returns(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    llm = load(kv_policy=PRUNE, document_min=200, document_store="device")
    for document in DOCUMENTS:
        greedy(llm, document + QUESTIONS[0], 1)
    engine = llm._engine
    assert engine is not None
    through = getattr(engine, call)

    def interrupt(*arguments: Any) -> None:
        through(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(engine, call, interrupt)
        greedy(llm, prompt(300)[::-1] if call == "begin" else DOCUMENTS[0] + QUESTIONS[1], 1)
    for document in DOCUMENTS:
        tokens = document + QUESTIONS[1]
        answer = greedy(llm, tokens, 3)
        fresh = load(kv_policy=PRUNE, document_min=None, n_ubatch=report_of(llm).reused or 512)
        assert greedy(fresh, tokens, 3) == answer and logits(fresh).tobytes() == logits(llm).tobytes()
        fresh.close()


def test_what_is_not_kept_is_forgotten() -> None:
    llm = load(kv_policy=PRUNE, document_min=200, document_limit=0)
    for i in range(4):
        greedy(llm, prompt(300)[10 * i :] + prompt(300)[: 10 * i] + QUESTIONS[0], 1)
    assert len(llm.documents) == 1


def test_closing_within_a_prefill_is_refused() -> None:
    llm = load(kv_policy=PRUNE, on_progress=lambda progress: llm.close())
    with pytest.raises(ValueError, match="a prefill is running"):
        llm.eval(prompt(100))
    llm.on_progress = None
    greedy(llm, prompt(100), 1)


def test_a_document_on_disk_takes_one_file() -> None:
    open_files = Path("/proc/self/fd")
    if not open_files.is_dir():
        pytest.skip("no list of open files here")
    llm = load(kv_policy=PRUNE, document_min=200, document_store="disk")
    greedy(llm, DOCUMENTS[0] + QUESTIONS[0], 1)
    before = len(list(open_files.iterdir()))
    greedy(llm, DOCUMENTS[1] + QUESTIONS[0], 1)
    assert [known.place for known in llm.documents] == ["context", "disk"]
    assert len(list(open_files.iterdir())) - before <= 2
