"""`kv_budget` through `Llama`: held after the prefill and while decoding, refused before work where nothing fits."""

from __future__ import annotations

from collections import Counter

import pytest
from llama_fixtures import cells, greedy, prompt
from llama_fixtures import load_narrow as load

from asl_llamacpp import BudgetError

N = 400
DOCUMENT = prompt(N)
SIZES = "select_k=96,window=16"
ONE_CELL = 2 * 3 * 64 * 2  # bytes of K and V of one cell in one layer: 3 KV heads of 64, f16


def layer_bytes(n_cells: int) -> int:
    return n_cells * ONE_CELL


@pytest.mark.parametrize("policy", [f"asl:keep=heads,{SIZES}", f"asl:keep=heads,l_max=none,tau=1e-9,{SIZES}"])
def test_bytes_force_the_selection_in_time(policy: str) -> None:
    """Layers 0..12 with 768 cells and 17 with 512: selection must come after layer 12 at the latest."""
    limit = 13 * layer_bytes(768) + 17 * layer_bytes(512)
    llm = load(kv_policy=policy, kv_budget=f"{limit}B", n_ctx=1024)
    llm.eval(DOCUMENT)
    report = llm.last_prefill
    assert report is not None and report.selection_layer is not None and report.selection_layer <= 12
    assert report.forced and "layer 12" in report.reason
    assert report.kv_bytes <= limit == report.limit_bytes
    assert cells(llm) == [N] * (report.selection_layer + 1) + [96] * (29 - report.selection_layer)


def test_bytes_compress_where_selection_alone_does_not_suffice() -> None:
    limit = 30 * layer_bytes(512)
    llm = load(kv_policy=f"asl:keep=heads,{SIZES}", kv_budget=f"{limit}B", n_ctx=1024)
    llm.eval(DOCUMENT)
    report = llm.last_prefill
    assert report is not None and report.keep == 256
    assert report.kv_bytes <= limit
    assert max(cells(llm)) == 256


def test_bytes_leave_the_selected_tokens_cells_unless_heads_are_to_choose() -> None:
    limit = 13 * layer_bytes(768) + 17 * layer_bytes(512)
    llm = load(kv_policy=f"asl:{SIZES}", kv_budget=f"{limit}B", n_ctx=1024)
    llm.eval(DOCUMENT)
    report = llm.last_prefill
    assert report is not None and report.keep is None and report.kv_bytes <= limit
    assert cells(llm) == [96] * 30


def test_what_cannot_fit_is_refused_with_the_numbers_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 30 * layer_bytes(512)
    llm = load(kv_policy="snapkv:window=16", kv_budget=f"{limit}B", n_ctx=1024)
    answer = greedy(llm, DOCUMENT, 3)
    with monkeypatch.context() as patch, pytest.raises(BudgetError, match="at least"):
        patch.setattr(llm.pruned_cache, "headroom", lambda n: 2000)
        llm.eval(DOCUMENT)
    llm.reset()
    assert greedy(llm, DOCUMENT, 3) == answer


@pytest.mark.parametrize("budget", [None, 2048, f"{30 * layer_bytes(768)}B"])
@pytest.mark.parametrize("policy", ["snapkv:window=16", f"gemfilter:{SIZES.split(',')[0]}"])
def test_a_decoded_token_asks_the_engine_for_nothing(
    monkeypatch: pytest.MonkeyPatch, policy: str, budget: object
) -> None:
    """But where the room that there was is used up. Tokens beyond n_tokens are removed once, as the parent does."""
    llm = load(kv_policy=policy, kv_budget=budget, n_ctx=1024)
    llm.eval(DOCUMENT)
    called: Counter[str] = Counter()

    def count(owner: object, name: str) -> None:
        method = getattr(owner, name)

        def counted(*arguments: object) -> object:
            called[name] += 1
            return method(*arguments)

        monkeypatch.setattr(owner, name, counted)

    for name in ("layer", "info", "make_room"):
        count(llm._engine, name)
    count(llm._ctx, "kv_cache_seq_rm")
    llm.eval([5])
    called.clear()
    for _ in range(20):
        llm.eval([5])
    assert called == {"kv_cache_seq_rm": 20}
    llm.n_tokens -= 10
    for _ in range(20):
        llm.eval([5])
    assert called == {"kv_cache_seq_rm": 40}
    assert llm.n_tokens == N + 31


def test_an_answer_may_not_outgrow_the_budget() -> None:
    limit = 30 * layer_bytes(512)
    llm = load(kv_policy="snapkv:window=16", kv_budget=f"{limit}B", n_ctx=1024)
    with pytest.raises(BudgetError, match=r"answer needs more KV.*max_tokens"):
        greedy(llm, DOCUMENT, 400)
    assert llm._engine is not None and llm._engine.info().kv_bytes <= limit
    assert llm.n_tokens == N + 256
    assert greedy(llm, DOCUMENT, 3) == greedy(load(kv_policy="snapkv:window=16", kv_budget=256), DOCUMENT, 3)


@pytest.mark.parametrize("budget", [200, 0.5])
def test_full_keeps_everything_or_refuses(budget: float) -> None:
    llm = load(kv_policy="full", kv_budget=budget)
    with pytest.raises(BudgetError, match=r"kv_policy='full' keeps all 400 tokens.*allows 200"):
        llm.eval(DOCUMENT)
    if budget == 200:
        llm.eval(DOCUMENT[:200])


def test_full_is_refused_when_its_context_is_larger_than_the_bytes() -> None:
    with pytest.raises(BudgetError, match="lower n_ctx"):
        load(kv_policy="full", kv_budget="1MiB")
    load(kv_policy="full", kv_budget="1GiB").eval(DOCUMENT)


@pytest.mark.parametrize("budget", [0, -1, 1.5, "2 parsecs", "-1GiB", float("nan")])
def test_bad_budgets(budget: object) -> None:
    with pytest.raises(ValueError, match="kv_budget"):
        load(kv_budget=budget)


def test_budget_within_the_window() -> None:
    llm = load(kv_policy="snapkv", kv_budget=32)
    with pytest.raises(BudgetError, match="must exceed window=32"):
        llm.eval(DOCUMENT)
