"""The most KV that a prompt can take under a policy, whatever its scores turn out to be. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..policies import Policy
from ..policies.answers import Prompt
from ..policies.base import Choice
from .kv_shape import CELLS_PAD, KVShape, Usage, usage


@dataclass(frozen=True)
class Case:
    """A prompt under a policy in a context."""

    policy: Policy
    shape: KVShape
    n_tokens: int
    headroom: int

    @property
    def prompt(self) -> Prompt:
        return Prompt(self.n_tokens, len(self.shape.layers), self.shape.scored_layers)

    @property
    def latest_layer(self) -> int | None:
        """The deepest layer that may select; the number of layers if none need; None if none will."""
        return self.policy.worst_case(self.prompt).latest

    def usage(self, choice: Choice) -> Usage:
        """The KV if selection comes as late as it may, or never if that may be."""
        if not choice.policy.prunes:  # allocated when the model is loaded, whatever the prompt
            whole = usage(self.shape, [self.shape.n_ctx] * len(self.shape.layers), None, 0)
            return replace(whole, peak_kv_bytes=whole.kv_bytes)
        passes = choice.policy.worst_case(self.prompt, choice.keep).passes
        used = [usage(self.shape, one.tokens, one.keep, self.headroom) for one in passes]
        return replace(used[-1], peak_kv_bytes=max(one.peak_kv_bytes for one in used))

    def fewer(self, below: int) -> Iterator[int]:
        """Numbers of cells, window < cells < min(below, n), from large to small: the largest of each allocated size."""
        size = (min(below, self.n_tokens) - 1 + self.headroom) // CELLS_PAD * CELLS_PAD
        while size - self.headroom > self.policy.window:
            yield size - self.headroom
            size -= CELLS_PAD
