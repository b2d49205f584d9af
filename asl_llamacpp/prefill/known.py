"""What is known of a prompt before its prefill, and what is to be kept of it."""

from __future__ import annotations

from dataclasses import dataclass

from .document_state import DocumentState, StateCopier


@dataclass(frozen=True)
class Known:
    """The first `n` tokens of a prompt have run through `il` layers: on the device, or, with `state`, on the host."""

    n: int = 0
    il: int = 0
    state: DocumentState | None = None


@dataclass(frozen=True)
class Keep:
    """State of the first `n` tokens to keep for other prompts: held by the engine, or copied by `copier`. 0: none.

    `watch`: the layers whose scores its passages are to be ranked by, see `Shown`; none: none will be shown.
    """

    n: int = 0
    copier: StateCopier | None = None
    watch: tuple[int, ...] = ()


NOTHING_KNOWN, KEEP_NOTHING = Known(), Keep()
