"""Plans held against the buffers of the engine, and of stock llama.cpp."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from llama_fixtures import load, prompt

import asl_llamacpp
from asl_llamacpp.budget.model_shape import kv_type, read_shape, stock_kv_bytes
from asl_llamacpp.budget.plan import BudgetError, KVShape, Plan, parse_budget, plan
from asl_llamacpp.budget.usage import usage
from asl_llamacpp.engine.binding import LayerShape
from asl_llamacpp.policies import Full, parse_policy
from asl_llamacpp.policies.answers import Pass
from asl_llamacpp.prefill.report import PrefillReport

SLACK = 1024  # bytes by which a plan may exceed a layer's buffer

N = 600
TINY_TOKENS = [1, *(3 + 7 * i % 256 for i in range(N - 1))]


@contextmanager
def prefilled(path: Path, tokens: list[int], policy: str, budget: Any, **settings: Any) -> Iterator[asl_llamacpp.Llama]:
    with closing(load(path, n_ctx=1024, kv_policy=policy, kv_budget=budget, **settings)) as llm:
        llm.eval(tokens)
        yield llm


def planned(path: Path, n_tokens: int, policy: str, budget: Any, **settings: Any) -> Plan:
    layers = read_shape(path).layers
    shape = KVShape(layers=layers, n_ctx=1024, n_ubatch=min(512, settings.pop("n_ubatch", 512)), **settings)
    parsed = parse_policy(policy)
    return plan(
        parsed if isinstance(parsed, Full) else parsed.resolve(len(layers)), shape, n_tokens, parse_budget(budget)
    )


def close(want: Plan, got: PrefillReport) -> None:
    """The plan is what the engine took, or a little more."""
    slack = SLACK * len(want.cells)
    assert got.kv_bytes <= want.kv_bytes <= got.kv_bytes + slack
    assert got.peak_kv_bytes <= want.peak_kv_bytes <= got.peak_kv_bytes + slack + SLACK  # one layer may be there twice
    assert got.host_bytes == want.host_bytes


def test_layers_are_read_without_weights(smollm2_path: Path, tiny_path: Callable[[str], Path]) -> None:
    shape = read_shape(smollm2_path)
    assert shape.layers == (LayerShape(n_head=9, n_head_kv=3, n_embd_k=192, n_embd_v=192, n_swa=0),) * 30
    assert (shape.n_embd, shape.n_ctx_train, shape.unsupported) == (576, 8192, None)
    assert 0 < smollm2_path.stat().st_size - shape.weight_bytes < 4 * 2**20  # metadata and padding
    assert [layer.n_swa for layer in read_shape(tiny_path("tiny-gemma2")).layers] == [48, 0] * 3
    with pytest.raises(ValueError, match="cannot load"):
        read_shape(Path(__file__))


def test_a_forced_layer_takes_what_was_planned(smollm2_path: Path) -> None:
    policy = "asl:layer=14,select_k=256,window=32"
    want = planned(smollm2_path, N, policy, None)
    assert want.cells == (1024,) * 15 + (512,) * 15
    tokens = [*prompt(N // 2), *prompt(N // 2)]
    with prefilled(smollm2_path, tokens, policy, None) as llm:
        assert llm.last_prefill is not None and llm.last_prefill.selection_layer == 14
        close(want, llm.last_prefill)


@pytest.mark.parametrize("model", ["tiny-llama", "tiny-gemma2"])
@pytest.mark.parametrize("types", [{}, {"type_k": kv_type("q8_0"), "type_v": kv_type("q8_0")}], ids=["f16", "q8_0"])
@pytest.mark.parametrize("swa_full", [False, True], ids=["ring", "swa_full"])
@pytest.mark.parametrize(
    ("policy", "budget"),
    [
        ("asl:l_obs=2,l_min=2,layer=3,select_k=200", None),
        ("asl:l_obs=2,l_min=2,layer=3,select_k=200", 300),
        ("fastkv:select_k=200", "40%"),
        ("fastkv:select_k=200,keep=selected", None),
        ("fastkv:select_k=200,keep=selected", 100),
        ("asl:l_obs=2,l_min=2,layer=5,select_k=200,keep=selected", "40%"),
        ("asl:l_obs=2,l_min=2,l_max=none,tau=1e-9,select_k=200,keep=selected", 150),
        ("asl:l_obs=2,l_min=2,layer=3,select_k=200,keep=heads", None),
        ("snapkv", 100),
        ("gemfilter:layer=3,select_k=300", 100),
        ("asl-2pass:l_obs=2,l_min=2,layer=3,select_k=300", None),
    ],
)
def test_every_policy_takes_what_was_planned(
    tiny_path: Callable[[str], Path], model: str, policy: str, budget: Any, swa_full: bool, types: dict[str, int]
) -> None:
    want = planned(tiny_path(model), N, policy, budget, swa_full=swa_full, n_ubatch=128, **types)
    settings = {"swa_full": swa_full, "n_ubatch": 128, **types}
    with prefilled(tiny_path(model), TINY_TOKENS, policy, budget, **settings) as llm:
        assert llm.last_prefill is not None
        close(want, llm.last_prefill)


@pytest.mark.parametrize("model", ["tiny-llama", "tiny-gemma2"])
@pytest.mark.parametrize(
    "policy", ["asl:keep=heads,l_obs=2,l_min=2,tau=1e-9,l_max=none,select_k=100", "snapkv", "fastkv:select_k=200"]
)
def test_bytes_are_kept_by_the_engine(tiny_path: Callable[[str], Path], model: str, policy: str) -> None:
    """The rule of this asl never fires by itself: the budget forces it."""
    path = tiny_path(model)
    limit = usage(KVShape(layers=read_shape(path).layers, n_ctx=1024), Pass((N,) * 4 + (100,) * 2), 256).kv_bytes
    with prefilled(path, TINY_TOKENS, policy, f"{limit}B", swa_full=False) as llm:
        report = llm.last_prefill
        assert report is not None and report.kv_bytes <= limit == report.limit_bytes
        close(planned(path, N, policy, f"{limit}B"), report)
        if policy.startswith("asl"):
            assert report.forced and report.selection_layer == 3
            assert "after layer 3 at the latest" in report.reason
    with closing(load(path, n_ctx=1024, kv_policy=policy, kv_budget="10KiB")) as llm:
        with pytest.raises(BudgetError, match="at least"):
            llm.eval(TINY_TOKENS)
        assert llm.n_tokens == 0 and llm.last_prefill is None


@pytest.mark.parametrize("model", ["smollm2", "tiny-llama", "tiny-gemma2"])
@pytest.mark.parametrize("settings", [{}, {"swa_full": True}, {"type_k": 8}, {"n_ubatch": 64, "n_ctx": 2000}])
def test_stock_takes_what_was_planned(
    smollm2_path: Path, tiny_path: Callable[[str], Path], model: str, settings: dict[str, int]
) -> None:
    path = smollm2_path if model == "smollm2" else tiny_path(model)
    options: dict[str, Any] = {"n_ctx": 8192, "flash_attn": False, **settings}
    shape = KVShape(layers=read_shape(path).layers, **options)
    stock = stock_kv_bytes(path, shape)
    assert stock <= plan(Full(), shape, 1, None).kv_bytes <= stock + SLACK * len(shape.layers)
