"""One pruned prefill that tests interrupt, misuse and repeat: the same tokens each time, one phase after another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from raw_llama import F16, Context, Model

from asl_llamacpp.engine.binding import Engine, deferred_kv

N, WINDOW, HEADROOM, N_CTX, N_UBATCH = 200, 32, 8, 512, 64
N_SHALLOW = 2
"""Layers that run on all N tokens."""

KEPT = np.r_[5:25, 100:103, N - WINDOW : N].astype(np.int32)

PHASES = ["idle", "begun", "shallow", "kept", "ran", "ended"]
"""How far it has come: before begin, after it, after N_SHALLOW layers, after keep, after all layers, after end."""

Logits = NDArray[np.float32]


class Prefill:
    """A context for the engine, and the prefill on it."""

    def __init__(self, model: Model, flash_attn: bool = True, kv_type: int = F16, n_ctx: int = N_CTX) -> None:
        self.model = model
        self.tokens = model.tokens(N + 2)
        self.context = Context(model, n_ctx, N_UBATCH, flash_attn, kv_type, creation=deferred_kv())
        self.engine = Engine(self.context.pointer)

    def go_to(self, phase: str, since: str = "idle") -> None:
        steps = {
            "begun": lambda: self.engine.begin(self.tokens[:N], WINDOW, HEADROOM),
            "shallow": lambda: self.engine.run(0, N_SHALLOW, scores=True),
            "kept": lambda: self.engine.keep(KEPT),
            "ran": lambda: self.engine.run(N_SHALLOW, self.model.n_layer),
            "ended": lambda: self.engine.end(),
        }
        for name in PHASES[PHASES.index(since) + 1 : PHASES.index(phase) + 1]:
            steps[name]()

    def answer(self, since: str = "idle") -> Logits:
        """Go on to the end: logits after the prompt and after two more tokens."""
        self.go_to("ended", since)
        return np.concatenate([self.context.logits()[None], self.context.decode_each(self.tokens[N:], N)])

    def state(self) -> object:
        info = self.engine.info()
        layers = [(self.engine.layer(il), self.engine.positions(il).tolist()) for il in range(info.n_layer)]
        return info, layers

    def assert_empty(self) -> None:
        info = self.engine.info()
        assert (info.n_tokens, info.n_kept, info.il_next, info.n_groups) == (0, 0, 0, 0), info
        assert (info.kv_bytes, info.hidden_bytes) == (0, 0), info


def untouched_answer(model: Model, flash_attn: bool = True, kv_type: int = F16) -> Logits:
    """The answer of a context on which nothing ever went wrong."""
    prefill = Prefill(model, flash_attn, kv_type)
    with prefill.context:
        return prefill.answer()
