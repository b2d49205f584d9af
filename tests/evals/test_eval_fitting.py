"""Prompts fitted to a length with tokenizers of other kinds, and units of any size."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asl_llamacpp.documents.query import Query
from asl_llamacpp.evals.fitting import MOST_MISSING, fit
from asl_llamacpp.evals.sample import Draft

TOKENIZERS = {
    "bytes": ".",
    "words": r"\S+",
    "words and blanks": r"\S+|\s+",
    "pairs": ".{1,2}",
    "short words": r" ?\w{1,4}|\W",
}


class FakePrompts:
    def __init__(self, pattern: str) -> None:
        self.pattern = re.compile(pattern, re.DOTALL)

    def tokens(self, query: Query, prefix: str = "") -> list[str]:
        return self.pattern.findall(f"<user>{query.document}\n\n{query.question}<end>{prefix}")

    def locate(self, *_: Any) -> None: ...


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(TOKENIZERS)),
    st.lists(st.integers(1, 60), min_size=1, max_size=7),
    st.integers(300, 3000),
    st.integers(0, 5),
)
def test_length_is_met_whatever_the_units(tokenizer: str, sizes: list[int], n_tokens: int, wobble: int) -> None:
    def context(n: int) -> str:
        text = "".join(" bee" * sizes[i % len(sizes)] + "." for i in range(n))
        return text + " ant" * (n % 3 * wobble)  # more units need not be more tokens

    draft = Draft("Read this.", context, "What is it?", ("bee",))
    prompts: Any = FakePrompts(TOKENIZERS[tokenizer])
    tokens = fit(draft, n_tokens, prompts, 8).tokens
    assert 0 <= n_tokens - len(tokens) <= MOST_MISSING
    if tokenizer in ("bytes", "words"):
        assert len(tokens) == n_tokens


def test_document_of_the_users_is_used_up_or_cut() -> None:
    draft = Draft("Read.", lambda n: "bee " * n, "What?", ("bee",), limit=50, pad=False)
    prompts: Any = FakePrompts(TOKENIZERS["words"])
    assert fit(draft, 1000, prompts, 8).meta == {"units": 50}
    assert len(fit(draft, 30, prompts, 8).tokens) == 30
    with pytest.raises(ValueError, match="needs 2 tokens without any filler, 1 are too few"):
        fit(draft, 1, prompts, 8)
