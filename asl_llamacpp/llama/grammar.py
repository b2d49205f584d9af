"""Grammars are parsed before any work: llama.cpp gives no sampler for a wrong one, and its absence ends the process."""

from __future__ import annotations

from typing import Any

import llama_cpp
from llama_cpp.llama_grammar import LlamaGrammar


def check_grammar(vocabulary: Any, grammar: LlamaGrammar) -> None:
    """ValueError if llama.cpp cannot parse `grammar`; llama.cpp prints where."""
    text, root = grammar._grammar, grammar._root
    if "\0" in text:
        raise ValueError("the grammar has a zero byte, where it would end")
    sampler = llama_cpp.llama_sampler_init_grammar(vocabulary, text.encode(), root.encode())
    if not sampler:
        shown = text if len(text) <= 200 else text[:199] + "…"
        raise ValueError(f"the grammar, or the JSON schema that it was made of, cannot be parsed: {shown!r}")
    llama_cpp.llama_sampler_free(sampler)
