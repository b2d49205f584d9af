"""The most KV that a prompt can take under a policy, whatever its scores turn out to be. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..policies import Policy
from ..policies.answers import Pass, Prompt
from ..policies.base import Choice
from .kv_shape import CELLS_PAD, KVShape
from .usage import Usage, usage


@dataclass(frozen=True)
class Case:
    """A prompt under a policy in a context. `by_host`: cells wait on the host for the selection: see `usage`."""

    policy: Policy
    shape: KVShape
    n_tokens: int
    headroom: int
    by_host: bool = False

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
            whole = usage(self.shape, Pass((self.shape.n_ctx,) * len(self.shape.layers)), 0)
            return replace(whole, peak_kv_bytes=whole.kv_bytes)
        worst = choice.policy.worst_case(self.prompt, choice.keep)
        by_host = self.by_host and worst.latest != len(self.shape.layers)
        used = [usage(self.shape, one, self.headroom, by_host) for one in worst.passes]
        return replace(used[-1], peak_kv_bytes=max(one.peak_kv_bytes for one in used))

    def fewer(self, below: int) -> Iterator[int]:
        """Numbers of cells, window < cells < min(below, n), from large to small: the largest of each allocated size."""
        size = (min(below, self.n_tokens) - 1 + self.headroom) // CELLS_PAD * CELLS_PAD
        while size - self.headroom > self.policy.window:
            yield size - self.headroom
            size -= CELLS_PAD
