"""`Llama.last_prefill`: what it says is what the engine holds, and why nothing was pruned where nothing was."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from llama_fixtures import PRUNE, prompt, run_python, text
from llama_fixtures import load as load_real
from llama_fixtures import load_narrow as load

from asl_llamacpp import ASL, Llama, PrefillReport

DOCUMENT = prompt(150)
SIZES = "select_k=64,window=16"


def report_of(kv_policy: str | ASL, tokens: list[int] = DOCUMENT, load: Callable[..., Llama] = load) -> PrefillReport:
    llm = load(kv_policy=kv_policy)
    llm.eval(tokens)
    check_consistent(llm)
    assert llm.last_prefill is not None
    return llm.last_prefill


def check_consistent(llm: Llama) -> None:
    """What holds for every report, against the engine's own account of the context."""
    report, engine = llm.last_prefill, llm._engine
    assert report is not None and engine is not None and isinstance(llm.kv_policy, ASL)
    n, s = report.n_prompt, report.selection_layer
    layers = [engine.layer(il) for il in range(report.n_layer)]
    assert report.policy == str(llm.kv_policy)
    assert report.n_layer == engine.info().n_layer and n == llm.n_tokens
    assert report.cells == [layer.n_cells for layer in layers]
    assert report.kv_bytes == sum(layer.bytes for layer in layers) == engine.info().kv_bytes
    assert report.peak_kv_bytes >= report.kv_bytes > 0
    assert report.kv_bytes_full >= report.kv_bytes
    assert report.reason and "\n" not in report.reason
    assert (report.selected is None) == (s is None)
    if report.selected is not None:
        assert report.selected.dtype == np.int32 and report.n_selected == llm.kv_policy.select_k
        assert (np.diff(report.selected) > 0).all() and report.selected[0] >= 0
        window = llm.kv_policy.window
        np.testing.assert_array_equal(report.selected[-window:], np.arange(n - window, n))
        for il in range(s + 1, report.n_layer):
            if not layers[il].is_swa:
                np.testing.assert_array_equal(engine.positions(il), report.selected)
    if n > llm.kv_policy.select_k:
        assert report.seconds.keys() - {"copying"} == {"shallow", "selection", "deep", "total"}
        parts = sum(value for phase, value in report.seconds.items() if phase != "total")
        assert 0.9 * report.seconds["total"] - 0.05 <= parts <= report.seconds["total"]
        assert (report.seconds["deep"] > 0) == (s is not None)
    else:
        assert report.seconds.keys() == {"total"}
    assert all(value >= 0 for value in report.seconds.values())
    check_printing(report)


def check_printing(report: PrefillReport) -> None:
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert values["selected"] == (None if report.selected is None else report.selected.tolist())
    assert "selected" not in report.to_dict(include_selected=False)
    table = str(report).splitlines()
    assert len(table) <= 10 and max(map(len, table)) <= 160
    assert f"{report.n_prompt} tokens" in str(report) and report.reason in str(report)


# ---- why there ------------------------------------------------------------------------------------------------------


def test_layer_given() -> None:
    report = report_of(PRUNE)
    assert (report.selection_layer, report.forced, report.tau) == (14, True, None)
    assert report.reason == "fixed by layer=14"
    assert report.relative_variance == {}
    assert report.cells == [150] * 15 + [64] * 15


@pytest.mark.parametrize("layer", [0, 28])
def test_first_and_last_layers_that_prune(layer: int) -> None:
    report = report_of(f"asl:layer={layer},{SIZES}")
    assert report.selection_layer == layer
    assert report.cells == [150] * (layer + 1) + [64] * (29 - layer)


def test_last_layer_leaves_nothing_to_prune() -> None:
    report = report_of(f"asl:layer=29,{SIZES}")
    assert (report.selection_layer, report.selected, report.forced) == (None, None, False)
    assert "last layer" in report.reason
    assert report.cells == [150] * 30


def test_layer_forced_by_l_max() -> None:
    report = report_of(f"asl:tau=1e-9,l_min=10,l_max=13,{SIZES}")
    assert (report.selection_layer, report.forced, report.tau) == (13, True, 1e-9)
    assert report.reason.startswith("forced by l_max=13: relative variance never below tau=1e-09")
    assert list(report.relative_variance) == [10, 11, 12, 13]
    assert report.relative_variance[10] == 1


def test_l_max_auto() -> None:
    report = report_of(f"asl:tau=1e-9,{SIZES}")
    assert (report.selection_layer, report.forced) == (22, True)  # round(0.75 * 30)


def test_tau_that_never_fires() -> None:
    report = report_of(f"asl:tau=1e-9,l_min=10,l_max=none,{SIZES}")
    assert (report.selection_layer, report.selected, report.forced) == (None, None, False)
    assert report.reason.startswith("relative variance never below tau=1e-09 (lowest")
    assert list(report.relative_variance) == list(range(10, 30))
    assert report.cells == [150] * 30
    assert report.kv_bytes == report.kv_bytes_full


def test_tau_that_fires_at_once() -> None:
    report = report_of(f"asl:tau=100,l_min=12,{SIZES}")
    assert (report.selection_layer, report.forced, report.tau) == (12, False, 100)
    assert report.reason == "relative variance 1 < tau 100"
    assert report.relative_variance == {12: 1}


def test_tau_in_between_fires_where_the_ratio_falls_below_it() -> None:
    ratios = report_of(f"asl:tau=1e-9,l_min=7,l_max=none,{SIZES}", load=load_real).relative_variance
    lowest = min(ratios, key=ratios.__getitem__)
    assert 7 < lowest < 29, "the recorded prompt's ratios have a minimum inside"
    tau = 1.001 * ratios[lowest]
    expected = next(layer for layer, ratio in ratios.items() if ratio < tau)
    report = report_of(f"asl:tau={tau},l_min=7,l_max=none,{SIZES}", load=load_real)
    assert (report.selection_layer, report.forced) == (expected, False)
    assert report.reason.startswith("relative variance ") and "< tau" in report.reason
    for layer, ratio in report.relative_variance.items():
        assert ratio == ratios[layer]


# ---- prompts that fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 15, 16, 17, 63, 64])
def test_prompt_that_fits_is_not_pruned(n: int) -> None:
    """Around the window and up to select_k."""
    report = report_of(PRUNE, DOCUMENT[:n])
    assert (report.selection_layer, report.selected, report.forced) == (None, None, False)
    assert report.reason == f"the prompt's {n} tokens fit select_k=64"
    assert report.n_prompt == n and report.cells == [n] * 30
    assert report.relative_variance == {}


def test_one_token_more_is_pruned() -> None:
    report = report_of(PRUNE, DOCUMENT[:65])
    assert report.selection_layer == 14 and report.cells == [65] * 15 + [64] * 15


def test_memory_that_pruning_saves() -> None:
    """600 tokens need 1024 cells with their headroom, 64 tokens 512: the deep half is half as large."""
    llm = load(kv_policy=PRUNE, n_ctx=2048)
    llm.eval(prompt(300) + prompt(300))
    report = llm.last_prefill
    check_consistent(llm)
    per_cell = 2 * 3 * 64 * 2  # K and V, 3 heads of 64, f16
    assert report.kv_bytes == 15 * per_cell * (1024 + 512)
    assert report.kv_bytes_full == 30 * per_cell * 1024
    assert "25.0 % saved" in str(report)
    assert report.peak_kv_bytes == report.kv_bytes


def test_full_has_a_report_too() -> None:
    llm = load(kv_policy="full")
    llm.eval(DOCUMENT)
    report = llm.last_prefill
    assert report is not None
    assert (report.policy, report.n_prompt, report.n_layer) == ("full", 150, 30)
    assert (report.selection_layer, report.selected, report.tau, report.forced) == (None, None, None, False)
    assert report.kv_bytes == report.kv_bytes_full == report.peak_kv_bytes == 30 * 2 * 3 * 64 * 2 * 512
    assert report.seconds.keys() == {"total"}
    check_printing(report)


def test_full_reports_the_whole_prompt_after_prefix_reuse() -> None:
    llm = load(kv_policy="full")
    text(llm, DOCUMENT)
    text(llm, DOCUMENT + prompt(12, start=200))
    assert llm.last_prefill is not None and llm.last_prefill.n_prompt == 162


# ---- interleaved sliding windows ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gemma_question() -> str:
    filler = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.\n"
    key = "The pass key is 48213. Remember it. 48213 is the pass key.\n"
    return 17 * filler + key + 28 * filler + "\nWhat is the pass key? The pass key is"


def gemma_report(path: Path, question: str, **settings: object) -> PrefillReport:
    """Prefill, check the report, and see that the passkey is found."""
    llm = load(path, n_ctx=2048, n_ubatch=256, **settings)
    llm.eval(llm.tokenize(question.encode()))
    check_consistent(llm)
    report = llm.last_prefill
    assert "48213" in text(llm, question)
    again = llm.last_prefill
    # rings of cells keep too few to run nothing
    assert again is report or (again is not None and again.reused >= report.n_prompt - 32), "it was prefilled twice"
    assert 1100 < report.n_prompt < 1300
    return report


@pytest.mark.slow
def test_gemma_where_the_rule_has_too_few_layers(gemma_path: Path, gemma_question: str) -> None:
    """Of Gemma-3's 18 layers only 5, 11 and 17 see the whole prompt and give scores: l_max decides."""
    report = gemma_report(gemma_path, gemma_question, kv_policy="asl:select_k=256")
    assert (report.selection_layer, report.forced) == (14, True)
    assert "by the scores of layer 11" in report.reason
    assert list(report.relative_variance) == [11]
    assert report.cells == [report.n_prompt] * 15 + [256] * 3

    earlier = gemma_report(gemma_path, gemma_question, kv_policy="asl:select_k=256,layer=11")
    assert (earlier.selection_layer, earlier.reason) == (11, "fixed by layer=11")
    assert earlier.cells == [report.n_prompt] * 12 + [256] * 6
    assert earlier.kv_bytes < report.kv_bytes
    assert earlier.kv_bytes_full == report.kv_bytes_full, "what is saved must be measured against the same"


@pytest.mark.slow
def test_gemma_with_small_windows(gemma_path: Path, gemma_question: str) -> None:
    """Sliding-window layers keep a ring of cells; only full-attention layers shrink."""
    report = gemma_report(gemma_path, gemma_question, kv_policy="asl:select_k=256,layer=11", swa_full=False)
    assert [report.cells[il] for il in (5, 11, 17)] == [report.n_prompt, report.n_prompt, 256]
    assert all(count <= 512 + 256 for il, count in enumerate(report.cells) if il % 6 != 5)


def test_gemma_is_quiet(gemma_path: Path) -> None:
    """llama.cpp's note on the cache of sliding windows comes once, when a model is loaded, not at each prefill."""
    result = run_python(f"""
llm = load(Path({str(gemma_path)!r}), kv_policy="asl:select_k=64,layer=5")
print(file=sys.stderr)
print("prefill", file=sys.stderr)
llm.eval(list(range(100, 220)))
""")
    assert result.returncode == 0
    assert result.stderr.split("prefill\n", 1)[1] == ""
