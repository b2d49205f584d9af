"""The handles of llama.cpp's own objects, for libraries that call llama.cpp beside `Llama`."""

from __future__ import annotations

import sys
from typing import Any

import llama_cpp

EVALUATES_ITSELF = ("guidance",)
"""Libraries that take a handle and call llama_decode on their own."""


class GuardedHandles(llama_cpp.Llama):
    """Hands out no handle that would be used to evaluate behind the cache's back.

    A pruned cache does not hold a cell a token, and such a library counts on that.
    """

    @property
    def kv_policy(self) -> Any:
        """The policy in force."""
        raise NotImplementedError

    @property
    def ctx(self) -> Any:
        self._refuse(sys._getframe(1).f_globals.get("__name__", ""))
        return super().ctx

    @property
    def model(self) -> Any:
        self._refuse(sys._getframe(1).f_globals.get("__name__", ""))
        return super().model

    def _refuse(self, module: str) -> None:
        name = module.partition(".")[0]
        if name in EVALUATES_ITSELF and self.kv_policy.prunes:
            raise ValueError(
                f"{name} evaluates tokens on its own, which a pruned KV cache does not allow: open the model with "
                "kv_policy='full' for it"
            )
