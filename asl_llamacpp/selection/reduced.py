"""One layer's window scores for several who ask for them: what the device is asked for, and each one's part of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..engine.kinds import Reduction
from .arrays import Floats
from .heads import by_layer
from .parameters import Heads
from .scores import add_heads, token_scores


def set_reduction(heads: Heads, kernel: int, layer: int) -> Reduction:
    """What the scores are that the set is chosen by, in a layer that has a say."""
    if not isinstance(heads, str):
        return Reduction("max", kernel, by_layer(heads)[layer])
    return Reduction("max", kernel) if heads == "max" else Reduction("sum")


def merged(wanted: Sequence[Reduction]) -> Reduction:
    """What all of them can be made of: the one that they agree on, or else each head that any of them looks at.

    They are of one kind, attention or products.
    """
    first = wanted[0]
    if all(one == first for one in wanted):
        return first
    every = any(not one.heads for one in wanted)
    heads = () if every else tuple(sorted({head for one in wanted for head in one.heads}))
    return Reduction(heads=heads, products=first.products)


def part(sums: Floats, asked: Reduction, want: Reduction, window: int) -> Floats:
    """`want` from what `asked` has given of a layer, in the numbers that the device would have given.

    `window`: tokens at the end that `sums` has columns of, and "max" has none.
    """
    if want == asked:
        return sums
    rows = sums
    if want.heads and want.heads != asked.heads:
        rows = sums[np.searchsorted(asked.heads, want.heads) if asked.heads else list(want.heads)]
    if want.combining == "each":
        return rows
    return add_heads(rows) if want.combining == "sum" else token_scores(rows, window, want.kernel, "max")
