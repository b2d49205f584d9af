"""What a model's layers cost, as multiply-adds: its matrices for each token, its attention for each pair of tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from ..engine.gguf_header import GGUFHeader
from ..engine.kinds import LayerShape

_LAYER = re.compile(r"blk\.(\d+)\..*\.weight$")
_PART = re.compile(r"-00001-of-(\d{5})\.gguf$")


@dataclass(frozen=True)
class LayerWork:
    """One layer.

    matrices  multiply-adds for each token: of experts those that a token runs through
    pair      multiply-adds of attention for each query and key
    n_swa     keys that a query sees at most; 0: all before it
    """

    matrices: float
    pair: int
    n_swa: int = 0

    def of(self, n_tokens: int) -> float:
        """Multiply-adds of `n_tokens` tokens, each attending to those before it."""
        n_keys = n_tokens / 2
        if self.n_swa:
            n_keys = min(n_keys, self.n_swa)
        return n_tokens * (self.matrices + self.pair * n_keys)


def read_layer_work(path: str | Path, shapes: Sequence[LayerShape]) -> tuple[LayerWork, ...]:
    """The layers of the GGUF model at `path`, whose `shapes` these are; only the files' heads are read.

    Raises ValueError for a damaged file, FileNotFoundError if one of several is missing.
    """
    matrices = [0.0] * len(shapes)
    for part in _parts(Path(path)):
        header = GGUFHeader(part)
        used = _share_of_experts(header)
        for name, size in header.tensors():
            layer = _LAYER.match(name)
            if layer is None or size[1] == 1 or int(layer[1]) >= len(shapes):
                continue
            matrices[int(layer[1])] += prod(size) * (used if "_exps." in name else 1)
    return tuple(LayerWork(size, _pair(shape), shape.n_swa) for size, shape in zip(matrices, shapes, strict=True))


def _pair(shape: LayerShape) -> int:
    """Inner products of a query with a key, and of its weight with a value, of all heads."""
    if shape.n_head_kv == 0:
        return 0
    return shape.n_head * (shape.n_embd_k + shape.n_embd_v) // shape.n_head_kv


def _share_of_experts(header: GGUFHeader) -> float:
    architecture = header.get("general.architecture")
    n, used = (header.get(f"{architecture}.{key}") for key in ("expert_count", "expert_used_count"))
    return used / n if isinstance(n, int) and isinstance(used, int) and n else 1.0


def _parts(path: Path) -> list[Path]:
    """All files of a model that is split, by the name of the first one."""
    found = _PART.search(path.name)
    if found is None:
        return [path]
    start, n = path.name[: found.start()], int(found[1])
    parts = [path.with_name(f"{start}-{i:05}-of-{n:05}.gguf") for i in range(1, n + 1)]
    for part in parts:
        if not part.is_file():
            raise FileNotFoundError(f"{part} is missing: {path.name} is the first of {n} files of one model")
    return parts
