"""The proof that an architecture can be prefilled layer by layer, on one tiny model of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from tempfile import TemporaryDirectory

import asl_llamacpp  # noqa: F401  first: it chooses the library that llama_cpp loads

# isort: split
import arch_models
import numpy as np
import own_attention
from arch_models import FIRST_KEPT, N_CTX, N_DECODE, N_PROMPT, N_UBATCH, WINDOW
from gguf import GGUFReader
from llama_cpp import llama_cpp as C
from numpy.typing import NDArray
from raw_llama import Context, Model

from asl_llamacpp.engine.binding import Engine, EngineError, UnsupportedModelError, deferred_kv, model_error

Logits = NDArray[np.float32]

SCORES_TOLERANCE = 0.003
"""Absolute, of scores up to WINDOW: flash attention and the plain path round differently."""


@dataclass(frozen=True)
class Proof:
    """Of a model that passed: whether it has sliding-window layers, and layers with experts."""

    sliding_window: bool
    experts: bool


class NotProven(AssertionError):
    """What went wrong with the model, in a few words."""


def require(condition: object, complaint: str) -> None:
    if not condition:
        raise NotProven(complaint)


@contextmanager
def loaded(path: Path) -> Iterator[Model]:
    model = Model(path)
    try:
        yield model
    finally:
        C.llama_model_free(model.pointer)


def refusal(path: Path) -> str | None:
    """Why the engine refuses the model by itself, if it does."""
    with loaded(path) as model:
        return model_error(model.pointer)


def stock_logits(paths: list[Path]) -> dict[str, Logits]:
    """Logits of the unpatched library by name of the model: see write_arch_logits.py."""
    script = Path(__file__).with_name("write_arch_logits.py")
    environment = {**os.environ, "LLAMA_CPP_LIB_PATH": str(arch_models.STOCK_LIB)}
    with TemporaryDirectory() as folder:
        out = Path(folder) / "logits.npz"
        command = [sys.executable, str(script), str(out), *map(str, paths)]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        return dict(np.load(out))


def splits(n_layer: int) -> list[list[int]]:
    """Every way to cut the layers into groups: 0 and where each group ends. The last one: each layer on its own."""
    return [
        [0, *(il for il, cut in enumerate(cuts, start=1) if cut), n_layer]
        for cuts in product([False, True], repeat=n_layer - 1)
    ]


def prove(path: Path, whole: Logits, kept: Logits) -> Proof:
    """Compare every way to run the layers with the unpatched library's logits, and look at the window scores.

    Args:
        whole, kept: of the whole prompt, and of its tokens from FIRST_KEPT on.

    Raises:
        NotProven: a difference, or the engine's refusal.
    """
    require(np.isfinite(whole).all(), "the unpatched library's logits are not finite")
    require(whole.tobytes() != kept.tobytes(), "the answer does not depend on the prompt")
    try:
        with loaded(path) as model, Context(model, N_CTX, N_UBATCH, creation=deferred_kv()) as context:
            engine = Engine(context.pointer)
            engine.check()
            tokens = model.tokens(N_PROMPT + N_DECODE)
            ways = splits(model.n_layer)
            runs = [(bounds, 0, whole) for bounds in ways]
            runs += [(bounds, FIRST_KEPT, kept) for bounds in (ways[0], ways[-1])]
            for bounds, start, want in runs:
                got = _run(engine, context, tokens, bounds, start)
                worst = np.abs(got - want).max(axis=1)
                case = f"layers divided at {bounds}, tokens from {start} on"
                require(got.tobytes() == want.tobytes(), f"{case}: logits differ by up to {worst}")
            names = [tensor.name for tensor in GGUFReader(path).tensors]
            _check_scores(model, engine, tokens)
            return Proof(
                sliding_window=any(engine.layer(il).is_swa for il in range(model.n_layer)),
                experts=any("_exps." in name for name in names),
            )
    except (UnsupportedModelError, EngineError, ValueError, RuntimeError) as error:
        raise NotProven(str(error)) from error


def _run(engine: Engine, context: Context, tokens: NDArray[np.int32], bounds: list[int], start: int) -> Logits:
    """Logits after the prompt and each decoded token; only the tokens from `start` on enter the first layer."""
    engine.begin(tokens[:N_PROMPT], WINDOW, headroom=0)
    engine.keep(range(start, N_PROMPT))
    for begin, end in pairwise(bounds):
        engine.run(begin, end, scores=len(bounds) % 2 == 0)
    engine.end()
    return np.stack([context.logits(), *context.decode_each(tokens[N_PROMPT:], N_PROMPT)])


def _check_scores(model: Model, engine: Engine, tokens: NDArray[np.int32]) -> None:
    """Window scores of every layer without a sliding window against the attention of llama.cpp's own graph."""
    tokens, n_scored = tokens[:N_PROMPT], 0
    want = own_attention.window_sums(model, tokens, WINDOW, n_ctx=N_CTX)
    engine.begin(tokens, WINDOW, headroom=0)
    for il in range(model.n_layer):
        engine.run(il, il + 1, scores=True)
        if engine.layer(il).is_swa:
            continue
        worst = np.abs(engine.scores(il) - want[il]).max()
        require(worst < SCORES_TOLERANCE, f"scores of layer {il} differ by up to {worst}")
        n_scored += 1
    engine.abort()
    require(n_scored > 0, "no layer gives scores")
