"""What a whole model takes, put together from the measured seconds of its layers and the planned bytes of its KV."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass

from asl_llamacpp.budget.kv_shape import KVShape
from asl_llamacpp.budget.plan import Plan, parse_budget, plan
from asl_llamacpp.engine.binding import LayerShape
from asl_llamacpp.policies import ASL, parse_policy
from benchmarks.common import probe
from benchmarks.scaling.shapes import Shape

Seconds = Callable[[int], float]


@dataclass(frozen=True)
class Costs:
    """Seconds of one layer over n tokens: as it is, and with what is added by scores and by compression."""

    plain: Seconds
    scored: Seconds
    compress: Seconds
    deep: float


@dataclass(frozen=True)
class Split:
    """How many layers run on the whole prompt without and with scores, and on the k tokens; how many are compressed."""

    plain: int
    scored: int
    deep: int
    compressed: int = 0


def specs(shape: Shape, k: int) -> dict[str, tuple[str, int | None]]:
    """Policies and their kv_budget. asl is taken at its worst: the rule never fires, and l_max forces the selection."""
    latest = ASL().resolve(shape.n_layer)
    half = shape.n_layer // 2 - 1
    return {
        "full": ("full", None),
        "asl, at the latest": (f"asl:layer={latest.l_max},select_k={k}", None),
        "asl, half way": (f"asl:layer={half},select_k={k}", None),
        "asl, half way, kv_budget": (f"asl:layer={half},select_k={k}", k),
        "snapkv": ("snapkv", k),
        "gemfilter": (f"gemfilter:select_k={k}", None),
    }


def split(shape: Shape, spec: str, budget: int | None) -> Split:
    """Which layers run on what. Compression needs the scores of every layer that runs on the whole prompt."""
    policy, n_layer = parse_policy(spec), shape.n_layer
    if not policy.prunes:
        return Split(n_layer, 0, 0)
    if policy.budget is not None:
        return Split(0, n_layer, 0, n_layer)
    s = policy.resolve(n_layer).latest_layer
    assert s is not None
    if policy.two_passes:
        return Split(s, 1, n_layer)
    if budget is not None:
        return Split(0, s + 1, n_layer - s - 1, s + 1)
    return Split(s, 1, n_layer - s - 1)


def seconds(parts: Split, costs: Costs, n: int) -> float:
    """Of the layers alone: neither the embedding nor the output matrix of the one last token."""
    whole = parts.plain * costs.plain(n) + parts.scored * costs.scored(n)
    return whole + parts.deep * costs.deep + parts.compressed * costs.compress(n)


def ideal_tokens(shape: Shape, parts: Split, n: int, k: int) -> float:
    """Share of tokens times layers that remains."""
    return probe.ideal(shape.n_layer, parts.plain + parts.scored, parts.deep, n, k)


def ideal_attention(shape: Shape, parts: Split, n: int, k: int) -> float:
    """Share of the attention's arithmetic that remains: its pairs of tokens."""
    pairs = (parts.plain + parts.scored) * n**2 + parts.deep * min(k, n) ** 2
    return pairs / (shape.n_layer * n**2)


def ideal_arithmetic(shape: Shape, parts: Split, n: int, k: int) -> float:
    """Share of all arithmetic that remains, matrices and attention weighed by what they cost."""
    whole = (parts.plain + parts.scored) * shape.flops(n) + parts.deep * shape.flops(min(k, n))
    return whole / (shape.n_layer * shape.flops(n))


def curve(measured: dict[int, float], attention: dict[int, float]) -> Seconds:
    """a n + b n^2: b from the seconds of attention alone, a from what these leave of the measured layers."""
    b = statistics.median(value / n**2 for n, value in attention.items())
    a = max(0.0, statistics.median(value / n - b * n for n, value in measured.items()))
    return lambda n: a * n + b * n * n


def planned(shape: Shape, spec: str, budget: int | None, n: int) -> Plan:
    """The f16 KV of the prompt and 256 more tokens, worst case."""
    n_embd = shape.n_head_kv * shape.head_dim
    layer = LayerShape(shape.n_head, shape.n_head_kv, n_embd, n_embd, 0)
    kv_shape = KVShape(layers=(layer,) * shape.n_layer, n_ctx=n + 256)
    policy = parse_policy(spec)
    return plan(policy.resolve(shape.n_layer), kv_shape, n, parse_budget(budget))
