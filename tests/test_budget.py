"""The planner: whatever model, prompt, policy and budget, what the engine then allocates is never above the budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planned_prefill import allocate, possible_layers, scored_layers

from asl_llamacpp.budget import Budget, BudgetError, KVShape, Plan, plan
from asl_llamacpp.engine.binding import LayerShape
from asl_llamacpp.policies import ASL, ASL2Pass, FastKV, Full, GemFilter, Policy, SnapKV

FULL_LAYER = LayerShape(n_head=8, n_head_kv=2, n_embd_k=128, n_embd_v=128, n_swa=0)
SHAPE = KVShape(layers=(FULL_LAYER,) * 20, n_ctx=8192)
CELL = 2 * (128 + 128)  # bytes of a cell of FULL_LAYER


@dataclass(frozen=True)
class Case:
    policy: Policy
    shape: KVShape
    n_tokens: int
    headroom: int

    def plan(self, budget: Budget | None, **options: Any) -> Plan:
        return plan(self.policy, self.shape, self.n_tokens, budget, self.headroom, **options)


@st.composite
def layers(draw: st.DrawFn) -> LayerShape:
    n_head_kv = draw(st.integers(1, 4))
    n_swa = draw(st.sampled_from([0, 0, 48, 512]))
    return LayerShape(8, n_head_kv, 64 * n_head_kv, draw(st.sampled_from([32, 64])) * n_head_kv, n_swa)


@st.composite
def policies(draw: st.DrawFn, n_layer: int) -> Policy:
    kind = draw(st.sampled_from([ASL, FastKV, SnapKV, GemFilter, ASL2Pass]))
    window = 1 if kind is GemFilter else draw(st.sampled_from([1, 16, 32, 400]))
    values: dict[str, Any] = {} if kind is GemFilter else {"window": window}
    if kind is SnapKV:
        return SnapKV(budget=window + draw(st.integers(1, 3000)), **values)
    values["select_k"] = window + draw(st.integers(1, 3000))
    layer = draw(st.integers(0, n_layer - 1))
    if kind is FastKV or kind is GemFilter:
        return kind(layer=layer, **values)
    l_min = draw(st.integers(1, n_layer - 1))
    l_max = draw(st.none() | st.integers(l_min, n_layer - 1))
    return kind(l_obs=2, l_min=l_min, l_max=l_max, layer=draw(st.none() | st.just(layer)), **values)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    some = draw(st.lists(layers(), min_size=2, max_size=14))
    n_ctx = 256 * draw(st.integers(1, 32))
    shape = KVShape(
        layers=tuple(some), n_ctx=n_ctx, n_ubatch=draw(st.sampled_from([64, 512])), swa_full=draw(st.booleans())
    )
    headroom = draw(st.sampled_from([0, 100, 256, 1000]))
    return Case(draw(policies(len(some))), shape, draw(st.integers(1, n_ctx)), headroom)


def budgets_in_bytes(case: Case, share: float) -> Budget:
    """A share of what the whole prompt would take."""
    return Budget("bytes", max(1, int(case.plan(None).kv_bytes * share)))


# ---- never above the budget -----------------------------------------------------------------------------------------


@settings(max_examples=400, deadline=None)
@given(cases(), st.floats(0.01, 1.2), st.booleans(), st.data())
def test_bytes_are_never_exceeded(case: Case, share: float, limit_peak: bool, data: st.DataObject) -> None:
    budget = budgets_in_bytes(case, share)
    try:
        planned = case.plan(budget, limit_peak=limit_peak)
    except BudgetError as error:
        assert error.needed is not None and error.needed > budget.value
        assert f"{error.needed:,} bytes" in str(error) and f"{budget.value:,} bytes" in str(error)
        enough = case.plan(Budget("bytes", error.needed), limit_peak=limit_peak)  # the number that it names will do
        assert (enough.peak_kv_bytes if limit_peak else enough.kv_bytes) == error.needed
        return
    at = data.draw(st.sampled_from(possible_layers(planned, case.shape, case.n_tokens)))
    done = allocate(planned, case.shape, case.n_tokens, case.headroom, at)
    assert done.now <= planned.kv_bytes <= budget.value
    assert done.peak <= planned.peak_kv_bytes
    assert planned.limit == budget.value
    assert not limit_peak or planned.peak_kv_bytes <= budget.value


@settings(max_examples=200, deadline=None)
@given(cases(), st.one_of(st.integers(1, 4000), st.floats(0.001, 1)), st.data())
def test_tokens_are_never_exceeded(case: Case, value: float, data: st.DataObject) -> None:
    budget = Budget("fraction" if isinstance(value, float) else "tokens", value)
    window = case.policy.window  # type: ignore[union-attr]
    try:
        planned = case.plan(budget)
    except BudgetError as error:
        assert budget.kind == "tokens" and value <= window
        assert f"window={window}" in str(error)
        return
    allowed = max(window + 1, int(value * case.n_tokens + 1e-9)) if budget.kind == "fraction" else int(value)
    at = data.draw(st.sampled_from(possible_layers(planned, case.shape, case.n_tokens)))
    done = allocate(planned, case.shape, case.n_tokens, case.headroom, at)
    scored = scored_layers(case.shape)
    assert all(done.held[il] <= allowed for il in scored)
    assert done.now <= planned.kv_bytes and done.peak <= planned.peak_kv_bytes
    assert planned.limit is None


@settings(max_examples=200, deadline=None)
@given(cases(), st.data())
def test_the_worst_case_is_tight(case: Case, data: st.DataObject) -> None:
    """Without a budget nothing changes, and some layer at which the rule may fire takes just what was planned."""
    planned = case.plan(None)
    assert planned.policy == case.policy and planned.limit is None and planned.forced_layer is None
    assert planned.keep == (case.policy.budget if isinstance(case.policy, SnapKV) else None)
    layers = possible_layers(planned, case.shape, case.n_tokens)
    done = [allocate(planned, case.shape, case.n_tokens, case.headroom, at) for at in layers]
    assert max(one.now for one in done) == planned.kv_bytes
    if not isinstance(case.policy, GemFilter):  # it may take a layer before the planned one
        assert max(one.peak for one in done) == planned.peak_kv_bytes
    assert all(one.peak <= planned.peak_kv_bytes for one in done)


# ---- no more is given up than must be -------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(cases(), st.floats(0.05, 1.2))
def test_compression_keeps_as_much_as_fits(case: Case, share: float) -> None:
    budget = budgets_in_bytes(case, share)
    try:
        planned = case.plan(budget)
    except BudgetError:
        return
    if planned.keep is None or planned.keep >= case.n_tokens:
        return
    at = possible_layers(planned, case.shape, case.n_tokens)[-1]
    looser = replace(planned, keep=planned.keep + 1)
    assert allocate(looser, case.shape, case.n_tokens, case.headroom, at).now > budget.value


def cells(n_tokens: int) -> int:
    return -(-(n_tokens + 256) // 256) * 256


@pytest.mark.parametrize("forced", range(11, 19))
def test_selection_is_forced_no_earlier_than_needed(forced: int) -> None:
    policy = ASL(select_k=1024, l_max=None).resolve(20)
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
    policy = ASL(select_k=1024).resolve(20)
    assert policy.l_min == 7
    planned = plan(policy, SHAPE, 5000, Budget("bytes", CELL * (8 * cells(5000) + 12 * cells(1024))))
    assert planned.policy == policy and planned.forced_layer is None
    assert planned.keep is not None and 1024 < planned.keep < 5000


def test_an_l_max_that_fits_stays() -> None:
    policy = ASL(select_k=1024, l_max=12).resolve(20)
    planned = plan(policy, SHAPE, 5000, Budget("bytes", CELL * 20 * cells(5000)))
    assert (planned.policy, planned.forced_layer, planned.keep, planned.reason) == (policy, None, None, "")


@pytest.mark.parametrize("policy", [ASL(layer=14, select_k=1024), FastKV(layer=14, select_k=1024)])
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


# ---- single rules ---------------------------------------------------------------------------------------------------


def test_budgets_in_tokens() -> None:
    n, tokens = 5000, Budget("tokens", 600)
    assert plan(ASL().resolve(20), SHAPE, n, tokens).keep == 600
    assert plan(SnapKV(), SHAPE, n, tokens).policy == SnapKV(budget=600)
    assert plan(GemFilter().resolve(20), SHAPE, n, tokens).policy.select_k == 600  # type: ignore[union-attr]
    assert plan(GemFilter(select_k=500).resolve(20), SHAPE, n, tokens).policy.select_k == 500  # type: ignore[union-attr]
    assert plan(FastKV().resolve(20), SHAPE, n, Budget("fraction", 0.1)).keep == 500
    assert plan(FastKV().resolve(20), SHAPE, n, Budget("fraction", 0.001)).keep == 33  # the window and one more
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
    planned = plan(FastKV(layer=0, select_k=512), shape, 5000, Budget("tokens", 1024))
    assert planned.cells == (ring, ring, cells(1024), ring)
    assert plan(FastKV(layer=0, select_k=512), shape, 5000, None).cells == (
        ring,
        ring,
        cells(5000),
        ring,
    )  # layer 2 scores
    whole = replace(shape, swa_full=True)
    planned = plan(FastKV(layer=0, select_k=512), whole, 5000, Budget("tokens", 1024))
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
