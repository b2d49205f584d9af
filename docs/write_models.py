"""Writes the tables of models.md between its marks: how long a prompt fits which memory, by the arithmetic of `plan`.

python docs/write_models.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from asl_llamacpp import parse_policy
from asl_llamacpp.budget.kv_shape import CELLS_PAD, KVShape, pad
from asl_llamacpp.budget.memory_plan import Planner
from asl_llamacpp.budget.model_shape import ModelShape
from asl_llamacpp.engine.binding import LayerShape

PAGE = Path(__file__).with_name("models.md")
BEGIN, END = "<!-- memory: written by `make docs` -->\n", "<!-- end of memory -->"

GIB, HEADROOM = 1 << 30, 256
MEMORY = (4, 8, 12, 24)
RESERVED = GIB // 2
"""Bytes left for compute buffers and the system, which `plan` does not count."""
POLICIES = ("full", "asl", "asl-2pass")
STEP = 1024
"""Prompts are counted in so many tokens."""


@dataclass(frozen=True)
class Model:
    """A model that people run, as its GGUF file describes it. `weights`: GB of the Q4_K_M file, as published.

    `swa`: of a model with interleaved windows, the window, and that every so many layers one has full attention.
    """

    name: str
    weights: float
    n_layer: int
    n_embd: int
    n_head: int
    n_head_kv: int
    head_dim: int
    n_ctx: int
    swa: tuple[int, int] | None = None

    def layers(self) -> Iterator[LayerShape]:
        for il in range(self.n_layer):
            window, every = self.swa or (0, 1)
            n_kv = self.n_head_kv * self.head_dim
            yield LayerShape(self.n_head, self.n_head_kv, n_kv, n_kv, 0 if (il + 1) % every == 0 else window)

    @property
    def shape(self) -> ModelShape:
        return ModelShape(tuple(self.layers()), self.n_embd, self.n_ctx, int(self.weights * 10**9), None)


MODELS = (
    Model("Llama 3.2 1B", 0.81, 16, 2048, 32, 8, 64, 131072),
    Model("Llama 3.2 3B", 2.02, 28, 3072, 24, 8, 128, 131072),
    Model("Gemma 3 4B", 2.49, 34, 2560, 8, 4, 256, 131072, (1024, 6)),
    Model("Qwen3 4B", 2.50, 36, 2560, 32, 8, 128, 40960),
    Model("Llama 3.1 8B", 4.92, 32, 4096, 32, 8, 128, 131072),
    Model("Qwen3 8B", 5.03, 36, 4096, 32, 8, 128, 40960),
    Model("Gemma 3 12B", 7.30, 48, 3840, 16, 8, 256, 131072, (1024, 6)),
    Model("Mistral Nemo 12B", 7.48, 40, 5120, 32, 8, 128, 131072),
    Model("Qwen3 14B", 9.00, 40, 5120, 40, 8, 128, 40960),
    Model("Mistral Small 24B", 14.33, 40, 5120, 32, 8, 128, 131072),
    Model("Qwen3 30B-A3B", 18.56, 48, 2048, 32, 4, 128, 40960),
)


def fits(model: Model, policy: str, n_tokens: int, memory: int) -> bool:
    """Whether weights, hidden states and the KV's peak stay within `memory` bytes, uncompressed."""
    n_ctx = pad(n_tokens + HEADROOM, CELLS_PAD)
    shape = KVShape(layers=model.shape.layers, n_ctx=n_ctx, swa_full=model.swa is None)
    [need] = Planner(model.shape, shape).needs("", n_tokens, [parse_policy(policy)])
    return need.total is not None and need.total <= memory


def longest(most: int, good: Callable[[int], bool]) -> int:
    """The largest multiple of STEP, up to `most`, that is good; 0: none is."""
    low, high = 0, most // STEP
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if good(middle * STEP) else (low, middle - 1)
    return low * STEP


def cell(model: Model, memory: int) -> str:
    """Longest prompts by policy, in thousands of tokens; the model's context is as far as it goes."""
    room = memory * GIB - RESERVED
    found = [longest(model.n_ctx, lambda n, name=policy: fits(model, name, n, room)) for policy in POLICIES]
    return " / ".join(f"{n // 1024}k" for n in found) if any(found) else "-"


def table() -> str:
    rows = [
        f"| {' | '.join(('Q4_K_M', 'file, GB', 'context', *(f'{size} GiB' for size in MEMORY)))} |",
        "| --- " * (3 + len(MEMORY)) + "|",
    ]
    for model in MODELS:
        cells = (cell(model, memory) for memory in MEMORY)
        rows.append(f"| {model.name} | {model.weights:.2f} | {model.n_ctx // 1024}k | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def with_table(page: str) -> str:
    """The page's text with the table between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin and end, "models.md has no marks for the table"
    return before + begin + table() + end + after


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
