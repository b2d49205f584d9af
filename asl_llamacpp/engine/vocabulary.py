"""The bytes of a model's tokens."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import llama_cpp


def token_bytes(vocab: Any, token: int, special: bool) -> bytes:
    """The bytes of one token of `vocab`, a ctypes llama_vocab_p; of a template's its name, if `special`, or none."""
    size = 64
    while True:
        buffer = ctypes.create_string_buffer(size)
        n = llama_cpp.llama_token_to_piece(vocab, token, buffer, size, 0, special)
        if n >= 0:
            return buffer.raw[:n]
        size = -n


def token_texts(vocab: Any, tokens: Sequence[int]) -> list[bytes]:
    """The bytes of each token, of a template's its name; each is looked up once."""
    known = {token: token_bytes(vocab, token, special=True) for token in set(tokens)}
    return [known[token] for token in tokens]


class Vocabulary:
    """The texts of the tokens of a context's model, each looked up once. `ctx`: a ctypes llama_context_p."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx
        self._known: dict[int, bytes] = {}

    @cached_property
    def _vocab(self) -> Any:
        return llama_cpp.llama_model_get_vocab(llama_cpp.llama_get_model(self._ctx))

    def texts(self, tokens: Sequence[int]) -> list[bytes]:
        """The bytes of each token; b"" for those that only a template has, such as the end of a turn."""
        known = self._known
        for token in set(tokens) - known.keys():
            known[token] = token_bytes(self._vocab, token, special=False)
        return [known[token] for token in tokens]
