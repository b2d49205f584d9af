"""The most KV that a prompt can take under a policy, whatever its scores turn out to be. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..policies import ASL, FastKV, Full, GemFilter, Policy, SnapKV
from .kv_shape import KVShape, Usage, usage


@dataclass(frozen=True)
class Choice:
    """One way to prefill: the policy, what layers are compressed to, and why."""

    policy: Policy
    keep: int | None
    reason: str = ""
    forced_layer: int | None = None


@dataclass(frozen=True)
class Case:
    """A prompt under a policy in a context."""

    policy: Policy
    shape: KVShape
    n_tokens: int
    headroom: int

    @property
    def n_layer(self) -> int:
        return len(self.shape.layers)

    @property
    def window(self) -> int:
        return 0 if isinstance(self.policy, Full) else self.policy.window

    @property
    def first_scored_layer(self) -> int | None:
        """The first layer whose attention can be scored; None if every layer has a sliding window."""
        layers = enumerate(self.shape.layers)
        return next((il for il, layer in layers if layer.n_swa == 0 and layer.n_embd_k > 0), None)

    def surely_selects(self, policy: ASL | FastKV | GemFilter) -> bool:
        """Whether some tokens are dropped, whatever the scores are."""
        if self.n_tokens <= policy.select_k or self.first_scored_layer is None:
            return False
        return not isinstance(policy, ASL) or policy.layer is not None or policy.l_max is not None

    def latest_layer(self, policy: ASL | FastKV | GemFilter) -> int:
        """The deepest layer that may select: not before the first that gives scores; the last if none does."""
        layer = policy.layer
        if isinstance(policy, ASL) and layer is None:
            layer = self.n_layer - 1 if policy.l_max is None else policy.l_max
        if not isinstance(layer, int) or (isinstance(policy, ASL) and policy.l_min == "auto"):
            raise ValueError("the policy still says 'auto': pass policy.resolve(n_layer)")
        first = self.first_scored_layer
        return self.n_layer - 1 if first is None else max(layer, first)

    def usage(self, choice: Choice) -> Usage:
        """The KV if selection comes as late as it may, or never if that may be."""
        policy, n_layer, n = choice.policy, self.n_layer, self.n_tokens
        whole = [n] * n_layer
        if isinstance(policy, Full):  # allocated when the model is loaded, whatever the prompt
            return usage(self.shape, [self.shape.n_ctx] * n_layer, None, 0)
        if isinstance(policy, SnapKV):
            return usage(self.shape, whole, choice.keep, self.headroom)
        n_shallow = self.latest_layer(policy) + 1
        if not policy.two_passes:
            tokens = [n] * n_shallow + [min(policy.select_k, n)] * (n_layer - n_shallow)
            return usage(self.shape, tokens, choice.keep, self.headroom)
        if not self.surely_selects(policy):
            return usage(self.shape, whole, None, self.headroom)
        # the first pass leaves its window alone, and nothing once the second begins
        first = usage(self.shape, whole[:n_shallow], policy.window, self.headroom)
        second = usage(self.shape, [policy.select_k] * n_layer, None, self.headroom)
        return replace(second, peak_kv_bytes=max(first.peak_kv_bytes, second.peak_kv_bytes))
