"""A document that one context knows, and how much of a prompt it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..prefill.contrast import Found
from ..prefill.document_state import DocumentState
from ..selection.arrays import Ints


@dataclass(frozen=True)
class KnownDocument:
    """One of `Llama.documents`.

    name     of a document that was read; None: the beginning of a prompt
    n_tokens its tokens, those of the chat template before it included
    layers   that it has run through, 0: none yet, or its state was dropped
    n_layer  of the model; as many as `layers`: questions need no selection, see `Document.complete`
    n_bytes  of its state
    place    where that is: "context" (its KV is in use in the context), "device", "ram", "disk", "file", or None
    """

    name: str | None
    n_tokens: int
    layers: int
    n_layer: int
    n_bytes: int
    place: str | None


@dataclass(eq=False)
class Entry:
    """A document's tokens, and its state outside of the context, if there is one.

    pinned: it was read, so these tokens are the document; otherwise what prompts turn out to share
    neutral: what a turn that asks nothing looks at, see `Contrast.found`
    told: that its state is larger than the limit
    last_info: what was last told of it
    """

    tokens: Ints
    name: str | None = None
    pinned: bool = False
    state: DocumentState | None = None
    on_file: bool = False
    parked: int | None = None
    parked_il: int = 0
    neutral: Found = field(default_factory=dict)
    told: bool = False
    last_info: KnownDocument | None = None


class Compared:
    """How many first tokens a prompt shares with each document: a prompt is looked up more than once in a row."""

    def __init__(self, prompt: Sequence[int] = ()) -> None:
        self._prompt = list(prompt)  # a copy: callers change theirs
        self._ids = np.asarray(self._prompt, dtype=np.int32)
        self._shared: dict[int, tuple[Ints, int]] = {}

    def is_of(self, prompt: Sequence[int]) -> bool:
        return self._prompt == list(prompt)

    def shared(self, entry: Entry) -> int:
        # with the array itself, whose number nothing else has as long as it is there
        known = self._shared.get(id(entry.tokens))
        if known is None:
            known = self._shared[id(entry.tokens)] = entry.tokens, common_prefix(entry.tokens, self._ids)
        return known[1]


def common_prefix(a: Ints | Sequence[int], b: Ints | Sequence[int]) -> int:
    """How many first tokens are the same."""
    n = min(len(a), len(b))
    same = np.equal(np.asarray(a[:n]), np.asarray(b[:n]))
    return n if same.all() else int(same.argmin())
