"""The planner's single rules, in numbers that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from asl_llamacpp.budget.plan import Budget, BudgetError, KVShape, plan
from asl_llamacpp.engine.binding import LayerShape
from asl_llamacpp.policies import ASL, ASL2Pass, FastKV, Full, GemFilter, Policy, SnapKV

FULL_LAYER = LayerShape(n_head=8, n_head_kv=2, n_embd_k=128, n_embd_v=128, n_swa=0)
SHAPE = KVShape(layers=(FULL_LAYER,) * 20, n_ctx=8192)
CELL = 2 * (128 + 128)  # bytes of a cell of FULL_LAYER


def cells(n_tokens: int) -> int:
    return -(-(n_tokens + 256) // 256) * 256


@pytest.mark.parametrize("forced", range(11, 19))
def test_selection_is_forced_no_earlier_than_needed(forced: int) -> None:
    policy = ASL(select_k=1024, l_max=None, keep="heads").resolve(20)
    limit = CELL * ((forced + 1) * cells(5000) + (19 - forced) * cells(1024))
    planned = plan(policy, SHAPE, 5000, Budget("bytes", limit))
    assert planned.forced_layer == planned.policy.l_max == forced  # type: ignore[union-attr]
    assert planned.keep is None and planned.kv_bytes == planned.peak_kv_bytes == limit
    assert planned.cells == (cells(5000),) * (forced + 1) + (cells(1024),) * (19 - forced)
    assert f"after layer {forced} at the latest" in planned.reason
    later = plan(policy, SHAPE, 5000, Budget("bytes", limit - 1))
    assert (later.policy.l_max or 0) < forced or later.keep is not None  # type: ignore[union-attr]


def test_a_limit_before_the_rule_compresses() -> None:
    """The rule can first fire one layer after l_min: a limit before that gives it no chance, so layers shrink."""
    policy = ASL(select_k=1024, keep="heads").resolve(20)
    assert policy.l_min == 7
    planned = plan(policy, SHAPE, 5000, Budget("bytes", CELL * (8 * cells(5000) + 12 * cells(1024))))
    assert planned.policy == policy and planned.forced_layer is None
    assert planned.keep is not None and 1024 < planned.keep < 5000


@pytest.mark.parametrize(
    "late", [ASL(select_k=1024, keep="heads", l_min=15, l_max=15), ASL(select_k=1024, keep="heads", l_min=13, tau=0.6)]
)
@pytest.mark.parametrize("forced", [8, 11, 14])
def test_selection_is_forced_before_a_late_rule_too(late: ASL, forced: int) -> None:
    """A calibration may let the rule begin late; a memory limit forces as if it began where the paper's does."""
    limit = CELL * ((forced + 1) * cells(5000) + (19 - forced) * cells(1024))
    planned = plan(late.resolve(20), SHAPE, 5000, Budget("bytes", limit))
    assert (planned.forced_layer, planned.keep, planned.kv_bytes) == (forced, None, limit)
    assert isinstance(planned.policy, ASL)
    assert forced in (planned.policy.layer, planned.policy.l_max)
    assert f"after layer {forced} at the latest, instead of 15" in planned.reason


def test_an_l_max_that_fits_stays() -> None:
    policy = ASL(select_k=1024, l_max=12).resolve(20)
    planned = plan(policy, SHAPE, 5000, Budget("bytes", CELL * 20 * cells(5000)))
    assert (planned.policy, planned.forced_layer, planned.keep, planned.reason) == (policy, None, None, "")


@pytest.mark.parametrize(
    "policy", [ASL(layer=14, select_k=1024, keep="heads"), FastKV(layer=14, select_k=1024, keep="heads")]
)
def test_a_fixed_layer_fits_or_is_compressed(policy: ASL | FastKV) -> None:
    limit = CELL * (15 * cells(5000) + 5 * cells(1024))
    fits = plan(policy.resolve(20), SHAPE, 5000, Budget("bytes", limit))
    assert (fits.keep, fits.kv_bytes, fits.forced_layer) == (None, limit, None)
    short = plan(policy.resolve(20), SHAPE, 5000, Budget("bytes", limit - 1))
    assert short.policy == policy.resolve(20) and short.forced_layer is None
    assert (
        short.keep == cells(5000) - 512
    )  # one step of 256 cells below what 5000 tokens take, the answer's 256 left out


def test_the_first_and_the_last_step_of_compression() -> None:
    one_less = plan(SnapKV(), SHAPE, 4865, Budget("bytes", CELL * 20 * 5120))
    assert one_less.keep == 4864 and cells(4865) == 5376
    with pytest.raises(BudgetError) as caught:
        plan(SnapKV(window=256), SHAPE, 4865, Budget("bytes", 1))
    assert caught.value.needed == CELL * 20 * cells(257)  # the window alone would take a step less, but is not enough


def test_a_second_pass_takes_the_largest_select_k_that_fits() -> None:
    planned = plan(GemFilter().resolve(20), SHAPE, 5000, Budget("bytes", CELL * 20 * 1536))
    assert planned.policy == replace(GemFilter().resolve(20), select_k=1280)
    assert planned.kv_bytes == CELL * 20 * 1536
    assert planned.reason.startswith("select_k lowered from 2048 to 1280")


@pytest.mark.parametrize("budget", [Budget("tokens", 2048), Budget("bytes", CELL * 20 * cells(2048))])
def test_a_second_pass_that_may_never_come_is_forced(budget: Budget) -> None:
    """asl-2pass without l_max keeps the whole first pass if the rule never fires."""
    planned = plan(ASL2Pass(l_max=None).resolve(20), SHAPE, 5000, budget)
    assert planned.policy == replace(ASL2Pass(l_max=None).resolve(20), l_max=19)
    assert planned.forced_layer == 19 and planned.kv_bytes == CELL * 20 * cells(2048)
    early = plan(ASL2Pass(l_max=12).resolve(20), SHAPE, 5000, budget)
    assert early.forced_layer is None and early.policy.l_max == 12  # type: ignore[union-attr]


def test_budgets_in_tokens() -> None:
    n, tokens = 5000, Budget("tokens", 600)
    assert plan(ASL(keep="heads").resolve(20), SHAPE, n, tokens).keep == 600
    for policy in (ASL(), ASL(keep="selected"), FastKV()):  # the selected tokens' cells, unless heads are to choose
        planned = plan(policy.resolve(20), SHAPE, n, tokens)
        assert planned.keep is None and planned.cells == (cells(600),) * 20
        assert planned.policy == replace(policy.resolve(20), keep="selected", select_k=600)
    assert plan(SnapKV(), SHAPE, n, tokens).policy == SnapKV(budget=600)
    assert plan(GemFilter().resolve(20), SHAPE, n, tokens).policy.select_k == 600  # type: ignore[union-attr]
    assert plan(GemFilter(select_k=500).resolve(20), SHAPE, n, tokens).policy.select_k == 500  # type: ignore[union-attr]
    assert plan(FastKV(keep="heads").resolve(20), SHAPE, n, Budget("fraction", 0.1)).keep == 500
    assert (
        plan(FastKV(keep="heads").resolve(20), SHAPE, n, Budget("fraction", 0.001)).keep == 33
    )  # the window and one more
    with pytest.raises(BudgetError, match=r"kv_budget=32 must exceed window=32"):
        plan(FastKV().resolve(20), SHAPE, n, Budget("tokens", 32))


def test_full_is_refused_or_left_alone() -> None:
    with pytest.raises(BudgetError, match="'full' keeps all 5000 tokens"):
        plan(Full(), SHAPE, 5000, Budget("tokens", 4999))
    assert plan(Full(), SHAPE, 5000, Budget("tokens", 5000)).keep is None
    size = CELL * 20 * 8192  # all of n_ctx, whatever the prompt
    assert plan(Full(), SHAPE, 1, Budget("bytes", size)).kv_bytes == size
    with pytest.raises(BudgetError, match=f"{size:,} bytes .* n_ctx=8192 cells in 20 layers .* lower n_ctx") as caught:
        plan(Full(), SHAPE, 1, Budget("bytes", size - 1))
    assert caught.value.needed == size


def test_snapkv_holds_two_copies_of_the_layer_that_it_compresses() -> None:
    planned = plan(SnapKV(), SHAPE, 5000, Budget("tokens", 1024))
    assert planned.kv_bytes == CELL * 20 * cells(1024)
    assert planned.peak_kv_bytes == CELL * (20 * cells(1024) + cells(5000))


def test_a_first_pass_leaves_its_window() -> None:
    planned = plan(GemFilter(layer=9, select_k=64), SHAPE, 5000, None)
    assert planned.kv_bytes == CELL * 20 * 512
    assert planned.peak_kv_bytes == CELL * (10 * 512 + cells(5000)) > planned.kv_bytes


def test_sliding_windows_are_neither_compressed_nor_selected_from() -> None:
    sliding = replace(FULL_LAYER, n_swa=100)
    shape = KVShape(layers=(sliding, sliding, FULL_LAYER, sliding), n_ctx=8192, n_ubatch=512)
    ring = 768  # 100 + 512 rounded up
    planned = plan(FastKV(layer=0, select_k=512, keep="heads"), shape, 5000, Budget("tokens", 1024))
    assert planned.cells == (ring, ring, cells(1024), ring)
    assert plan(FastKV(layer=0, select_k=512), shape, 5000, None).cells == (
        ring,
        ring,
        cells(5000),
        ring,
    )  # layer 2 scores
    whole = replace(shape, swa_full=True)
    planned = plan(FastKV(layer=0, select_k=512, keep="heads"), whole, 5000, Budget("tokens", 1024))
    assert planned.cells == (cells(5000), cells(5000), cells(1024), cells(512))


def test_layers_without_attention_hold_nothing() -> None:
    shape = KVShape(layers=(FULL_LAYER, replace(FULL_LAYER, n_embd_k=0, n_embd_v=0)), n_ctx=1024)
    assert plan(SnapKV(), shape, 700, None).cells == (1024, 0)


def test_quantized_cells() -> None:
    f16, q8_0 = SHAPE.layer_bytes(0, 1024), replace(SHAPE, type_k=8, type_v=8).layer_bytes(0, 1024)
    assert f16 == 1024 * CELL
    assert q8_0 == pytest.approx(1024 * (128 // 32) * 34 * 2, abs=1024)
    with pytest.raises(ValueError, match="128 values a KV cell do not fill q4_k's blocks of 256"):
        replace(SHAPE, type_k=12)
    with pytest.raises(ValueError, match="no ggml type 999"):
        replace(SHAPE, type_v=999)


@pytest.mark.parametrize(("type_k", "type_v"), [(8, 8), (8, 1), (1, 2)])
def test_layers_that_are_quantized_run_with_f16(type_k: int, type_v: int) -> None:
    """Beside all that is there when the last large layer runs; stock llama.cpp needs no more than it holds."""
    shape, f16 = replace(SHAPE, type_k=type_k, type_v=type_v), CELL * cells(5000)
    one, last = shape.layer_bytes(0, cells(5000)), shape.layer_bytes(0, cells(512))
    planned = plan(FastKV(layer=17, select_k=512), shape, 5000, None)
    assert planned.kv_bytes == 18 * one + 2 * last
    assert planned.peak_kv_bytes == 18 * one + f16 > planned.kv_bytes
    planned = plan(SnapKV(), shape, 5000, Budget("tokens", 512))
    assert planned.peak_kv_bytes == 19 * last + one + max(last, f16)
    stock = plan(Full(), shape, 5000, None)
    assert stock.peak_kv_bytes == stock.kv_bytes


def test_transposed_values_are_as_wide_as_the_widest_layer() -> None:
    shape = replace(SHAPE, layers=(FULL_LAYER, replace(FULL_LAYER, n_embd_v=64)))
    assert replace(shape, flash_attn=False).cell_bytes(1) == 2 * (128 + 128) > shape.cell_bytes(1)


@pytest.mark.parametrize("n_tokens", [0, 8193])
def test_a_prompt_outside_the_context_is_refused(n_tokens: int) -> None:
    with pytest.raises(ValueError, match=f"prompt of {n_tokens} tokens does not fit .* n_ctx=8192"):
        plan(SnapKV(), SHAPE, n_tokens, None)


@pytest.mark.parametrize("policy", [ASL(), FastKV(), GemFilter(), ASL2Pass(), ASL(l_max=12)])
def test_an_unresolved_policy_is_refused(policy: Policy) -> None:
    with pytest.raises(ValueError, match="'auto'"):
        plan(policy, SHAPE, 5000, None)
