"""What ASL's rule is told: the parameters, whatever policy they come from."""

from __future__ import annotations

from typing import Literal, Protocol, TypeAlias

Reference: TypeAlias = Literal["first", "peak"]
AllHeads: TypeAlias = Literal["sum", "max"]
ChosenHeads: TypeAlias = tuple[tuple[int, int], ...]
"""Query heads as (layer, head), both from 0, sorted, none twice."""
Heads: TypeAlias = AllHeads | ChosenHeads
Units: TypeAlias = Literal["tokens", "sentences"]
Layer: TypeAlias = int | Literal["auto"]


class RuleParameters(Protocol):
    """See `policies.ASL`, which has them all."""

    @property
    def tau(self) -> float: ...
    @property
    def l_min(self) -> Layer: ...
    @property
    def l_max(self) -> Layer | None: ...
    @property
    def l_obs(self) -> int: ...
    @property
    def window(self) -> int: ...
    @property
    def kernel(self) -> int: ...
    @property
    def select_k(self) -> int: ...
    @property
    def layer(self) -> int | None: ...
    @property
    def reference(self) -> Reference: ...
    @property
    def heads(self) -> Heads: ...
    @property
    def score_layers(self) -> int: ...
    @property
    def contrast(self) -> bool: ...
    @property
    def decide_every(self) -> int: ...
