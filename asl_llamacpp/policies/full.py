"""No pruning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from .answers import Fewer, Prompt
from .base import Choice, Policy


@dataclass(frozen=True)
class Full(Policy):
    """No pruning: stock llama.cpp."""

    name: ClassVar[str] = "full"
    prunes: ClassVar[bool] = False

    def within_tokens(self, prompt: Prompt, cells: int) -> Choice | None:
        return Choice(self, None) if prompt.n_tokens <= cells else None

    def within_bytes(self, prompt: Prompt, fewer: Fewer) -> Iterator[Choice]:
        yield Choice(self, None)
