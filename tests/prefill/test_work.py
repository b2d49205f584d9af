"""What a report says was run, layer by layer, is what the engine ran."""

from __future__ import annotations

from typing import Any

import pytest
from llama_fixtures import load_narrow

from asl_llamacpp import Llama
from asl_llamacpp.engine.binding import Engine
from asl_llamacpp.prefill.layer_run import LayerRun
from asl_llamacpp.prefill.report import PrefillReport

N_LAYER, WINDOW = 30, 16
SIZES = f"select_k=96,window={WINDOW}"
TEXT = "The mill stands at the river. It was built in 1871 by the brothers Hall. Nobody lives there. " * 14
FIRST, SECOND = "Who built the mill?", "Who lives there?"

POLICIES: dict[str, dict[str, Any]] = {
    "one layer": {"kv_policy": f"asl:layer=14,{SIZES}"},
    "the rule": {"kv_policy": f"asl:tau=0.9,{SIZES}"},
    "never": {"kv_policy": f"asl:tau=1e-9,l_max=none,{SIZES}"},
    "two passes": {"kv_policy": f"asl-2pass:layer=14,{SIZES}"},
    "a budget": {"kv_policy": f"asl:layer=14,{SIZES}", "kv_budget": 96},
    "snapkv": {"kv_policy": f"snapkv:budget=96,window={WINDOW}"},
    "narrower and narrower": {"kv_policy": f"pyramidinfer:layer=8,{SIZES}"},
    "tokens of a ubatch at a time": {"kv_policy": f"asl:layer=14,{SIZES}", "n_ubatch": 64, "n_batch": 64},
}


@pytest.fixture
def engine_ran(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """By layer, the tokens that the engine itself says it runs, and those of a turn that asks nothing."""
    ran, beside = [0] * N_LAYER, {"n": 0, "of": 0}
    told, contrast, begin = LayerRun.progress, Engine.contrast, Engine.begin

    def progress(self: LayerRun, il_begin: int, il_end: int, done: int, n_tokens: int) -> None:
        if done == 0:
            n = n_tokens + (beside["n"] if self.phase == "shallow" else 0)
            ran[il_begin:il_end] = [before + n for before in ran[il_begin:il_end]]
        told(self, il_begin, il_end, done, n_tokens)

    def contrasted(self: Engine, n_seen: int, tokens: Any) -> None:
        beside["n"] = len(tokens)
        contrast(self, n_seen, tokens)

    def begun(self: Engine, *arguments: Any) -> None:
        beside["n"] = 0
        begin(self, *arguments)

    monkeypatch.setattr(LayerRun, "progress", progress)
    monkeypatch.setattr(Engine, "contrast", contrasted)
    monkeypatch.setattr(Engine, "begin", begun)
    monkeypatch.setattr(Engine, "resume", _forgetting(Engine.resume, beside))
    return ran


def _forgetting(resume: Any, beside: dict[str, int]) -> Any:
    def resumed(self: Engine, *arguments: Any) -> None:
        beside["n"] = 0
        resume(self, *arguments)

    return resumed


def last(llm: Llama) -> PrefillReport:
    assert llm.last_prefill is not None
    return llm.last_prefill


@pytest.mark.parametrize("settings", POLICIES.values(), ids=POLICIES)
def test_it_is_what_the_engine_runs(settings: dict[str, Any], engine_ran: list[int]) -> None:
    """For a first question, a second one, one to the completed document, and the same once more."""
    llm = load_narrow(**settings)
    document = llm.read(text=TEXT)

    def ask(question: str) -> PrefillReport:
        engine_ran[:] = [0] * N_LAYER
        return document.ask(question, max_tokens=1).report

    first = ask(FIRST)
    assert first.run == engine_ran and first.reused == 0 and min(first.run) > 0
    assert first.to_dict()["run"] == first.run
    second = ask(SECOND)
    assert second.run == engine_ran and second.reused > 0 < second.reused_layers
    known = second.run[: second.reused_layers]
    assert sum(known) < sum(first.run[: second.reused_layers])
    if settings.get("kv_budget") is None:
        document.complete()
        third = ask(FIRST)
        assert third.run == engine_ran == [third.n_prompt - len(document.tokens)] * N_LAYER
    again = ask(FIRST if settings.get("kv_budget") is None else SECOND)
    assert again.run == engine_ran == [0] * N_LAYER and again.reused == again.n_prompt
    assert "of the tokens and layers" in str(first) and f"{first.n_prompt} tokens\n" in str(first)
    llm.close()


@pytest.mark.parametrize("policy", ["full", f"asl:{SIZES},select_k=2048".replace("select_k=96,", "")])
def test_a_prompt_that_is_evaluated_as_a_whole(policy: str) -> None:
    """By llama.cpp, which knows the beginning from before."""
    llm = load_narrow(kv_policy=policy, document_min=None)
    tokens = llm.tokenize(TEXT.encode())
    llm.create_completion(tokens[:200], max_tokens=1)
    assert last(llm).run == [200] * N_LAYER and (last(llm).reused, last(llm).reused_layers) == (0, 0)
    llm.create_completion(tokens[:260], max_tokens=1)
    assert last(llm).run == [60] * N_LAYER and (last(llm).reused, last(llm).reused_layers) == (200, N_LAYER)
    llm.close()
