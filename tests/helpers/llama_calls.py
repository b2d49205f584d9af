"""Calls of the public API of llama-cpp-python's Llama, to be compared between two classes of that name.

    LLAMA_CPP_LIB_PATH=... python tests/llama_calls.py model.gguf 0

prints as JSON what the parent class makes of them; 1 for flash attention.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from llama_cpp import Llama, LlamaGrammar, LogitsProcessorList, StoppingCriteriaList

SETTINGS = {"n_ctx": 256, "n_batch": 64, "logits_all": True, "n_threads": 1, "n_threads_batch": 1, "seed": 5}
CAPITAL = "The capital of France is"
GREEDY = {"temperature": 0.0, "max_tokens": 6}
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a colour."}]
LONG = "The grass is green. The sky is blue. " * 12  # 121 tokens: two batches


def schema_answer(llm: Llama) -> Any:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"type": "json_object", "schema": schema}
    return llm.create_chat_completion(CHAT, response_format=form, temperature=0.0, max_tokens=12)


def processed(llm: Llama) -> Any:
    def shift(_: Any, scores: Any) -> Any:
        scores[28] += 30.0
        return scores

    stop = StoppingCriteriaList([lambda ids, _: len(ids) > 10])
    return llm(CAPITAL, logits_processor=LogitsProcessorList([shift]), stopping_criteria=stop, **GREEDY)


def tokens_of(llm: Llama) -> Any:
    samples = ["", "Hello", " two  spaces\n", "<|im_start|>user", "Grüße, 日本"]
    tokens = [llm.tokenize(s.encode(), add_bos=b, special=s_) for s in samples for b in (0, 1) for s_ in (0, 1)]
    return [tokens, [llm.detokenize(t, special=True).decode() for t in tokens], llm.n_vocab(), llm.token_eos()]


CALLS: dict[str, Callable[[Llama], Any]] = {
    "greedy": lambda llm: llm(CAPITAL, **GREEDY),
    "longer": lambda llm: llm(LONG, **GREEDY),
    "prefix": lambda llm: llm(LONG + "And the sun is", **GREEDY),
    "again": lambda llm: llm(LONG + "And the sun is", **GREEDY),
    "tokens": lambda llm: llm(llm.tokenize(CAPITAL.encode()), **GREEDY),
    "sampled": lambda llm: llm(CAPITAL, temperature=1.2, top_k=20, seed=3, max_tokens=6),
    "default seed": lambda llm: llm(CAPITAL, temperature=1.2, max_tokens=4),
    "mirostat": lambda llm: llm(CAPITAL, mirostat_mode=2, seed=4, max_tokens=4),
    "penalties": lambda llm: llm("one one one", repeat_penalty=1.5, presence_penalty=0.5, **GREEDY),
    "stop": lambda llm: llm(CAPITAL, stop=["France", "."], temperature=0.0, max_tokens=12),
    "stream": lambda llm: list(llm(CAPITAL, stream=True, stop=["."], **GREEDY)),
    "logprobs": lambda llm: llm(CAPITAL, logprobs=3, **GREEDY),
    "streamed logprobs": lambda llm: list(llm(CAPITAL, logprobs=2, stream=True, **GREEDY)),
    "echo": lambda llm: llm(CAPITAL, echo=True, logprobs=2, temperature=0.0, max_tokens=2),
    "bias": lambda llm: llm(CAPITAL, logit_bias={"7042": -100, "253": 30}, **GREEDY),
    "processor": processed,
    "suffix": lambda llm: llm(CAPITAL, suffix=" of course", **GREEDY),
    "grammar": lambda llm: llm(CAPITAL, grammar=LlamaGrammar.from_string('root ::= " Rome" | " Bonn"'), **GREEDY),
    "schema": schema_answer,
    "chat": lambda llm: llm.create_chat_completion(CHAT, **GREEDY),
    "chat stream": lambda llm: list(llm.create_chat_completion(CHAT, stream=True, **GREEDY)),
    "chat logprobs": lambda llm: llm.create_chat_completion(CHAT, logprobs=True, top_logprobs=2, **GREEDY),
    "empty prompt": lambda llm: llm("", **GREEDY),
    "tokenizer": tokens_of,
    "metadata": lambda llm: sorted(llm.metadata.items()),
    "does not fit": lambda llm: llm([28] * 256),
    "embed": lambda llm: llm.embed("hello"),
}


def without_identity(value: Any) -> Any:
    """The value without what differs from call to call, as JSON returns it."""
    if isinstance(value, dict):
        return {str(k): without_identity(v) for k, v in value.items() if k not in ("id", "created", "model")}
    if isinstance(value, list | tuple):
        return [without_identity(item) for item in value]
    return value


def answers(llm: Llama) -> dict[str, Any]:
    """What each call returns or raises, one after the other on the same object."""
    found = {}
    for name, call in CALLS.items():
        try:
            found[name] = without_identity(call(llm))
        except Exception as error:
            found[name] = [type(error).__name__, str(error)]
    return json.loads(json.dumps(found, default=float))


if __name__ == "__main__":
    _, model, flash = sys.argv
    json.dump(answers(Llama(model, flash_attn=flash == "1", verbose=False, **SETTINGS)), sys.stdout)
