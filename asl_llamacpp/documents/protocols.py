"""What the parts of this wing ask of each other, and of the `Llama` that they belong to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..engine.turn import Turn
from ..policies import Policy
from ..prefill.report import OnProgress, PrefillReport
from ..store.entry import KnownDocument
from ..store.pruned_cache import PrunedCache

if TYPE_CHECKING:
    from .attention import Attention


class Asked(Protocol):
    """What an answer asks of the document that it is about."""

    name: str

    @property
    def n_prompts(self) -> int:
        """Prompts that the model has evaluated."""

    @property
    def n_evaluated(self) -> int:
        """Tokens that the context has evaluated."""

    def last_report(self) -> PrefillReport | None:
        """The report of the prefill that was just made."""

    def attention(self, report: PrefillReport) -> Attention | None:
        """What that prefill kept of the document, and by which scores; None if it has none."""


class Keeper(Protocol):
    """What a document asks of the shelf that it stands on; see `Shelf`."""

    def state(self, document: Any, /) -> KnownDocument | None: ...
    def needs(self, document: Any, /) -> dict[str, str]: ...
    def prefill(self, document: Any, /) -> None: ...
    def complete(self, document: Any, /) -> None: ...
    def save(self, document: Any, path: str | Path, /) -> int: ...
    def forget(self, document: Any, /) -> None: ...
    def register(self, document: Any, /) -> object: ...
    def asks(self, document: Any, asked: Any, tokens: Sequence[int], /) -> None: ...


class Model(Protocol):
    """What documents ask of a `Llama`.

    n_tokens         tokens that the context has evaluated
    n_prompts        prompts that it has evaluated so far: a stream that sees it change has lost its context
    pruned_cache     None under kv_policy="full"
    turn             who uses the context
    fallback_format  the chat format that llama-cpp-python takes where neither the model's file nor the caller has one
    """

    n_tokens: int
    n_prompts: int
    last_prefill: PrefillReport | None
    on_progress: OnProgress | None
    pruned_cache: PrunedCache | None
    turn: Turn
    fallback_format: str | None

    @property
    def shelf(self) -> Keeper: ...
    @property
    def kv_policy(self) -> Policy: ...
    def n_ctx(self) -> int: ...
    def reset(self) -> None: ...
    def eval(self, tokens: Sequence[int]) -> None: ...

    @property
    def create_completion(self) -> Any: ...
