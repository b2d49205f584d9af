"""What a planned prefill allocates if the rule fires at a given layer, worked out apart from the planner; f16 only."""

from __future__ import annotations

from dataclasses import dataclass, field

from asl_llamacpp.budget.plan import KVShape, Plan
from asl_llamacpp.policies import ASL, FastKV, Full, GemFilter, SnapKV


def scored_layers(shape: KVShape) -> list[int]:
    return [il for il, layer in enumerate(shape.layers) if layer.n_swa == 0]


def possible_layers(plan: Plan, shape: KVShape, n_tokens: int) -> list[int | None]:
    """The layers after which tokens may be selected under the plan's policy; None: never."""
    policy, scored = plan.policy, scored_layers(shape)
    if isinstance(policy, (Full, SnapKV)) or n_tokens <= policy.select_k or not scored:
        return [None]
    if isinstance(policy, GemFilter):
        return [max((il for il in scored if il <= policy.layer), default=scored[0])]  # type: ignore[operator]
    if isinstance(policy, FastKV) or policy.layer is not None:
        return [max(policy.layer, scored[0])]  # type: ignore[type-var]
    last = len(shape.layers) if policy.l_max is None else max(policy.l_max, scored[0])
    by_rule = [il for il in scored if policy.l_min < il <= last]  # type: ignore[operator]
    return [*by_rule, None if policy.l_max is None else last]


@dataclass
class Allocations:
    """Buffers as the engine makes them: bytes now, the most there ever were, cells in use by layer."""

    shape: KVShape
    headroom: int
    now: int = 0
    peak: int = 0
    held: list[int] = field(default_factory=list)

    def size(self, il: int, n_tokens: int) -> int:
        layer, shape = self.shape.layers[il], self.shape
        n_cells = min(shape.n_ctx, -((n_tokens + self.headroom) // -256) * 256)
        if layer.n_swa and not shape.swa_full:
            n_cells = -(min(n_cells, layer.n_swa + shape.n_ubatch) // -256) * 256
        return n_cells * 2 * (layer.n_embd_k + layer.n_embd_v)

    def change(self, n_bytes: int) -> None:
        self.now += n_bytes
        self.peak = max(self.peak, self.now)

    def leave(self, last: int, n_tokens: int, left: int, waited: bool) -> None:
        """The layers up to `last` are left with some cells; `waited`: all of them are on the host."""
        for il in range(last + 1):
            if self.shape.layers[il].n_swa == 0:
                self.change(self.size(il, left))
                self.change(0 if waited else -self.size(il, n_tokens))
                self.held[il] = left

    def run(self, il: int, n_tokens: int, keep: int | None) -> None:
        self.change(self.size(il, n_tokens))
        if keep is not None and keep < n_tokens and self.shape.layers[il].n_swa == 0:
            self.change(self.size(il, keep))
            self.change(-self.size(il, n_tokens))
            n_tokens = keep
        self.held.append(n_tokens)


def allocate(plan: Plan, shape: KVShape, n_tokens: int, headroom: int, selected_at: int | None) -> Allocations:
    """Run the plan; tokens are selected after layer `selected_at`."""
    policy, n_layer = plan.policy, len(shape.layers)
    if isinstance(policy, Full):
        done = Allocations(shape, 0)
        for il in range(n_layer):
            done.run(il, shape.n_ctx, None)
        done.held = [n_tokens] * n_layer
        return done
    done = Allocations(shape, headroom)
    if policy.two_passes and selected_at is not None:
        sure = not isinstance(policy, ASL) or policy.layer is not None or policy.l_max is not None
        for il in range(selected_at + 1):
            done.run(il, n_tokens, policy.window if sure else None)
        done.now, done.held, n_tokens, selected_at = 0, [], policy.select_k, None  # type: ignore[union-attr]
    evicts = policy.keep == "selected" and selected_at is not None
    for il in range(n_layer):
        done.run(il, n_tokens, plan.keep)
        if evicts and plan.host_bytes and il <= selected_at and shape.layers[il].n_swa == 0:  # type: ignore[operator]
            done.change(-done.size(il, n_tokens))
        if il == selected_at:
            if evicts:
                done.leave(il, n_tokens, policy.select_k, waited=plan.host_bytes > 0)  # type: ignore[union-attr, arg-type]
            n_tokens = policy.select_k  # type: ignore[union-attr]
    return done
