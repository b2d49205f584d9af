"""`kv_budget`: what it may be, and its text form."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from numbers import Integral, Real
from typing import Literal

_BINARY = {"GiB": 2**30, "MiB": 2**20, "KiB": 2**10}
_UNITS = {"b": 1, **{unit.lower(): size for unit, size in (*_BINARY.items(), ("TiB", 2**40))}}
_UNITS |= {"kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_TEXT = re.compile(r"(?P<number>[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?)\s*(?P<unit>[a-z]*|%)", re.IGNORECASE | re.ASCII)
_HOW = "give tokens (2048), a fraction of the prompt (0.1 or '10%') or bytes ('2GiB', '800MB')"


class BudgetError(ValueError):
    """A prompt's KV cannot be held within the budget. `needed`: the bytes that would do, if the budget is in bytes."""

    needed: int | None = None


@dataclass(frozen=True)
class Budget:
    """What a prompt's KV may take; `str` of it is text that `parse_budget` reads back.

    tokens    `value` cells per layer and KV head
    fraction  as many cells as `value`, in (0, 1], of the prompt's tokens
    bytes     `value` bytes of K and V in all layers together, the decoding headroom included
    """

    kind: Literal["tokens", "fraction", "bytes"]
    value: int | float

    def __str__(self) -> str:
        if self.kind != "bytes":
            return repr(self.value)
        for unit, size in _BINARY.items():
            if self.value % size == 0:
                return f"{int(self.value) // size}{unit}"
        return f"{self.value}B"

    def tokens(self, n_tokens: int) -> int:
        """Cells per layer and KV head that a budget of tokens or a fraction leaves a prompt of `n_tokens`."""
        return math.floor(Fraction(repr(self.value)) * n_tokens) if self.kind == "fraction" else int(self.value)


def parse_budget(value: object) -> Budget | None:
    """The budget that `value` stands for; None is none.

    An int is tokens, a float in (0, 1] a fraction; text is either of them, a percentage, or bytes with a unit: B,
    KiB to TiB (powers of 1024), KB to TB (powers of 1000), in any letter case.

    Raises:
        TypeError: `value` is neither a number nor text.
        ValueError: the number is not positive or out of range, or the text is not understood.
    """
    if value is None or isinstance(value, Budget):
        return value
    if isinstance(value, bool) or not isinstance(value, (Real, str)):
        raise TypeError(f"kv_budget={value!r} is no budget: {_HOW}")
    if isinstance(value, str):
        budget = _parse_text(value.strip())
    elif isinstance(value, Integral):
        budget = Budget("tokens", int(value))
    else:
        budget = Budget("fraction", float(value))
    if budget is None:
        raise ValueError(f"kv_budget={value!r} is not understood: {_HOW}")
    if not 0 < budget.value < math.inf:
        raise ValueError(f"kv_budget={value!r} must be more than 0, and finite: {_HOW}")
    if budget.kind == "fraction" and budget.value > 1:
        raise ValueError(f"kv_budget={value!r} is a fraction above 1: {_HOW}")
    return budget


def _parse_text(text: str) -> Budget | None:
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    number, unit = Decimal(found["number"]), found["unit"].lower()
    if unit in _UNITS:
        return Budget("bytes", int(number * _UNITS[unit]))
    if unit == "%":
        return Budget("fraction", float(number / 100))
    if unit:
        return None
    return Budget("tokens", int(found["number"])) if found["number"].isdigit() else Budget("fraction", float(number))


def size_text(n_bytes: int) -> str:
    """Bytes for a reader, exact and in MiB: "94,371,840 bytes (90.0 MiB)"."""
    return f"{n_bytes:,} bytes ({n_bytes / 2**20:,.1f} MiB)"
