"""How likely a right answer is if certain tokens are selected after a certain layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import llama_cpp
import numpy as np

from ..selection.arrays import Floats, Ints
from ..store.planned_cache import HEADROOM
from .recorded import RecordedPrompt
from .shared import SharedLlama


@dataclass(frozen=True)
class Likelihood:
    """logprob: sum over the answer's tokens, nats. greedy: whether each of them is the most likely one."""

    logprob: float
    greedy: bool


class ForcedSelection:
    """Selects what it is told to in a recorded prompt, and tells how likely `answer` is then.

    The whole prompt but its last token is held in the context after one layer at a time (`at`), so that a selection
    there costs that one token in the layers up to it, the selected ones in the deeper layers, and the answer.
    """

    def __init__(self, shared: SharedLlama, prompt: RecordedPrompt, answer: Sequence[int]) -> None:
        self.llm, self.engine, self.prompt, self.answer = shared.llm, shared.engine, prompt, list(answer)
        self.layer: int | None = None
        self._known: dict[tuple[int, bytes], Likelihood] = {}

    def at(self, layer: int, positions: Ints) -> Likelihood:
        """Select `positions`, int32, sorted, with the last token, after `layer`; after the last layer: nothing."""
        key = layer, positions.tobytes()
        if key not in self._known:
            self._known[key] = self._at(layer, positions)
        return self._known[key]

    def unpruned(self) -> Likelihood:
        return self.at(self.prompt.n_layer - 1, np.empty(0, dtype=np.int32))

    def _at(self, layer: int, positions: Ints) -> Likelihood:
        n_layer = self.prompt.n_layer
        if self.layer != layer:
            self._hold(layer)
        self.engine.resume(len(self.prompt.tokens) - 1, self.prompt.tokens[-1:], 1, HEADROOM)
        self.engine.run(0, layer + 1)
        if layer + 1 < n_layer:
            self.engine.keep(positions)
            self.engine.run(layer + 1, n_layer)
        self.engine.end()
        return self._likelihood()

    def _hold(self, layer: int) -> None:
        """Hold all tokens but the last one as they are after `layer`."""
        prompt, engine = self.prompt, self.engine
        state = prompt.state(layer + 1)
        engine.restore(prompt.tokens[: prompt.n_known], layer + 1, state.hidden)
        engine.resume(prompt.n_known, prompt.tokens[prompt.n_known :], 1, HEADROOM)
        for il in range(layer + 1):
            state.put(engine, il, prompt.n_known)
            engine.run(il, il + 1)
        engine.hold(len(prompt.tokens) - 1)
        engine.set_aside()
        self.layer = layer

    def _likelihood(self) -> Likelihood:
        """Teacher-forced: the answer's tokens in one batch, the logits of each."""
        context, answer = self.llm._ctx.ctx, self.answer
        rows = [self._row(llama_cpp.llama_get_logits_ith(context, -1))]
        if len(answer) > 1:
            self.llm._batch.set_batch(batch=answer[:-1], n_past=len(self.prompt.tokens), logits_all=True)
            self.llm._ctx.decode(self.llm._batch)
            rows += [self._row(llama_cpp.llama_get_logits_ith(context, i)) for i in range(len(answer) - 1)]
        logits = np.stack(rows).astype(np.float64)
        peak = logits.max(axis=1)
        total = peak + np.log(np.exp(logits - peak[:, None]).sum(axis=1))
        chosen = logits[np.arange(len(answer)), answer]
        return Likelihood(float((chosen - total).sum()), bool((logits.argmax(axis=1) == answer).all()))

    def _row(self, pointer: object) -> Floats:
        return np.ctypeslib.as_array(pointer, shape=(self.llm.n_vocab(),)).copy()
