"""`keep`, what the layers before the selection hold, through `Llama`: answers, chat turns, states, reports."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from llama_fixtures import cells, greedy, logits, prompt
from llama_fixtures import load_narrow as load

from asl_llamacpp import ASL, FastKV, Llama, PrefillReport, Progress, parse_policy

N, K = 400, 96
DOCUMENT = prompt(N)
SIZES = f"select_k={K},window=16"
SELECTED = f"asl:layer=14,{SIZES},keep=selected"
ONE_LAYER = 2 * 3 * 64 * 2  # bytes of K and V of one cell: 3 KV heads of 64, f16

WAYS: dict[str, dict[str, Any]] = {
    "in place": {"kv_policy": SELECTED},
    "by the host": {"kv_policy": SELECTED, "kv_budget": K},
    "in bytes": {"kv_policy": SELECTED, "kv_budget": f"{30 * 512 * ONE_LAYER}B"},
    "select_k lowered": {"kv_policy": SELECTED.replace(str(K), "300"), "kv_budget": K},
    "fastkv": {"kv_policy": f"fastkv:layer=14,{SIZES},keep=selected", "kv_budget": 0.5},
}


def report_of(llm: Llama) -> PrefillReport:
    assert llm.last_prefill is not None
    return llm.last_prefill


@pytest.mark.parametrize("way", WAYS)
def test_all_layers_hold_the_selected_tokens_whatever_the_way(way: str) -> None:
    """The same tokens as without `keep`, the same first logits; then every way answers alike."""
    with closing(load(kv_policy=f"asl:layer=14,{SIZES}")) as llm:
        llm.eval(DOCUMENT)
        chosen, first = report_of(llm).selected, logits(llm)
        assert cells(llm) == [N] * 15 + [K] * 15
    with closing(load(kv_policy=SELECTED)) as llm:
        want = greedy(llm, DOCUMENT, 8)
        last = logits(llm)
    with closing(load(**WAYS[way])) as llm:
        llm.eval(DOCUMENT)
        report = report_of(llm)
        np.testing.assert_array_equal(report.selected, chosen)
        assert logits(llm).tobytes() == first.tobytes(), "the prompt itself is not touched"
        assert cells(llm) == report.cells == [K] * 30
        assert llm._engine is not None and llm._engine.info().n_groups == 1
        assert llm._engine.positions(3).tolist() == chosen.tolist()  # type: ignore[union-attr]
        assert greedy(llm, DOCUMENT, 8) == want
        assert logits(llm).tobytes() == last.tobytes()


def test_the_report_and_the_plan_tell_what_was_where() -> None:
    """768 cells for the prompt and 512 for what is kept, a layer; 15 layers wait."""
    with closing(load(kv_policy=SELECTED, kv_budget=K, n_ctx=1024)) as llm:
        llm.eval(DOCUMENT)
        report, planned = report_of(llm), llm.pruned_cache.plan(N)  # type: ignore[union-attr]
        assert report.host_bytes == planned.host_bytes == 15 * N * ONE_LAYER
        assert report.kv_bytes == report.peak_kv_bytes == planned.peak_kv_bytes == 30 * 512 * ONE_LAYER
        assert report.kv_bytes_full == 30 * 768 * ONE_LAYER
        assert f"layers 0-29: {K}" in str(report) and "4.4 MiB waited on the host" in str(report)
        assert report.to_dict()["host_bytes"] == report.host_bytes and "copying" in report.seconds
    with closing(load(kv_policy=SELECTED.replace("14", "24"), n_ctx=1024)) as llm:
        llm.eval(DOCUMENT)
        report = report_of(llm)
        assert report.host_bytes == 0 and "host" not in str(report)
        assert report.peak_kv_bytes == (25 * 768 + 512) * ONE_LAYER
        assert report.kv_bytes == 30 * 512 * ONE_LAYER


@pytest.mark.parametrize("budget", [None, K])
def test_the_answer_grows_and_a_second_turn_goes_on(budget: int | None) -> None:
    """Past the room for 256 tokens, and with what is there for a prompt that continues."""
    more = prompt(30, start=100)
    with closing(load(kv_policy=SELECTED, kv_budget=budget, kv_reuse=True, n_ctx=1024)) as llm:
        answer = greedy(llm, DOCUMENT, 300)
        grown = report_of(llm)
        assert cells(llm) == [K + 299] * 30
        turn = [*DOCUMENT, *answer, *more]
        greedy(llm, turn, 2)
        assert report_of(llm) is grown, "nothing was prefilled anew"
        assert cells(llm) == [K + 300 + len(more) + 1] * 30
    with closing(load(kv_policy=SELECTED, kv_budget=budget, n_ctx=1024)) as llm:
        assert greedy(llm, DOCUMENT, 300) == answer
        greedy(llm, turn, 2)
        assert report_of(llm).n_prompt == len(turn) and cells(llm) == [K + 1] * 30


@pytest.mark.parametrize("way", ["in place", "by the host"])
def test_states_and_pickles_go_on(way: str) -> None:
    with closing(load(**WAYS[way])) as llm:
        greedy(llm, DOCUMENT, 3)
        state = pickle.loads(pickle.dumps(llm.save_state()))
        want = greedy(llm, [*llm._input_ids.tolist()], 1)
        llm.eval([5])
        after = logits(llm).tobytes()
        llm.reset()
        llm.eval(prompt(50))
        llm.load_state(state)
        assert report_of(llm).n_selected == K
        assert cells(llm) == [K + 2] * 30
        del want
        llm.eval([state.input_ids[-1]])
        llm.eval([5])
        assert np.isfinite(np.frombuffer(after, dtype=np.float32)).all()
        assert cells(llm) == [K + 4] * 30


def test_a_rule_that_fires_after_the_last_layer_still_evicts() -> None:
    with closing(load(kv_policy=f"asl:layer=29,{SIZES},keep=selected")) as llm:
        llm.eval(DOCUMENT)
        report = report_of(llm)
        assert (report.selection_layer, report.n_selected, cells(llm)) == (29, K, [K] * 30)
    with closing(load(kv_policy=f"asl:l_max=none,tau=1e-9,{SIZES},keep=selected", kv_budget=K)) as llm:
        llm.eval(DOCUMENT)
        assert report_of(llm).selection_layer == 29 and cells(llm) == [K] * 30
        assert "after layer 29 at the latest" in report_of(llm).reason
    with closing(load(kv_policy=f"asl:l_max=none,tau=1e-9,{SIZES},keep=selected")) as llm:
        llm.eval(DOCUMENT)
        assert report_of(llm).selection_layer is None and cells(llm) == [N] * 30


def test_each_head_keeps_its_own() -> None:
    """As a kv_budget compresses, without one: as many cells as go deeper."""
    with closing(load(kv_policy=f"fastkv:layer=14,{SIZES},keep=heads")) as llm:
        answer = greedy(llm, DOCUMENT, 4)
        assert report_of(llm).keep == K and cells(llm) == [K + 3] * 30
        assert llm._engine is not None and llm._engine.layer(0).is_compressed
    with closing(load(kv_policy=f"fastkv:layer=14,{SIZES},keep=heads", kv_budget=K)) as llm:
        assert greedy(llm, DOCUMENT, 4) == answer
    with closing(load(kv_policy=f"fastkv:layer=14,{SIZES},keep=heads", kv_budget=K // 2)) as llm:
        llm.eval(DOCUMENT)
        assert report_of(llm).keep == K // 2


def test_the_text_form_and_what_is_refused() -> None:
    assert parse_policy("asl:keep=selected") == ASL(keep="selected")
    assert str(FastKV(keep="heads")) == "fastkv:keep=heads" and str(ASL(keep="all")) == "asl"
    for bad in ("some", "", 1, None):
        with pytest.raises(ValueError, match="keep must be 'all' or 'selected' or 'heads', not"):
            ASL(keep=bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="asl-2pass keeps the selected tokens' cells"):
        parse_policy("asl-2pass:keep=selected")
    with pytest.raises(ValueError, match="no option 'keep'"):
        parse_policy("snapkv:keep=all")
    with pytest.raises(ValueError, match="document_store='device' needs all"):
        load(kv_policy=f"asl:{SIZES},keep=heads", document_store="device")


def test_interrupted_on_the_way_it_stays_usable() -> None:
    """In the shallow layers, which wait on the host then, and in the deep ones."""

    def stop_at(layer: int) -> Callable[[Progress], None]:
        def stop(progress: Progress) -> None:
            if progress.layer >= layer:
                raise KeyboardInterrupt

        return stop

    with closing(load(kv_policy=SELECTED, kv_budget=K)) as llm:
        want = greedy(llm, DOCUMENT, 4)
        for layer in (7, 15):
            llm.reset()
            llm.on_progress = stop_at(layer)
            with pytest.raises(KeyboardInterrupt):
                llm.eval(DOCUMENT)
            llm.on_progress = None
            assert greedy(llm, DOCUMENT, 4) == want
