"""What the first token costs where a small model reads for a large one, against the large one alone: composed.

    python -m benchmarks.reader.speed

Nothing is run. Shares of arithmetic are counted; seconds are put together from those that `benchmarks.scaling` measured
for layers of 1B and 8B, by what such layers take for an operation of their matrices and of their attention. Writes
benchmarks/results/reader-speed.md.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from asl_llamacpp.budget.layer_work import LayerWork
from benchmarks.common.probe import RESULTS
from benchmarks.scaling.composed import curve
from benchmarks.scaling.rows import medians
from benchmarks.scaling.shapes import SHAPES, Shape

MEASURED = RESULTS / "scaling-AMD-EPYC-2-cores.json"
SELECT_K = 2048
QUESTION = 64
"""Tokens of a second question."""
LENGTHS = (8192, 32768, 131072)
QWEN3 = {
    "0.6B": Shape("0.6B", n_layer=28, n_embd=1024, n_head=16, n_head_kv=8, head_dim=128, n_ff=3072),
    "1.7B": Shape("1.7B", n_layer=28, n_embd=2048, n_head=16, n_head_kv=8, head_dim=128, n_ff=6144),
    "8B": Shape("8B", n_layer=36, n_embd=4096, n_head=32, n_head_kv=8, head_dim=128, n_ff=12288),
    "30B-A3B": SHAPES["30B-A3B"],
}
PAIRS = (("0.6B", "8B"), ("1.7B", "30B-A3B"))
LIKE = {"0.6B": "1B", "1.7B": "1B", "8B": "8B", "30B-A3B": "8B"}
"""Whose measured layers say what an operation of the matrices takes; of attention 8B's do, whose heads are as wide."""


@dataclass(frozen=True)
class Rates:
    """What one multiply-add costs: of the matrices, and of attention."""

    matrices: float
    attention: float


COUNTED = Rates(1.0, 1.0)


def measured_rates(measured: dict[str, Any], name: str) -> Rates:
    """Seconds, from the layers of the shape `name`."""
    shape = SHAPES[name]
    plain, attention = (medians(measured[key][name], "plain_s") for key in ("layers", "attention"))
    fitted, squared = curve(plain, attention), statistics.median(s / n**2 for n, s in attention.items())
    per_token = fitted(1) - squared
    return Rates(per_token / shape.layer_weights, squared / (shape.n_head * shape.head_dim))


def layer(shape: Shape, rates: Rates) -> LayerWork:
    return LayerWork(shape.layer_weights * rates.matrices, 2 * shape.n_head * shape.head_dim * rates.attention)


def behind(one: LayerWork, n_new: int, n_known: int) -> float:
    """`n_new` tokens behind `n_known` that need not run again."""
    return one.of(n_known + n_new) - one.of(n_known) if n_known else one.of(n_new)


def ways(small: Shape, large: Shape, n: int, cost: Callable[[Shape], LayerWork]) -> Iterator[tuple[str, str, float]]:
    """What is done, how many layers run on the whole prompt, and what it costs of an unpruned prefill."""
    reads, answers = cost(small), cost(large)
    full, answering = large.n_layer * answers.of(n), large.n_layer * answers.of(SELECT_K)
    for name, share in (("asl, at the latest", 3 / 4), ("asl, half way", 1 / 2)):
        own = round(share * large.n_layer)
        deep = (large.n_layer - own) * answers.of(SELECT_K)
        yield name, f"{own} of {large.n_layer}", (own * answers.of(n) + deep) / full
    for name, share in (("all layers", 1), ("at the latest", 3 / 4), ("half way", 1 / 2), ("a third", 1 / 3)):
        read = round(share * small.n_layer)
        yield f"reader, {name}", f"{read} of {small.n_layer}", (read * reads.of(n) + answering) / full
    read = small.n_layer // 2
    asked = read * behind(reads, QUESTION, n - QUESTION)
    yield "reader, half way, second question", f"{read} of {small.n_layer}", (asked + answering) / full


def tables(measured: dict[str, Any]) -> str:
    """One for each pair: shares of arithmetic, then of composed seconds."""
    wide = measured_rates(measured, "8B").attention
    rates = {name: Rates(measured_rates(measured, like).matrices, wide) for name, like in LIKE.items()}
    lines = []
    for pair in PAIRS:
        small, large = (QWEN3[name] for name in pair)
        heads = " | ".join(f"{n:,}: arithmetic | seconds" for n in LENGTHS)
        lines += ["", f"{small.name} reads, {large.name} answers:", ""]
        lines += [f"| | layers on the whole prompt | {heads} |", "| --- " * (2 + 2 * len(LENGTHS)) + "|"]
        by_length = [
            (
                list(ways(small, large, n, lambda shape: layer(shape, COUNTED))),
                list(ways(small, large, n, lambda shape: layer(shape, rates[shape.name]))),
            )
            for n in LENGTHS
        ]
        for i, (name, layers, _) in enumerate(by_length[0][0]):
            cells = [f"{counted[i][2]:.3f} | {timed[i][2]:.3f}" for counted, timed in by_length]
            lines.append(f"| {name} | {layers} | {' | '.join(cells)} |")
    return "\n".join(lines)


ABOUT = f"""# What a reader costs, composed

Share of an unpruned prefill of the large model alone; {SELECT_K:,} tokens kept. None of these models was run.

- **arithmetic**: multiply-adds of the layers, counted: matrices for each token, attention for each pair of tokens.
- **seconds**: the same, each operation taking what it took in the layers that were measured on a CPU
  ([scaling](scaling-AMD-EPYC-2-cores.md)): matrices those of 1B for the small model, of 8B for the large
  one and for experts; attention that of 8B, whose heads are as wide.
- Scores, the embedding and the output matrix are left out. A second question is of {QUESTION} tokens, behind a document
  that the reader knows.
"""


def main() -> None:
    """Compose, print, and write the results."""
    text = ABOUT + tables(json.loads(MEASURED.read_text(encoding="utf-8"))) + "\n"
    (RESULTS / "reader-speed.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
