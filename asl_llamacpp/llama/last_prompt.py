"""The last prompt that a context evaluated, and its logits: when it comes again, nothing of it runs again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import llama_cpp
import numpy as np

from ..selection.arrays import Floats


@dataclass(frozen=True)
class LastPrompt:
    """`tokens` and the logits behind them, float32 [n_vocab]; `asked`: something was generated from them.

    To decode the last token again would be something else: in a pruned cache it would see other cells than in the
    prefill, and on a CPU single rows take another kernel than many.
    """

    tokens: list[int]
    logits: Floats
    asked: bool

    @classmethod
    def of(cls, ctx: Any, tokens: list[int], n_vocab: int, asked: bool) -> LastPrompt:
        """What `ctx`, a ctypes llama_context_p, has just evaluated."""
        return cls(tokens, _logits(ctx, n_vocab).copy(), asked)

    def put_back(self, ctx: Any) -> None:
        """Let `ctx`, from which all later tokens were removed, have the logits that it had then."""
        _logits(ctx, len(self.logits))[:] = self.logits


def _logits(ctx: Any, n_vocab: int) -> Floats:
    """The row of the token that was evaluated last, in the context's own memory."""
    row = llama_cpp.llama_get_logits_ith(ctx, -1)
    if not row:
        raise RuntimeError("the context has no logits")
    return np.ctypeslib.as_array(row, shape=(n_vocab,))
