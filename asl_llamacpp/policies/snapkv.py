"""SnapKV: every layer keeps the KV cells that the end of the prompt attends to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from .base import Policy
from .checks import check_kept, check_pooling, integer


@dataclass(frozen=True)
class SnapKV(Policy):
    """Compress each layer's KV once it has run (arXiv 2404.14469): no token is dropped, but most of its cells are.

    budget  cells that every layer and KV head keeps, the window included, > window; `Llama`'s kv_budget goes first
    window  observation window: the last `window` prompt tokens act as queries and are always kept, >= 1
    kernel  width of the average pooling over positions, odd, >= 1

    Raises TypeError or ValueError when made with a bad value.
    """

    budget: int = 2048
    window: int = 32
    kernel: int = 7

    name: ClassVar[str] = "snapkv"

    def __post_init__(self) -> None:
        checked: dict[str, Any] = {
            name: integer(name, getattr(self, name), 1) for name in ("budget", "window", "kernel")
        }
        self._set_checked(checked)
        check_pooling(self.kernel)
        check_kept("budget", self.budget, self.window)
