"""No pruning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .base import Spec


@dataclass(frozen=True)
class Full(Spec):
    """No pruning: stock llama.cpp."""

    name: ClassVar[str] = "full"
    prunes: ClassVar[bool] = False
