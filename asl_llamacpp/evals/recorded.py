"""A prompt run once through all layers, its state kept after each: what every way of pruning it starts from.

Tokens of a prompt do not depend on what follows them, and layers not on deeper ones. So the work before a selection is
the same for all policies, and is done once: by the tokens before the last `tail`, alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial

import numpy as np

from ..budget.kv_shape import KVShape
from ..engine.binding import Engine
from ..engine.kinds import Reduction
from ..policies import Policy
from ..policies.answers import Prompt
from ..prefill.document_state import DocumentState, StateCopier, in_ram
from ..prefill.read_ahead import ReadAhead
from ..selection.arrays import Floats


class _EveryLayer(StateCopier):
    """Keeps the hidden states after each layer but the model's last one, not only after the last that is copied."""

    hidden: list[Floats]

    def step(self, il_end: int) -> None:
        if self.state.il == 0:
            self.hidden = []
        super().step(il_end)
        if self.state.hidden is not None:
            self.hidden.append(self.state.hidden)


class RecordedPrompt:
    """The state of a prompt's first tokens after each layer, and the attention of its last ones.

    Args:
        engine: of an empty or unused context; what it holds is dropped, now and by `window_sums`.
        shape: of its KV cache.
        n_embd: values of a hidden state.
        tokens: n token ids.
        tail: tokens at the end that are run anew each time; no policy may have a larger window. An ordinary prefill
            whose ubatches have a border there computes exactly the same.

    Raises:
        MemoryError: no room on the host.
    """

    def __init__(self, engine: Engine, shape: KVShape, n_embd: int, tokens: Sequence[int], tail: int) -> None:
        self.engine, self.shape, self.tokens = engine, shape, list(tokens)
        self.n_known = max(0, len(self.tokens) - tail)
        self.scored = [il for il in range(len(shape.layers)) if engine.layer(il).gives_scores]
        self._sums: dict[tuple[int, bool], list[Floats | None]] = {}
        if self.n_known == 0:
            return
        document = DocumentState(np.asarray(self.tokens[: self.n_known], dtype=np.int32))
        copier = _EveryLayer(engine, shape, n_embd, document, in_ram)
        ReadAhead(engine, self.tokens[: self.n_known], len(shape.layers)).to_host(copier)
        self._layers, self._hidden = copier.state.layers, copier.hidden

    @property
    def n_layer(self) -> int:
        return len(self.shape.layers)

    @cached_property
    def prompt(self) -> Prompt:
        """What a policy is told of it."""
        texts = partial(self.engine.vocabulary.texts, self.tokens)
        return Prompt(len(self.tokens), self.n_layer, self.scored, texts)

    def state(self, il: int) -> DocumentState:
        """The known tokens after the layers before `il`, on the memory of this object."""
        hidden = self._hidden[il - 1] if il < self.n_layer else None
        return DocumentState(np.asarray(self.tokens[: self.n_known], dtype=np.int32), self._layers[:il], hidden)

    def window_sums(self, window: int, products: bool = False) -> list[Floats | None]:
        """By layer, float32 [n_head, n]: the last `window` queries' attention, summed; None for a sliding window.

        `products`: their inner products with the keys instead. The tail runs through all layers for this, once for
        each window.
        """
        if (window, products) not in self._sums:
            self._sums[window, products] = self._run_tail(window, products)
        return self._sums[window, products]

    def neutral_sums(self, window: int, neutral: Sequence[int], n_seen: int | None = None) -> list[Floats | None]:
        """By layer, float32 [n_head, n_seen]: the attention of `neutral` behind the first `n_seen` tokens, summed.

        n_seen: of the last `tail` tokens; None: `neutral` is in the place of the window.
        """
        return self._run_tail(window, False, neutral, n_seen)

    def _run_tail(
        self, window: int, products: bool, neutral: Sequence[int] = (), n_seen: int | None = None
    ) -> list[Floats | None]:
        engine, n_known = self.engine, self.n_known
        if n_known:
            state = self.state(self.n_layer)
            engine.restore(self.tokens[:n_known], self.n_layer, None)
            engine.resume(n_known, self.tokens[n_known:], window, 0)
        else:
            engine.begin(self.tokens, window, 0)
        found: list[Floats | None] = []
        try:
            if neutral:
                engine.contrast(len(self.tokens) - window if n_seen is None else n_seen, neutral)
            told = engine.contrast_scores if neutral else engine.scores
            for il in range(self.n_layer):
                if n_known:
                    state.put(engine, il, n_known)
                engine.run(il, il + 1, Reduction(products=products) if il in self.scored else False)
                found.append(told(il) if il in self.scored else None)
        finally:
            engine.abort()
        return found

    def depth(self, policy: Policy) -> int:
        """Layers that all tokens run through under a resolved `policy`: up to the selected one, or all.

        The rule is applied to `window_sums`, whose heads a prefill from `state` adds up on the device: a token's score
        may differ in its last digit.
        """
        selector = policy.selector(self.prompt)
        if not selector.prunes:
            return self.n_layer
        for il, scores in enumerate(self.window_sums(policy.window, selector.reduction(0).products)):
            decision = selector.observe(il, scores)
            if decision is not None:
                return decision.layer + 1
        return self.n_layer
