"""Vocabularies of many models, without their weights: those of the release, from its archive, and the real models'."""

from __future__ import annotations

import ctypes
import os
import tarfile
from functools import cache
from pathlib import Path

import asl_llamacpp  # noqa: F401  first: it chooses the library that llama_cpp loads

# isort: split
import pytest
from llama_cpp import llama_cpp as C
from places import BUILD, ROOT
from raw_llama import Model

from asl_llamacpp.engine.vocabulary import token_bytes

BYTE_LEVEL = ["llama-bpe", "qwen2", "gpt-2", "deepseek-llm", "command-r", "falcon", "gemma-4"]
SENTENCE_PIECE = ["llama-spm", "phi-3", "baichuan"]


class Vocabulary:
    def __init__(self, path: Path) -> None:
        self._model = Model(path, vocab_only=True)
        self._vocab = C.llama_model_get_vocab(self._model.pointer)

    def tokens(self, text: bytes, special: bool = False) -> list[int]:
        room = len(text) + 8
        found = (ctypes.c_int32 * room)()
        n = C.llama_tokenize(self._vocab, text, len(text), found, room, False, special)
        assert n >= 0
        return list(found[:n])

    def pieces(self, text: str | bytes, special: bool = False) -> list[bytes]:
        return [
            token_bytes(self._vocab, token, special)
            for token in self.tokens(text if isinstance(text, bytes) else text.encode(), special)
        ]


@cache
def vocabulary(path: Path) -> Vocabulary:
    return Vocabulary(path)


@cache
def released(name: str) -> Vocabulary:
    return vocabulary(released_path(name))


def released_path(name: str) -> Path:
    """The file of one of llama.cpp's own vocabularies, such as "qwen2". Skips where the release is not there."""
    named = os.environ.get("ASL_LLAMA_CPP_SDIST")
    releases = [Path(named)] if named else sorted((ROOT / "build").glob("llama_cpp_python-*.tar.gz"))
    if not releases:
        pytest.skip("the release is missing: `make test` puts it into build/")
    path = BUILD / "models" / f"ggml-vocab-{name}.gguf"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(releases[-1]) as archive:
            inside = f"vendor/llama.cpp/models/{path.name}"
            member = next(one for one in archive if one.name.split("/", 1)[-1] == inside)
            content = archive.extractfile(member)
            assert content is not None
            part = path.with_suffix(f".{os.getpid()}")
            part.write_bytes(content.read())
            part.replace(path)
    return path
