"""Prompts of an exact length: filler is added as long as it fits, and the rest is filled word by word."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import cycle, islice

from ..documents.query import Query
from .filler import NOISE
from .prompts import Prompts
from .sample import Draft, Sample

MOST_MISSING = 2
"""Tokens that a prompt may be too short by, where the tokenizer has no word that fills the gap."""

_SMALL = (" a", " the", ",", ".", " I", "a", "1")


def fit(draft: Draft, n_tokens: int, prompts: Prompts, max_tokens: int) -> Sample:
    """The draft's prompt with as much filler as makes it `n_tokens` tokens long, template and all.

    What is less than a unit of filler is made up by words of the noise sentences, after the instruction, so that
    neither depths nor the end of the prompt move. A document that may not be padded can come out shorter.

    Raises:
        ValueError: without any filler it is longer, or no padding comes within `MOST_MISSING` tokens.
    """

    def query(n: int, pad: str = "") -> Query:
        start = "\n\n".join(filter(None, (draft.instruction, pad)))
        return Query("\n\n".join(filter(None, (start, draft.context(n)))), draft.question, max_tokens)

    def count(n: int, pad: str = "") -> int:
        return len(prompts.tokens(query(n, pad), draft.prefix))

    least = count(0)
    if least > n_tokens:
        raise ValueError(f"the prompt needs {least} tokens without any filler, {n_tokens} are too few")
    n = _most(count, least, n_tokens, draft.limit)
    pad = ""
    if draft.pad:
        n, pad, missing = _padded(count, n, n_tokens)
        if missing > MOST_MISSING:
            raise ValueError(f"the prompt cannot be padded to {n_tokens} tokens: {missing} are missing")
    tokens = prompts.tokens(query(n, pad), draft.prefix)
    evidence = prompts.locate(tokens, draft.needles) if draft.needles else None
    meta = {**draft.finish(n), "units": n}
    return Sample(query(n, pad), draft.prefix, tokens, draft.answers, evidence, meta)


def _most(count: Callable[[int], int], least: int, n_tokens: int, limit: int | None) -> int:
    """The most units whose count is at most `n_tokens`: by interpolation, since long prompts take long to count."""
    low, at_low, step = 0, least, 8
    while True:
        high = low + step if limit is None else min(low + step, limit)
        at_high = count(high)
        if at_high > n_tokens:
            break
        if high == limit:
            return high
        per_unit = max((at_high - least) / high, 0.01)
        low, at_low, step = high, at_high, int((n_tokens - at_high) / per_unit * 1.02) + 2
    halve = False
    while high - low > 1:
        guess = low + (high - low) * (n_tokens - at_low) // (at_high - at_low)
        middle = (low + high) // 2 if halve else min(max(guess, low + 1), high - 1)
        at_middle = count(middle)
        if at_middle <= n_tokens:
            low, at_low = middle, at_middle
        else:
            high, at_high = middle, at_middle
        halve = not halve
    return low


def _padded(count: Callable[[int, str], int], n: int, n_tokens: int) -> tuple[int, str, int]:
    """Units, padding and missing tokens: a few units less than fit where the gap is too small for padding."""
    tried: list[tuple[int, str, int]] = []
    for units in range(n, max(n - 6, -1), -1):
        if count(units, "") > n_tokens:  # words drawn anew for each n: fewer of them may be more tokens
            continue
        pad = _padding(partial(count, units), n_tokens)
        tried.append((units, pad, n_tokens - count(units, pad)))
        if tried[-1][2] == 0:
            break
    return min(tried, key=lambda one: one[2])


def _padding(count: Callable[[str], int], n_tokens: int) -> str:
    """Words that fill the prompt up to `n_tokens`, or as nearly as they can; empty if it is full."""
    if count("") == n_tokens:
        return ""
    endless = cycle(" ".join(NOISE).split())
    words = list(islice(endless, n_tokens - count("")))
    low, high = 0, len(words) + 1  # the first `low` words fit, `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(" ".join(words[:middle])) <= n_tokens else (low, middle)
    best = ""
    for kept in range(low, max(low - 4, -1), -1):  # a word less may leave a gap that small ones fill
        pad, size = " ".join(words[:kept]), count(" ".join(words[:kept]))
        while size < n_tokens:
            better = next(
                (p for p in ((pad + small).lstrip() for small in _SMALL) if size < count(p) <= n_tokens), None
            )
            if better is None:
                break
            pad, size = better, count(better)
        if size == n_tokens:
            return pad
        if size > count(best) and size <= n_tokens:
            best = pad
    return best
