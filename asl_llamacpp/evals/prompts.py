"""Prompts in tokens of one model: what it will be given, and where in it a passage stands."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from ..documents.chat_prompt import has_chat_template
from ..documents.query import Query, prompt_tokens
from ..llama import models
from .sample import Needle


class Prompts:
    """The tokenizer and the chat template of the model at `path`; its weights are not read. Close it, or use `with`."""

    def __init__(self, path: str | Path) -> None:
        self._llm = models.open_model(path, vocab_only=True, kv_policy="full", n_gpu_layers=0)
        self.n_ctx_train = models.trained_context(self._llm)
        self.chat = has_chat_template(self._llm)

    def tokens(self, query: Query, prefix: str = "") -> list[int]:
        """The prompt for `query`, its last tokens being those of `prefix`, the beginning of the answer."""
        tokens = prompt_tokens(self._llm, query)
        if prefix:
            text = prefix if self.chat else f" {prefix}"
            tokens = tokens + self._llm.tokenize(text.encode(), add_bos=False)
        return tokens

    def locate(self, tokens: list[int], needles: Iterable[Needle]) -> NDArray[np.int64] | None:
        """Positions of the tokens that hold the needles' answers, sorted; None if a needle does not stand there once.

        Templates and tokenizers may change a text (normalize it, strip it): then it is not found, and None is right.
        """
        pieces = [self._llm.detokenize([token], special=True) for token in tokens]
        ends = np.fromiter(accumulate(map(len, pieces)), dtype=np.int64, count=len(pieces))
        text = b"".join(pieces)
        found: set[int] = set()
        for needle in needles:
            sentence, answer = needle.text.encode(), needle.answer.encode()
            if text.count(sentence) != 1 or answer not in sentence:
                return None
            start = text.index(sentence) + sentence.index(answer)
            first, last = np.searchsorted(ends, [start, start + len(answer) - 1], side="right")
            found.update(range(int(first), int(last) + 1))
        return np.array(sorted(found), dtype=np.int64) if found else None

    def close(self) -> None:
        self._llm.close()

    def __enter__(self) -> Prompts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
